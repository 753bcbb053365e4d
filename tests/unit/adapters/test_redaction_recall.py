"""How much of a labelled set is found, and how much is found that isn't there. `pytest -s` prints the figures."""

from __future__ import annotations

from collections import Counter

import pytest

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.domain.redaction import KINDS, Redaction
from tests.redaction_corpus import SENTENCES, corpus

EVERYTHING = Redaction(kinds=tuple(sorted(KINDS)))
RECALL_MIN = {
    "card": 0.98, "iban": 0.98, "ssn": 0.98, "email": 0.98, "credential": 0.98, "ip": 0.98, "dob": 0.95, "phone": 0.9,
    "name": 0.75, "mrn": 0.7,
}  # fmt: skip
"""What checksums and forms tell is found nearly always; numbers and names that only a word tells aren't, where the word
is another or stands farther off."""
FALSE_MAX = 0.01
"""Of the sentences without a value, how many may have something of one kind found in them."""


@pytest.mark.parametrize("seed", [1, 20, 300])
def test_values_are_found_and_look_alikes_left_alone(seed: int) -> None:
    """Recall is above each kind's floor, and what is found in sentences without values stays below a hundredth."""
    wanted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    missed: list[str] = []
    sentences = corpus(seed)
    for sentence in sentences:
        redactor = TextRedactor(EVERYTHING, b"k" * 32)
        redacted = redactor.whole(sentence.text)
        for kind, value in sentence.values:
            wanted[kind] += 1
            if (
                kind in redactor.counts
                and value not in redacted
                and value.replace("\n", "\\n") not in redacted
            ):
                found[kind] += 1
            else:
                missed.append(f"{kind}: {sentence.text!r} → {redacted!r}")
        if not sentence.values:
            wrong.update(redactor.counts.keys())
            missed += [f"false {kind}: {sentence.text!r}" for kind in redactor.counts]
    without = sum(not sentence.values for sentence in sentences)
    for kind in KINDS:
        print(f"{kind:10} {wanted[kind]:4} wanted, recall {found[kind] / wanted[kind]:.3f}, "
              f"false {wrong[kind]} of {without}")  # fmt: skip
    print("\n".join(missed[:40]))
    assert SENTENCES == len(sentences)
    assert {} == {
        kind: found[kind] / wanted[kind] for kind in KINDS if found[kind] / wanted[kind] < RECALL_MIN[kind]
    }
    assert {} == {kind: number for kind, number in wrong.items() if number > FALSE_MAX * without}
