"""What the annotations of a policy say: its id, its words, its effect, whether it acts."""

from __future__ import annotations

import re
from collections.abc import Container

from cedarpy import pst

from aegis_gateway.domain.judge import Policy, PolicyEffect

ANNOTATIONS = ("id", "reason", "effect", "mode", "max_output_tokens", "model")
MODES = ("enforce", "shadow")
EFFECTS = ("deny", "cap", "downgrade")
_CAP = re.compile(r"[1-9][0-9]{0,7}")

_ANNOTATIONS_TEXT = ", ".join(f"@{name}" for name in ANNOTATIONS)


def policy_of(template: pst.Template) -> Policy:
    """A policy as the combination sees it; its annotations are in order."""
    annotations = template.annotations
    cap = annotations.get("max_output_tokens")
    effect: PolicyEffect = "permit" if template.effect == "permit" else "deny"
    if cap is not None:
        effect = "cap"
    elif "model" in annotations:
        effect = "downgrade"
    return Policy(
        id=annotations["id"],
        effect=effect,
        reason=annotations.get("reason", ""),
        mode="shadow" if annotations.get("mode") == "shadow" else "enforce",
        output_tokens_max=None if cap is None else int(cap),
        model=annotations.get("model"),
    )


def annotation_problem(template: pst.Template, known: Container[str]) -> str | None:
    """What is wrong with a policy's annotations, and what to write instead."""
    annotations = template.annotations
    name = annotations.get("id")
    if not name:
        return f'a {template.effect} has no id; write @id("a-name") before it'
    if name in known:
        return f"policy id `{name}` is used twice; ids name policies in the record, so each needs its own"
    for annotation in annotations:
        if annotation not in ANNOTATIONS:
            return f"policy `{name}`: there is no annotation `@{annotation}`; there are {_ANNOTATIONS_TEXT}"
    mode = annotations.get("mode")
    if mode is not None and mode not in MODES:
        return f'policy `{name}`: there is no mode `{mode}`; write @mode("shadow"), or leave it out to enforce it'
    effect = annotations.get("effect")
    if effect is not None and template.effect == "permit":
        return f"policy `{name}`: a permit has no @effect; leave it out, or write forbid"
    if effect is not None and effect not in EFFECTS:
        return f'policy `{name}`: there is no effect `{effect}`; write @effect("deny"), "cap" or "downgrade"'
    if (effect == "downgrade") != bool(annotations.get("model")):
        return f'policy `{name}`: @effect("downgrade") and @model("the-model-to-call-instead") go together'
    cap = annotations.get("max_output_tokens")
    if effect == "cap" and cap is None:
        return f'policy `{name}`: a cap needs its tokens; write @max_output_tokens("500")'
    if effect != "cap" and cap is not None:
        return f'policy `{name}`: @max_output_tokens is for a cap; write @effect("cap") beside it'
    if cap is not None and not _CAP.fullmatch(cap):
        return f'policy `{name}`: `{cap}` is no number of tokens; write @max_output_tokens("500")'
    return None
