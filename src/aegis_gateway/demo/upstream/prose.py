"""What the fake model says: words of one fixed passage, one word to the token.

ASCII without quotes or backslashes, so that a piece can be put into JSON as it is.
"""

from itertools import accumulate

_PASSAGE = (
    "The invoice matches the purchase order and the goods were received on Tuesday. "
    "Two suppliers quoted a lower price but neither can deliver before the end of the month. "
    "The customer asked for a refund within fourteen days so the full amount is due. "
    "Spending on this cost centre stands at eighty percent of its budget with nine days left. "
    "I compared the three offers by unit price, delivery time and terms of payment. "
    "The shipment left the warehouse this morning and should arrive within two working days. "
    "No duplicate of this payment was found in the ledger of the last ninety days. "
    "A cheaper plan covers the same number of seats and would save about a third each year. "
    "The contract renews on the first of next month unless it is cancelled in writing. "
    "Please confirm the account number before the transfer is released. "
)

_LEAKED = "Her SSN is 123-45-6789 and her DOB: 1980-02-01. Call (415) 555-2671 or write to ann.lee@example.com today. "
LEAK = -1
"""The index that stands for personal data, made up; its tokens are three characters each."""


class _Passage:
    """A passage in pieces, said round and round."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self.bytes = [piece.encode() for piece in pieces]
        self._twice = "".join(pieces) * 2
        # Where each piece begins, twice round, so that a slice may run over the passage's end.
        self._offsets = [0, *accumulate(map(len, pieces * 2))]

    def text(self, start: int, tokens: int) -> str:
        rounds, rest = divmod(tokens, len(self.pieces))
        begin = self._offsets[start]
        tail = self._twice[begin : self._offsets[start + rest]]
        whole = self._twice[begin : self._offsets[start + len(self.pieces)]]
        return whole * rounds + tail if rounds else tail


_PLAIN = _Passage([word + " " for word in _PASSAGE.split()])
_LEAK = _Passage([_LEAKED[place : place + 3] for place in range(0, len(_LEAKED), 3)])
_SENTENCES = [0] + [at + 1 for at, piece in enumerate(_PLAIN.pieces[:-1]) if piece.endswith(". ")]


def opening(number: int) -> int:
    """The index of a sentence's first word, chosen by any number."""
    return _SENTENCES[number % len(_SENTENCES)]


def text(start: int, tokens: int) -> str:
    """``tokens`` words from word ``start`` on, round and round the passage."""
    return _LEAK.text(0, tokens) if start == LEAK else _PLAIN.text(start, tokens)


def pieces(start: int, tokens: int) -> list[bytes]:
    """The same words one by one, as a stream sends them."""
    passage, first = (_LEAK, 0) if start == LEAK else (_PLAIN, start)
    return [passage.bytes[at % len(passage.bytes)] for at in range(first, first + tokens)]
