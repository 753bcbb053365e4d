from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Usage
from aegis_gateway.entrypoints.data_plane.models.dialect import NO_ADDRESS, Address
from aegis_gateway.entrypoints.data_plane.models.embeddings import EmbeddingsDialect
from tests.unit.entrypoints.models.targets import connector, model

DIALECT = EmbeddingsDialect()


def raw(given: Any) -> bytes:
    """A request."""
    return json.dumps({"model": "m", "input": given}).encode()


@pytest.mark.parametrize(
    ("given", "inputs"), [("hi", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)]
)
def test_what_is_embedded(given: Any, inputs: int) -> None:
    """Texts or tokens, one or many; all of them are bounded by their bytes, and nothing comes out but numbers."""
    request = DIALECT.parse(NO_ADDRESS, raw(given))
    assert inputs == request.arguments["inputs"]
    assert not request.shape.has_output
    assert None is request.shape.unbounded_input_by


@pytest.mark.parametrize("given", [None, "", [], 7, {}])
def test_nothing_to_embed(given: Any) -> None:
    """It is said where something should stand."""
    with pytest.raises(CallError, match="a text, or a list") as caught:
        DIALECT.parse(NO_ADDRESS, raw(given))
    assert "input" == caught.value.field


def test_an_input_of_an_unknown_kind_is_not_bounded() -> None:
    """Some APIs embed images: what they cost stands in no byte."""
    assert "input[1]" == DIALECT.parse(NO_ADDRESS, raw(["a", {"image": "x"}])).shape.unbounded_input_by


def test_where_it_goes() -> None:
    """At Azure the deployment stands in the address, on the way in as on the way out."""
    request = DIALECT.parse(Address(model="deployed"), b'{"input": "hi"}')
    assert "deployed" == request.model
    assert "http://upstream.example/v1/embeddings" == DIALECT.url(connector("openai"), model(), request)
    expected = "http://upstream.example/v1/openai/deployments/u/embeddings?api-version=2024-10-21"
    assert expected == DIALECT.url(connector("azure"), model(), request)


def test_usage() -> None:
    """Embeddings have a prompt and no completion."""
    answer = b'{"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}'
    assert Usage(units={"input": 5}) == DIALECT.usage(answer)
    assert None is DIALECT.usage(b'{"data": []}')
