"""Which calls' answers could be used again, and what tells their requests apart."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_gateway.domain.price import ToolPrice
from aegis_gateway.domain.registry import Connector, Operation
from aegis_gateway.domain.reuse import is_reusable, request_number


def connector(kind: Any = "http") -> Connector:
    """A connector with an operation that reads, and one that does something."""
    operations = tuple(
        Operation(id=name, method=method, path="/", price=ToolPrice(per_call_nano_usd=1, version="v"))
        for name, method in (("look.up", "GET"), ("up", "POST"), ("buy", "POST"))
    )
    return Connector(id="shop", kind=kind, base_url="http://x", operations=operations)


@pytest.mark.parametrize(
    ("model", "kind", "tool", "reusable"),
    [
        ("gpt", "http", "chat", True),
        (None, "http", "shop.look.up", True),
        (None, "http", "shop.up", False),
        (None, "http", "shop.buy", False),
        (None, "http", "shop.nothing", False),
        (None, "local", "shop.look.up", False),
    ],
)
def test_models_and_what_only_reads(model: str | None, kind: str, tool: str, reusable: bool) -> None:
    """Nothing that may change something is looked at."""
    assert reusable == is_reusable(model, connector(kind), tool)


def test_nobody_s_tool_is_none() -> None:
    """A tool that no connector has can't be known to read."""
    assert not is_reusable(None, None, "shop.look.up")


def test_each_part_tells_requests_apart() -> None:
    """Agent, connector, tool, model and arguments; in 63 bits, the same each time."""
    parts = ("bot", "shop", "chat", "gpt", "digest")
    numbers = {request_number(*parts)}
    for place in range(len(parts)):
        numbers.add(request_number(*parts[:place], "other", *parts[place + 1 :]))
    assert 1 + len(parts) == len(numbers)
    assert all(0 <= number < 2**63 for number in numbers)
    assert request_number(*parts) in numbers
