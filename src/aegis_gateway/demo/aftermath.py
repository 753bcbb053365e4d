"""When the story is over: what came of it, what to try, and what happens while everything is left running."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from aegis_gateway.demo.accounts import Accounts
from aegis_gateway.demo.feed import what_of
from aegis_gateway.demo.names import FX, GUEST, LOAN_ADVISOR
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Outcome, Scene
from aegis_gateway.demo.visitor import ID, Visitor
from aegis_gateway.domain.money import usd_short
from aegis_gateway.entrypoints.cli.output import DIM, STRONG, effect_text

_LOOK_INTERVAL_S = 0.25


def closing_lines(
    played: Sequence[tuple[Scene, Outcome]], accounts: Accounts, seconds: float
) -> Iterator[str]:
    """How many scenes passed, and last of all the three numbers."""
    passed = sum(outcome.passed for _, outcome in played)
    failed = [f"{scene.number} ({scene.name})" for scene, outcome in played if not outcome.passed]
    words = f"all {passed} scenes passed" if not failed else f"FAILED: scene {', '.join(failed)}"
    yield f"{words}, in {seconds:.0f} s; {'equal' if accounts.agree else 'NOT EQUAL'} to the nano-dollar:"
    sides = accounts.side_by_side()
    width = max(len(text) for text in sides.values())
    for name, text in sides.items():
        yield f"  {name:<16}{text:>{width}}"


def what_to_try(stage: Stage, visitor: Visitor) -> Text:
    """A link to the pages, and commands that can be pasted as they stand."""
    aegis, python = _command("aegis"), _path(Path(sys.executable))
    store = f"AEGIS_STORE={stage.settings.store}"
    as_you = f"{store} AEGIS_TOKEN=file:{visitor.token_file}"
    guest, advisor = stage.keys[GUEST].secret, stage.keys[LOAN_ADVISOR].secret
    parts: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("budgets, calls and money, live", (f"{store} {aegis} top",)),
        ("what was refused, and why", (f"{store} {aegis} calls --effect deny --limit 10",)),
        (
            "an exchange rate, with a guest's key",
            (f"curl -i {stage.url}{FX}/v1/fx/EUR-USD -H 'Authorization: Bearer {guest}'",),
        ),
        (
            "Ana's budget is used up, and stays so",
            (
                f"curl -i {stage.url}/v1/chat/completions -H 'Authorization: Bearer {advisor}' "
                f"-d '{_chat('gpt-4.1', 'Just one more?')}'",
            ),
        ),
        (
            "the official client; guests have a dollar a day",
            (
                f"{python} - <<'END'",
                "from openai import OpenAI",
                f'client = OpenAI(base_url="{stage.url}/v1", api_key="{guest}")',
                'hello = [{"role": "user", "content": "Hello"}]',
                'answer = client.chat.completions.create(model="gpt-4o-mini", messages=hello)',
                "print(answer.choices[0].message.content)",
                "END",
            ),
        ),
        (
            "the rules: change a limit, see what that would do, put it in force",
            (f"{store} {aegis} plan {stage.bank}", f"{as_you} {aegis} apply {stage.bank}"),
        ),
        ("another link to the pages", (f"{as_you} AEGIS_URL={stage.url} {aegis} people link {ID}",)),
    )
    text = Text("\n")
    text.append(
        "Everything is still running. What was spent, by whom, against what, is here:\n", style=STRONG
    )
    text.append(f"\n{visitor.link}\n")
    text.append("\nIt signs you in once, within ten minutes.\n", style=DIM)
    text.append("\nOr try, in another terminal:\n", style=STRONG)
    for words, lines in parts:
        text.append(f"\n# {words}\n", style=DIM)
        text.append("\n".join(lines) + "\n")
    text.append(f"\nThe gateway is at {stage.url}; Ctrl-C stops it all. Calls appear here:\n", style=STRONG)
    return text


def leave_running(stage: Stage, console: Console) -> None:
    """Show each call as it comes, until Ctrl-C."""
    books = stage.books()
    read_to = books.last_sequence()
    decided_before = read_to
    try:
        while True:
            time.sleep(_LOOK_INTERVAL_S)
            until = books.last_sequence()
            for call in books.calls_of_entries(read_to, until) if until > read_to else ():
                if call.sequence <= decided_before:
                    continue
                moment = datetime.fromtimestamp(call.decided_ns / 1e9).astimezone()
                line = Text.assemble((f"{moment:%H:%M:%S}  ", DIM), effect_text(call.effect), "  ")
                line.append(f"{call.agent}  {what_of(call)}")
                if call.cost_nano_usd:
                    line.append(f"  {usd_short(call.cost_nano_usd)}", style=STRONG)
                console.print(line, soft_wrap=True)
            read_to = until
    except KeyboardInterrupt:
        console.print()


def _chat(model: str, text: str) -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}]})


def _command(name: str) -> str:
    """The command as it can be typed here: by name where it is found, else by its path."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and beside.exists() and Path(found).resolve() == beside.resolve():
        return name
    return _path(beside)


def _path(path: Path) -> str:
    """A path from here, where it is below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
