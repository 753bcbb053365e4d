"""Rules are cut out of files as they were written, and nothing of others with them; and their past is told of that."""

from __future__ import annotations

from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.entrypoints.people.policies.comparison import part_of
from aegis_gateway.entrypoints.people.policies.history import changes_of, diff_lines, since_when
from aegis_gateway.entrypoints.people.policies.sources import rule_sources

YAML = """version: 1
tenants:
  acme:
    rules:
      block:
        what: {tool: chat}
        effect: deny   # no chat
        # a remark at its end

      flow: {what: {tool: chat}, effect: allow}
    teams: {}
  zeta:
    rules: {one: {effect: deny}, two: {effect: allow}}
"""
CEDAR = """// About the file.

// About a.
@id("a")
permit(principal, action, resource);
@id("b") forbid(principal, action, resource); // the end
"""


def files(cedar: str = CEDAR) -> dict[str, str]:
    """Files of two tenants."""
    return {
        "aegis.yaml": YAML,
        "policies/all.cedar": cedar,
        "policies/zeta/z.cedar": '@id("z") permit(principal, action, resource);',
    }


def test_rules_as_they_were_written() -> None:
    """In blocks and on one line, with the comment right above and where they begin; each tenant's own."""
    found = rule_sources(files(), "acme")
    assert ["a", "b", "block", "flow"] == sorted(found)
    assert ("block:\n  what: {tool: chat}\n  effect: deny   # no chat", 5) == (
        found["block"].text,
        found["block"].line,
    )
    assert ("flow: {what: {tool: chat}, effect: allow}", 10) == (found["flow"].text, found["flow"].line)
    assert '// About a.\n@id("a")\npermit(principal, action, resource);' == found["a"].text
    assert ("policies/all.cedar", 4) == (found["a"].file, found["a"].line)
    zeta = rule_sources(files(), "zeta")
    assert ("two: {effect: allow}", "z" in zeta) == (zeta["two"].text, True)
    assert [] == list(rule_sources({"aegis.yaml": ""}, "acme"))


def test_a_tenants_part_of_the_main_file() -> None:
    """Its own lines alone, and nothing where it isn't in the file."""
    assert part_of(YAML, "zeta").splitlines() == [
        "zeta:",
        "  rules: {one: {effect: deny}, two: {effect: allow}}",
    ]
    assert ("", "") == (part_of(YAML, "nobody"), part_of("", "acme"))


def test_since_when_and_what_was_done() -> None:
    """A rule stands since the version in which its text became what it is; its past says what each version did."""
    texts = [
        CEDAR.replace('@id("a")\n', '@id("a") @mode("shadow")\n'),
        CEDAR,
        CEDAR.partition('@id("b")')[0],
        CEDAR,
    ]
    versions = [
        (
            ConfigVersion(version=number, files={}, applied_by="ana", applied_ns=number),
            rule_sources(files(text), "acme"),
        )
        for number, text in enumerate(texts, 1)
    ]
    newest_first = versions[::-1]
    since = since_when(newest_first)
    assert {"a": (2, False), "b": (4, False), "block": (1, False)} == {
        name: (since[name].version, since[name].or_before) for name in ("a", "b", "block")
    }
    assert since_when(newest_first[:2])["a"].or_before
    assert [(4, "added"), (3, "removed"), (1, "added")] == [
        (each.version.version, each.kind) for each in changes_of("b", newest_first)
    ]
    assert [(2, "changed"), (1, "added")] == [
        (each.version.version, each.kind) for each in changes_of("a", newest_first)
    ]


def test_lines_that_differ() -> None:
    """Signs tell them apart; what is far from any difference is left out."""
    before = "\n".join(f"line {n}" for n in range(30))
    lines = diff_lines(before, before.replace("line 2\n", "").replace("line 20", "-- line 20"))
    assert ["line 2", "line 20"] == [each.text for each in lines if each.sign == "-"]
    assert ["-- line 20"] == [each.text for each in lines if each.sign == "+"]
    assert 1 == sum(each.sign == "@" for each in lines)
    assert [] == diff_lines(before, before)
