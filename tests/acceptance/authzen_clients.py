"""Run in the environment `authzen`: what published AuthZEN clients make of a gateway's answers."""

import asyncio
import os

from apparitor import (
    Action,
    AuthorizationEngine,
    BatchEvaluationRequest,
    EvaluationItem,
    Resource,
    ScannerConfig,
    Subject,
)
from apparitor.client import AuthZENClient
from decern import Client, DecernError

PDP, KEY = os.environ["PDP"], os.environ["KEY"]
ALICE, BOB = ({"type": "agent", "id": name} for name in ("alice", "bob"))
RECORD = {"type": "connector", "id": "record-1"}


def decern() -> None:
    """One by one."""
    client = Client(PDP, token=KEY)
    print(
        "decern:",
        client.evaluate(ALICE, "write", RECORD).allowed,
        client.evaluate(BOB, "write", RECORD).allowed,
    )


def config() -> ScannerConfig:
    """The guard's settings."""
    return ScannerConfig(
        pdp_url=PDP,
        allow_insecure_pdp=True,
        default_headers={"authorization": f"Bearer {KEY}"},
        subject_type="agent",
        agent_id="bob",
        redact_arguments=False,
    )


async def guard() -> None:
    """A model's tool calls, as the guard asks about them; and many at once."""
    engine = AuthorizationEngine(config())

    async def verdict(tool: str, arguments: str) -> str:
        call = {"id": "1", "type": "function", "function": {"name": tool, "arguments": arguments}}
        return str((await engine.evaluate_tool_calls([call])).verdict.value)

    print("guard:", await verdict("desk.note", '{"text": "x"}'), await verdict("record-1.write", "{}"))
    await engine.aclose()
    async with AuthZENClient(config()) as client:
        many = await client.evaluate_batch(
            BatchEvaluationRequest(
                subject=Subject(**BOB),
                resource=Resource(**RECORD),
                evaluations=[EvaluationItem(action=Action(name=name)) for name in ("read", "write")],
            )
        )
        print("batch:", *(each.decision for each in many.evaluations))


def refused() -> None:
    """A subject that this key may not ask for, as the client tells it."""
    try:
        Client(PDP, token=os.environ["OTHER"]).evaluate(BOB, "read", RECORD)
    except DecernError as fault:
        print("refused:", fault.status_code)


decern()
asyncio.run(guard())
refused()
