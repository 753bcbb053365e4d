"""An agent written with the SDK `aegislib`, as its own documents tell to; it runs where only that is installed.

It is told in `AGENT` (JSON) where the gateway is and which keys there are, does all of `DOES` or what its arguments
name, and prints what came of each as JSON.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aegis import (
    Aegis,
    AegisConfig,
    AegisError,
    CapabilityClient,
    DecisionClient,
    DecisionRequest,
    PricingEntry,
    ToolCall,
    aegis_guard,
    agent,
    ascore,
    get_global_task_manager,
    score,
    tool,
    update_current_span,
    workflow,
)

AGENT = json.loads(os.environ["AGENT"])
NOWHERE = "http://127.0.0.1:9"
POLLS = {"approval_polling_initial_delay_s": 0.5, "approval_polling_max_attempts": 2}

Told = dict[str, Any]


def client(key: str = "bot", **settings: Any) -> DecisionClient:
    """A client with one of the keys."""
    given = {"base_url": AGENT["url"], "retries": 0, "shutdown_flush_timeout_s": 0.5, **POLLS, **settings}
    return DecisionClient(AegisConfig(api_key=AGENT["keys"].get(key, key), **given))


def guarded(who: DecisionClient, name: str | None, *, of: str = "bot", **more: Any) -> Callable[..., Any]:
    """The SDK's decorator."""
    decorator: Callable[..., Any] = aegis_guard(who, of, name, **more)
    return decorator


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function gives, or which error of the SDK, with its words."""
    try:
        return function(*args, **kwargs)
    except AegisError as fault:
        return {"error": type(fault).__name__, "message": str(fault)}


async def awaited(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The same of a coroutine's function."""
    try:
        return await function(*args, **kwargs)
    except AegisError as fault:
        return {"error": type(fault).__name__, "message": str(fault)}


def said(decision: Any) -> Told:
    """A decision as the SDK read it."""
    told: Told = decision.model_dump(mode="json")
    return told


def guard() -> Told:
    """All four effects, where the function has no other name than its own, and where it is named in full."""
    who = client()

    def rank(limit: int = 3) -> str:
        return f"ranked {limit}"

    def wire(amount: float) -> str:
        return f"wired {amount}"

    def note(text: str, title: str = "untitled") -> Told:
        return {"text": text, "title": title}

    return {
        "allow": outcome(guarded(who, None)(rank), 5),
        "named": outcome(guarded(who, "desk.rank")(rank)),
        "dotted": outcome(guarded(who, "slack.post_message")(lambda text: f"posted {text}"), "hello"),
        "deny": outcome(guarded(who, "desk.wire")(wire), 101),
        "sanitize": outcome(guarded(who, "note")(note), "of 536-90-4399", title="plain"),
        "sanitize by name": outcome(guarded(who, "note")(note), title="of 536-90-4399", text="nothing"),
        "nothing to sanitize": outcome(guarded(who, "note")(note), "nothing"),
    }


def guard_async() -> Told:
    """The same of coroutines."""
    who = client()

    async def rank(limit: int = 3) -> str:
        return f"ranked {limit}"

    async def wire(amount: float) -> str:
        return f"wired {amount}"

    async def note(text: str) -> str:
        return text

    async def all_of_them() -> Told:
        told = {
            "allow": await awaited(guarded(who, "desk.rank")(rank), 7),
            "deny": await awaited(guarded(who, "desk.wire")(wire), 101),
            "sanitize": await awaited(guarded(who, "desk.note")(note), "of 536-90-4399"),
            "adecide": said(await who.adecide("bot", "desk.rank", {})),
        }
        requests = [
            DecisionRequest(agent_id="bot", tool=ToolCall(name=name, params={})) for name in ("rank", "none")
        ]
        told["adecide_batch"] = [said(each) for each in await who.adecide_batch(requests)]
        await who.aclose()
        return told

    return asyncio.run(all_of_them())


def approval() -> Told:
    """What a person has to agree to: the SDK goes on asking, and runs nothing meanwhile."""
    who = client()
    ran: list[str] = []
    heard: list[Exception | None] = []
    done = threading.Event()

    def told(_result: Any, error: Exception | None) -> None:
        heard.append(error)
        done.set()

    decided = who.decide("bot", "desk.drop", {"table": "users"})
    answer = outcome(guarded(who, "desk.drop", approval_callback=told)(ran.append), "users")
    done.wait(20)
    [task] = get_global_task_manager().list_tasks()
    return {
        "decided": said(decided),
        "status": said(who.get_decision_status(decided.decision_id)),
        "answer": answer,
        "ran": ran,
        "heard": [type(error).__name__ for error in heard],
        "task": [task.tool_name, task.status.value, task.attempt_count],
        "without polling": outcome(
            guarded(client(approval_polling_enabled=False), "desk.drop")(ran.append), "users"
        ),
    }


def batch() -> Told:
    """Each is decided by itself, in order."""
    asked = [
        ("rank", {}),
        ("desk.wire", {"amount": 101}),
        ("desk.wire", {}),
        ("note", {"text": "of 536-90-4399"}),
        ("desk.drop", {"table": "users"}),
        ("copy", {}),
    ]
    requests = [
        DecisionRequest(agent_id="bot", tool=ToolCall(name=name, params=params)) for name, params in asked
    ]
    who = client()
    return {
        "decisions": [said(each) for each in who.decide_batch(requests)],
        "none": who.decide_batch([]),
        "too many": outcome(who.decide_batch, requests * 20),
    }


def status() -> Told:
    """How decisions stand, for the one they were made for."""
    who = client()
    asked = {
        "allow": ("rank", {}),
        "deny": ("desk.wire", {"amount": 101}),
        "sanitize": ("note", {"text": "of 536-90-4399"}),
        "open": ("desk.crawl", {"pages": 3}),
    }
    ids = {name: who.decide("bot", *request).decision_id for name, request in asked.items()}
    return {
        **{name: said(who.get_decision_status(each)) for name, each in ids.items()},
        "another's": outcome(client("other").get_decision_status, ids["allow"]),
        "unknown": outcome(who.get_decision_status, "call_" + "0" * 32),
        "no id": outcome(who.get_decision_status, "none"),
    }


def context() -> Told:
    """`guarded` for tools that are only known at run time, with a session."""
    who = client()
    told: Told = {}
    for name, tool_name, params in (
        ("allow", "rank", {}),
        ("deny", "desk.wire", {"amount": 101}),
        ("sanitize", "note", {"text": "of 536-90-4399", "n": 1.5}),
        ("approval", "desk.drop", {"table": "users"}),
    ):
        with who.guarded("bot", tool_name, params, session={"user_id": "u-1", "priority": 2}) as result:
            told[name] = {"allowed": result.allowed, "params": result.params}
    told["customer"] = said(who.decide("bot", "rank", {}, session={"aegis-customer": "initech"}))
    told["no customer"] = said(who.decide("bot", "rank", {}, session={"aegis-customer": "nobody"}))
    told["no text"] = said(who.decide("bot", "rank", {}, session={"aegis-run-id": 5}))
    return told


def refusals_when_open() -> Told:
    """With `fail_mode="open"` the SDK runs what nobody could be asked about; what was refused is not that."""
    ran: list[str] = []

    def run(*_: Any, **__: Any) -> str:
        ran.append("ran")
        return "ran"

    def opened(key: str, name: str, params: Told, of: str = "bot") -> Any:
        def function(**kwargs: Any) -> str:
            return run(**kwargs)

        # The SDK tells parameters by the function's own; of `**kwargs` it would make one.
        function.__signature__ = signature(params)  # type: ignore[attr-defined]  # of any function
        return outcome(guarded(client(key), name, of=of, fail_mode="open")(function), **params)

    told = {
        "unknown tool": opened("bot", "nothing", {}),
        "ambiguous": opened("bot", "copy", {}),
        "missing argument": opened("bot", "desk.wire", {}),
        "wrong argument": opened("bot", "desk.wire", {"amount": "much"}),
        "entity": opened("bot", "desk.wire", {"amount": {"__entity": {"type": "Agent", "id": "bot"}}}),
        "another agent": opened("bot", "rank", {}, of="other"),
        "revoked key": opened("revoked", "rank", {}),
        "by policy": opened("bot", "desk.wire", {"amount": 101}),
    }
    told["external id"] = opened("other", "rank", {}, of="assistant-7")
    told["ran"] = ran
    return told


def signature(params: Told) -> inspect.Signature:
    """A signature with parameters of these names."""
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in params])


def keys() -> Told:
    """A key that nobody issued, and none that is one."""
    unknown = client("unissued")
    return {
        "unissued": outcome(unknown.decide, "bot", "rank", {}),
        "nonsense": outcome(client("nonsense").decide, "bot", "rank", {}),
        "guarded": outcome(guarded(unknown, "rank")(lambda: "ran")),
    }


def from_environment() -> Told:
    """A client that is told nothing in code."""
    os.environ |= {"AEGIS_BASE_URL": AGENT["url"], "AEGIS_API_KEY": AGENT["keys"]["bot"]}
    try:
        return {"answer": outcome(guarded(DecisionClient(AegisConfig()), "rank")(lambda: "ran"))}
    finally:
        del os.environ["AEGIS_BASE_URL"], os.environ["AEGIS_API_KEY"]


def gateway_down() -> Told:
    """Nobody answers: the SDK's own mode says what then."""
    who = client(base_url=NOWHERE, timeout_s=2)
    return {
        "closed": outcome(guarded(who, "rank")(lambda: "ran")),
        "open": outcome(guarded(who, "rank", fail_mode="open")(lambda: "ran")),
        "status": outcome(who.get_decision_status, "call_" + "0" * 32),
    }


def at_once() -> Told:
    """Forty guards at once, half of them coroutines, on a budget for ten."""
    who = client("poor")
    guarded_rank = guarded(who, "rank", of="poor")(lambda: "ran")

    async def rank() -> str:
        return "ran"

    guarded_async = guarded(who, "rank", of="poor")(rank)

    async def twenty() -> list[Any]:
        return await asyncio.gather(*(awaited(guarded_async) for _ in range(20)))

    with ThreadPoolExecutor(21) as pool:
        coroutines = pool.submit(asyncio.run, twenty())
        threads = list(pool.map(lambda _: outcome(guarded_rank), range(20)))
    answers = [*threads, *coroutines.result()]
    return {"ran": answers.count("ran"), "refused": [each for each in answers if each != "ran"][:1]}


def listing() -> Told:
    """What the SDK asks before it exports, and what models cost."""
    who = client()
    pricing = who.http_client.get_json("/v1/models/pricing")
    return {
        "capabilities": said(CapabilityClient(who.config).get()),
        "entries": [said(PricingEntry(**entry)) for entry in pricing["models"]],
        "pricing": pricing,
    }


def telemetry() -> Told:
    """Spans, begun and ended in one batch or in two; scores; what a tool's own code says of its cost."""
    told: Told = {"stats": {}}
    who = client("reporter")
    inside = threading.Event()
    flushed = threading.Event()

    @guarded(who, "desk.crawl", of="reporter")
    def crawl(pages: int, counted: float | None = None) -> str:
        if counted is not None:
            update_current_span(pages=counted, rows=3)
        return "crawled"

    @guarded(who, "desk.crawl", of="reporter")
    def crawl_slowly(pages: int) -> Told:
        inside.set()
        flushed.wait(20)
        return {"pages": pages, "rows": 12}

    @guarded(who, "desk.crawl", of="reporter")
    def crawl_badly(pages: int) -> str:
        update_current_span(pages=pages, rows=1)
        raise ValueError("the page of 536-90-4399 is gone")

    @guarded(who, "desk.ask", of="reporter")
    def ask(question: str) -> str:
        update_current_span(cost_usd=0.0123, input_tokens=900, output_tokens=20)
        return f"an answer to {question}"

    @guarded(who, "desk.rank", of="reporter")
    def rank() -> str:
        update_current_span(cost_usd=0.0)
        return "ranked"

    def errand() -> Any:
        return ask("of 536-90-4399")

    traced = workflow(name="errand")(agent(name="reporter")(tool(name="outer")(errand)))

    def facade(**settings: Any) -> Any:
        key = AGENT["keys"]["reporter"]
        return Aegis(api_key=key, base_url=AGENT["url"], enabled=True, batch_flush_interval_s=60, **settings)

    first = facade(capture_mode="metadata_only")
    crawl(4, 4)
    crawl(1)
    crawl(2, -7)
    crawl(3, 10**15)
    crawl(3, 10**30)
    rank()
    told["errand"] = traced()
    try:
        crawl_badly(5)
    except ValueError as fault:
        told["failed"] = str(fault)
    first.flush()
    score(trace_id="t-1", name="helpfulness", value=0.9, comment="of 536-90-4399")
    asyncio.run(ascore(span_id="s-1", name="thumbs", value=True))
    told["stats"]["first"] = first.get_telemetry_stats()
    first.shutdown()

    second = facade(capture_mode="full")
    thread = threading.Thread(target=crawl_slowly, args=(6,))
    thread.start()
    inside.wait(20)
    second.flush()  # what has begun is sent as such, and what is left of it afterwards
    flushed.set()
    thread.join()
    second.flush()
    told["stats"]["second"] = second.get_telemetry_stats()
    second.shutdown()
    return told


DOES = (
    guard, guard_async, approval, batch, status, context, refusals_when_open, keys, from_environment, gateway_down,
    at_once, listing, telemetry,
)  # fmt: skip

if __name__ == "__main__":
    print(
        json.dumps(
            {each.__name__: each() for each in DOES if each.__name__ in (sys.argv[1:] or [each.__name__])}
        )
    )
