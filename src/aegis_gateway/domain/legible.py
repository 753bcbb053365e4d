"""Text that is read as it stands, wherever it is shown: on a page, in a message or in a terminal.

Rule: what somebody else wrote doesn't steer what is around it. Signs that steer a terminal, or turn the order in which
      text is shown, stand there as a sign of their own (U+FFFD): a payee doesn't look like another one.
"""

from __future__ import annotations

_CONTROLS = (*(sign for sign in range(0x20) if sign not in b"\t\n"), *range(0x7F, 0xA0))
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_STEERING = dict.fromkeys((*_CONTROLS, *_DIRECTIONS), "\N{REPLACEMENT CHARACTER}")


def legible(text: str) -> str:
    """A text of the same length without anything that steers."""
    return text if text.isprintable() else text.translate(_STEERING)
