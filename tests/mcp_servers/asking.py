"""Tools of the conformance server that ask their caller something before they answer.

In 2025-11-25 and before, the server sends a request of its own while the call is open. From 2026-07-28 on it answers
that input is required, and the caller calls again with it: there the questions are values, and a round is a pure
function of what was answered and of the state that the caller brought back.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

Context: TypeAlias = ServerRequestContext[Any, Any]
Call: TypeAlias = types.CallToolRequestParams
Answer: TypeAlias = types.CallToolResult | types.InputRequiredResult

MODERN = "2026-07-28"


def text(words: str) -> types.CallToolResult:
    """A result of one text."""
    return types.CallToolResult(content=[types.TextContent(text=words)])


def fields(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of a form."""
    return {"type": "object", "properties": properties, "required": required}


NAME = fields(["name"], name={"type": "string"})
PERSON = fields(
    ["username", "email"],
    username={"type": "string", "description": "User's response"},
    email={"type": "string", "description": "User's email address"},
)
DEFAULTS = fields(
    [],
    name={"type": "string", "default": "John Doe"},
    age={"type": "integer", "default": 30},
    score={"type": "number", "default": 95.5},
    status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    verified={"type": "boolean", "default": True},
)


def _titled(kind: str, *values: str) -> list[dict[str, str]]:
    return [
        {"const": value, "title": f"{order} {kind}"}
        for value, order in zip(values, ("First", "Second", "Third"), strict=True)
    ]


_PLAIN = {"type": "string", "enum": ["option1", "option2", "option3"]}
_VALUES = ("value1", "value2", "value3")
CHOICES = fields(
    [],
    untitledSingle=_PLAIN,
    titledSingle={"type": "string", "oneOf": _titled("Option", *_VALUES)},
    legacyEnum={
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    untitledMulti={"type": "array", "items": _PLAIN},
    titledMulti={"type": "array", "items": {"anyOf": _titled("Choice", *_VALUES)}},
)


# -- while the call is open -------------------------------------------------------------------------------------


async def ask_model(context: Context, call: Call) -> Answer:
    """Have the caller's model say something."""
    prompt = str((call.arguments or {})["prompt"])
    message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    said = await context.session.create_message(
        [message], max_tokens=100, related_request_id=context.request_id
    )
    return text(f"LLM response: {getattr(said.content, 'text', '')}")


async def ask_person(context: Context, call: Call) -> Answer:
    """Have a person fill in a form."""
    message = str((call.arguments or {})["message"])
    given = await context.session.elicit_form(message, PERSON, context.request_id)
    return text(f"User response: action={given.action}, content={json.dumps(given.content)}")


async def ask_with_defaults(context: Context, _call: Call) -> Answer:
    """A form whose fields have defaults."""
    given = await context.session.elicit_form("please look these over", DEFAULTS, context.request_id)
    return text(f"Elicitation completed: action={given.action}, content={json.dumps(given.content)}")


async def ask_with_choices(context: Context, _call: Call) -> Answer:
    """A form of choices, of all kinds that there are."""
    given = await context.session.elicit_form("please choose", CHOICES, context.request_id)
    return text(f"Elicitation completed: action={given.action}, content={json.dumps(given.content)}")


# -- by calling again -------------------------------------------------------------------------------------------


def form(message: str, schema: dict[str, Any]) -> types.ElicitRequest:
    """A question to a person."""
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(prompt: str, max_tokens: int) -> types.CreateMessageRequest:
    """A question to the caller's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def required(state: str | None = None, **questions: Any) -> types.InputRequiredResult:
    """The answer that input is required."""
    return types.InputRequiredResult(input_requests=questions, request_state=state)


def content_of(call: Any, question: str) -> dict[str, Any] | None:
    """What a person filled in; None if there is no usable answer to that question."""
    given = (call.input_responses or {}).get(question)
    if isinstance(given, types.ElicitResult) and given.action == "accept" and given.content:
        return dict(given.content)
    return None


async def name_once(_context: Context, call: Call) -> Answer:
    """Greets by name."""
    given = content_of(call, "user_name")
    if given is None or "name" not in given:
        return required(user_name=form("What is your name?", NAME))
    return text(f"Hello, {given['name']}!")


async def capital(_context: Context, call: Call) -> Answer:
    """Has the caller's model answer a question."""
    given = (call.input_responses or {}).get("capital_question")
    if not isinstance(given, types.CreateMessageResult):
        return required(capital_question=sampling("What is the capital of France?", 100))
    return text(f"The model says: {getattr(given.content, 'text', '')}")


async def roots(_context: Context, call: Call) -> Answer:
    """Tells the caller's roots."""
    given = (call.input_responses or {}).get("client_roots")
    if not isinstance(given, types.ListRootsResult):
        return required(client_roots=types.ListRootsRequest())
    return text("roots: " + ", ".join(str(root.uri) for root in given.roots))


async def with_state(_context: Context, call: Call) -> Answer:
    """Asks once, and wants its state back."""
    if content_of(call, "confirm") is None or call.request_state != "asked once":
        confirm = form("Please confirm", fields(["ok"], ok={"type": "boolean"}))
        return required("asked once", confirm=confirm)
    return text("state-ok")


async def three_at_once(_context: Context, call: Call) -> Answer:
    """Asks person, model and client in one answer."""
    given = call.input_responses or {}
    if not {"user_name", "greeting", "client_roots"} <= given.keys():
        return required(
            "asked for three",
            user_name=form("What is your name?", NAME),
            greeting=sampling("Generate a greeting", 50),
            client_roots=types.ListRootsRequest(),
        )
    return text(f"all there: {', '.join(sorted(given))}")


async def two_rounds(_context: Context, call: Call) -> Answer:
    """Asks twice, the second time because of the first answer."""
    first, second = content_of(call, "step1"), content_of(call, "step2")
    if call.request_state == "round 2" and second is not None:
        return text(f"both rounds are done: {second}")
    if call.request_state == "round 1" and first is not None:
        colour = fields(["color"], color={"type": "string"})
        return required("round 2", step2=form("Step 2: What is your favorite color?", colour))
    return required("round 1", step1=form("Step 1: What is your name?", NAME))


async def what_the_client_can(context: Context, _call: Call) -> Answer:
    """Asks only for what the client said that it can do."""
    can = context.session.client_capabilities or types.ClientCapabilities()
    questions: dict[str, Any] = {}
    if can.sampling is not None:
        questions["model"] = sampling("Say something", 20)
    if can.elicitation is not None:
        questions["person"] = form("What is your name?", NAME)
    return required(**questions) if questions else text("there is nobody to ask")


async def needs_sampling(context: Context, _call: Call) -> Answer:
    """Can't do without the caller's model."""
    can = context.session.client_capabilities
    if can is None or can.sampling is None:
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "this tool needs the client's sampling",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return text("the client can sample")


async def prompt_with_context(call: types.GetPromptRequestParams) -> Any:
    """A prompt that asks what it is about."""
    given = content_of(call, "user_context")
    if given is None:
        schema = fields(["context"], context={"type": "string"})
        return required(user_context=form("What context should the prompt use?", schema))
    content = types.TextContent(text=f"Use this context: {given.get('context')}")
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=content)])
