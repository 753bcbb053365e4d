"""The bundled provider calls its caller's functions as a script in the conversation says, in the official clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from openai import BadRequestError, OpenAI

from aegis_gateway.demo.upstream.process import KEY, UpstreamProcess

SCRIPT = (
    'Please: [[call search {"query": "[[1]]"}]] [[call search {"query": "ü"}]] [[then pay {"amount": 12}]]'
)
EXPECTED = [
    [("search", {"query": "[[1]]"}), ("search", {"query": "ü"})],
    [("pay", {"amount": 12})],
]
TOLD = "I was told: did search | did search | did pay"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}

Calls = list[tuple[str, dict[str, Any]]]
Step = tuple[Calls, str, list[dict[str, Any]]]
"""What an answer calls, what it says, and what the caller adds to the conversation after it."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """One upstream for the whole module."""
    with UpstreamProcess(apps="provider") as process:
        yield process


@pytest.fixture
def openai(upstream: UpstreamProcess) -> Iterator[Any]:
    """OpenAI's client, without retries."""
    with OpenAI(base_url=f"{upstream.base_url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def functions(*names: str) -> list[dict[str, Any]]:
    """Functions on offer, as Chat Completions has them."""
    return [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in names]


def played(step: Callable[[list[Any]], Step]) -> tuple[list[Calls], str]:
    """A conversation until the model calls nothing: what it called, answer by answer, and what it said at the end."""
    conversation: list[Any] = [{"role": "user", "content": SCRIPT}]
    made: list[Calls] = []
    while True:
        calls, text, more = step(conversation)
        if not calls:
            return made, text
        made.append(calls)
        conversation += more


@pytest.mark.parametrize("streamed", [False, True])
def test_chat(openai: Any, streamed: bool) -> None:
    """Two calls at once, then one, then what came of them; streamed in pieces that make the same."""

    def step(messages: list[Any]) -> Step:
        asked: dict[str, Any] = {"model": "gpt-4o-mini", "tools": functions("search", "pay")}
        if streamed:
            with openai.chat.completions.stream(messages=messages, **asked) as stream:
                choice = stream.get_final_completion().choices[0]
        else:
            choice = openai.chat.completions.create(messages=messages, **asked).choices[0]
        calls = choice.message.tool_calls or []
        assert ("tool_calls" if calls else "stop") == choice.finish_reason
        answered = [
            {"role": "tool", "tool_call_id": call.id, "content": f"did {call.function.name}"}
            for call in calls
        ]
        return (
            [(call.function.name, json.loads(call.function.arguments)) for call in calls],
            choice.message.content,
            [choice.message.model_dump(exclude_none=True, exclude={"parsed"}), *answered],
        )

    assert (EXPECTED, TOLD) == played(step)


@pytest.mark.parametrize("streamed", [False, True])
def test_responses(openai: Any, streamed: bool) -> None:
    """The same by Responses."""
    tools = [{"type": "function", "name": name, "parameters": SCHEMA} for name in ("search", "pay")]

    def step(items: list[Any]) -> Step:
        asked: dict[str, Any] = {"model": "gpt-4o-mini", "tools": tools}
        if streamed:
            with openai.responses.stream(input=items, **asked) as stream:
                response = stream.get_final_response()
        else:
            response = openai.responses.create(input=items, **asked)
        calls = [item for item in response.output if item.type == "function_call"]
        sent = [
            {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
            for call in calls
        ]
        answered = [
            {"type": "function_call_output", "call_id": call.call_id, "output": f"did {call.name}"}
            for call in calls
        ]
        made = [(call.name, json.loads(call.arguments)) for call in calls]
        return made, response.output_text, [*sent, *answered]

    assert (EXPECTED, TOLD) == played(step)


@pytest.mark.parametrize("streamed", [False, True])
def test_messages(upstream: UpstreamProcess, streamed: bool) -> None:
    """The same by Claude's client, where results come in a user's message."""
    tools = [{"name": name, "input_schema": SCHEMA} for name in ("search", "pay")]

    def step(messages: list[Any]) -> Step:
        asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 500, "tools": tools}
        if streamed:
            with client.messages.stream(messages=messages, **asked) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(messages=messages, **asked)
        calls = [block for block in message.content if block.type == "tool_use"]
        assert ("tool_use" if calls else "end_turn") == message.stop_reason
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": f"did {block.name}"}
            for block in calls
        ]
        return (
            [(block.name, block.input) for block in calls],
            "".join(block.text for block in message.content if block.type == "text"),
            [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}],
        )

    with Anthropic(base_url=upstream.base_url, api_key=KEY, max_retries=0) as anthropic:
        client: Any = anthropic
        assert (EXPECTED, TOLD) == played(step)


def test_a_later_message_ends_the_script(openai: Any) -> None:
    """What was said after an answer is a conversation like others; what a framework says between is not."""
    call = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    begun: list[Any] = [
        {"role": "user", "content": "[[call search {}]]"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "ten pairs"},
    ]
    between = [*begun, {"role": "user", "content": "Now look at what came."}]
    later = [*begun, {"role": "assistant", "content": "Done."}, {"role": "user", "content": "Thank you."}]
    first, second = (
        openai.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=functions("search"))
        .choices[0]
        .message.content
        for messages in (between, later)
    )
    assert "I was told: ten pairs" == first
    assert second
    assert not second.startswith("I was told")


@pytest.mark.parametrize(
    "order", ["[[call pay {}]]", "[[call search]]", "[[call search {]]", "[[call search []]]"]
)
def test_orders_that_cannot_be_followed(openai: Any, order: str) -> None:
    """A function that isn't on offer and arguments that are none are refused."""
    with pytest.raises(BadRequestError, match="can't"):
        openai.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": order}], tools=functions("search")
        )


def test_what_the_limit_cuts_is_not_called(upstream: UpstreamProcess, openai: Any) -> None:
    """A call that doesn't fit into the output limit isn't made, and costs the limit."""
    upstream.reset()
    answer = openai.chat.completions.create(
        model="gpt-4o-mini",
        max_tokens=2,
        messages=[{"role": "user", "content": '[[call search {"query": "a long one"}]]'}],
        tools=functions("search"),
    )
    assert ("length", None) == (answer.choices[0].finish_reason, answer.choices[0].message.tool_calls)
    assert (2, 2) == (
        answer.usage.completion_tokens,
        upstream.charges()[0]["quantities"]["completion_tokens"],
    )
