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

_PIECES = [word + " " for word in _PASSAGE.split()]
_BYTES = [piece.encode() for piece in _PIECES]
_WORDS = len(_PIECES)
_TWICE = "".join(_PIECES) * 2
# Where each word begins, twice round, so that a slice may run over the passage's end.
_OFFSETS = [0, *accumulate(map(len, _PIECES * 2))]
_SENTENCES = [0] + [at + 1 for at, piece in enumerate(_PIECES[:-1]) if piece.endswith(". ")]


def opening(number: int) -> int:
    """The index of a sentence's first word, chosen by any number."""
    return _SENTENCES[number % len(_SENTENCES)]


def text(start: int, tokens: int) -> str:
    """``tokens`` words from word ``start`` on, round and round the passage."""
    rounds, rest = divmod(tokens, _WORDS)
    begin = _OFFSETS[start]
    tail = _TWICE[begin : _OFFSETS[start + rest]]
    return _TWICE[begin : _OFFSETS[start + _WORDS]] * rounds + tail if rounds else tail


def pieces(start: int, tokens: int) -> list[bytes]:
    """The same words one by one, as a stream sends them."""
    return [_BYTES[at % _WORDS] for at in range(start, start + tokens)]
