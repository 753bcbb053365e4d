"""`aegis key …`: the API keys of agents. A key is shown once, when it is made; nothing stored gives it back."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.application.administration import IssuedKey
from aegis_gateway.domain.agent_state import key_state
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.registry import Key
from aegis_gateway.entrypoints.cli import key_holds, options
from aegis_gateway.entrypoints.cli.key_holds import hold_records, holds_words, refuse_secret
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption, throttle_text
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    GOOD,
    STRONG,
    WARNING,
    Column,
    Row,
    ago,
    out,
    print_json,
    say,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import Session, instead, opened

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="The key's id, as `aegis key list` shows it.", show_default=False)
]

_STATE_STYLES = {
    "held": "red",
    "valid": GOOD,
    "throttled": WARNING,
    "expiring": WARNING,
    "expired": DIM,
    "revoked": "red",
}

app = typer.Typer(
    name="key",
    help="Their API keys: issue, rotate, throttle, hold and restore, revoke.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("issue")
def issue(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whose key it is.", show_default=False)],
    test: Annotated[bool, typer.Option("--test", help="A key that says so: aegis_test_…")] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key for an agent. It is printed once; only its hash is kept."""
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        agents = session.registry(name).agents
        if agent not in agents:
            advice = instead(agent, sorted(agents)) if agents else "register it with `aegis agent add`"
            raise ConfigurationError(f"there is no agent `{agent}`; {advice}")
        issued = session.administration().issue_key(name, agent, "test" if test else "live")
        door = f"http://{session.settings.host}:{session.settings.port}/v1"
        held = issued.key.held(session.clock.now_ns())
    more = f"it is held {held.words}" if held is not None else ""
    _show_once(name, issued, door, as_json=as_json, more=more)


@app.command("list")
def list_keys(
    agent: Annotated[
        str | None, typer.Argument(metavar="AGENT", help="Only this agent's keys.", show_default=False)
    ] = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """List keys: what they begin and end with, whose they are, what state they are in, and what holds them."""
    with opened(store) as session:
        name = session.tenant(tenant)
        keys = [key for key in session.state.tenants[name].keys if agent is None or key.agent == agent]
        now_ns = session.clock.now_ns()
    keys.sort(key=lambda key: (key.agent, -key.issued_ns))
    if as_json:
        print_json({"tenant": name, "keys": [_record(key, now_ns) for key in keys]})
        return
    if not keys:
        say(f"no keys yet; `aegis key issue {agent or 'AGENT'}` makes one")
        return
    notes = {key.id: "; ".join(holds_words(key, now_ns)) for key in keys}
    columns = [
        Column(name="key"),
        Column(name="begins … ends"),
        Column(name="agent", flexible=True),
        Column(name="state"),
        Column(name="issued (UTC)", optional=1),
        Column(name="issued", right=True),
    ]
    rows = [
        Row(
            cells=(
                Text(key.id, style=STRONG),
                key.hint,
                key.agent,
                _state_text(key, now_ns),
                utc(key.issued_ns),
                ago(key.issued_ns, now_ns),
            ),
            note=notes[key.id] or None,
        )
        for key in keys
    ]
    console = out()
    console.print(table(columns, rows, console))


@app.command("rotate")
def rotate(
    key: KeyArgument,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old key stays valid: 0, 30m, 24h.")
    ] = "24h",
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new key in place of one that stays valid for a while. The new one is printed once.

    What holds the old one holds the new one too.
    """
    grace_ns = options.span_ns(grace)
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        _check_known(session, name, key)
        issued = session.administration().rotate_key(name, key, grace_ns)
        door = f"http://{session.settings.host}:{session.settings.port}/v1"
        now_ns = session.clock.now_ns()
    until = f"for {grace} more" if grace_ns else "no longer"
    held = issued.key.held(now_ns)
    more = f"both keys are held {held.words}" if held else f"the old key, {key}, is valid {until}"
    _show_once(name, issued, door, as_json=as_json, more=more)


@app.command("revoke")
def revoke(
    key: KeyArgument,
    reason: options.ReasonOption = "",
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key invalid: the very next call with it is refused, on every replica."""
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        _check_known(session, name, key)
        revoked = session.administration().revoke_key(name, key, reason)
        now_ns = session.clock.now_ns()
    if as_json:
        print_json(_record(revoked, now_ns))
        return
    out().print(Text.assemble("key ", (revoked.id, STRONG), f" of agent {revoked.agent} is revoked"))
    say(f"`aegis key issue {revoked.agent}` makes another")


@app.command("throttle")
def throttle(
    key: KeyArgument,
    rate: Annotated[str, typer.Argument(metavar="RATE", help="5/1s, 100/1m, or off.", show_default=False)],
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Limit how often a key may be used, or lift the limit."""
    limit = options.throttle(rate)
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        _check_known(session, name, key)
        throttled = session.administration().throttle_key(name, key, limit)
        now_ns = session.clock.now_ns()
    if as_json:
        print_json(_record(throttled, now_ns))
        return
    how = f"may be used {throttle_text(limit)}" if limit else "may be used without a limit of its own"
    out().print(Text.assemble("key ", (throttled.id, STRONG), f" of agent {throttled.agent} {how}"))


app.command("hold")(key_holds.hold)
app.command("restore")(key_holds.restore)


def _check_known(session: Session, tenant: str, key: str) -> None:
    known = sorted(each.id for each in session.state.tenants[tenant].keys)
    refuse_secret(key)
    if key not in known:
        raise ConfigurationError(f"there is no key `{key}`; `aegis key list` shows those there are")


def _show_once(tenant: str, issued: IssuedKey, door: str, *, as_json: bool, more: str = "") -> None:
    """Print a new key: alone on stdout, so that it can be piped to where it belongs."""
    if as_json:
        record = _record(issued.key, issued.key.issued_ns)
        print_json({**record, "tenant": tenant, "secret": issued.secret})
        return
    say(Text.assemble((issued.key.id, STRONG), f" for agent {issued.key.agent} of {tenant}"))
    say("")
    sys.stdout.write(issued.secret + "\n")
    sys.stdout.flush()
    say("")
    say(Text("this is the only time that it is shown; only its hash is kept", style=WARNING))
    say(f"give it to the agent as its API key, with {door} as its base URL")
    if more:
        say(more)


def _state_text(key: Key, now_ns: int) -> Text:
    state = key_state(key, now_ns)
    words: str = state
    if state in ("expiring", "expired") and key.expires_ns is not None:
        words = f"{state} {ago(key.expires_ns, now_ns)}"
    if key.throttle is not None and key.is_valid(now_ns):
        words = (
            f"{words} {throttle_text(key.throttle)}"
            if state == "throttled"
            else f"{words}, {throttle_text(key.throttle)}"
        )
    return Text(words, style=_STATE_STYLES[state])


def _record(key: Key, now_ns: int) -> dict[str, object]:
    throttle_limit = key.throttle
    return {
        "key": key.id,
        "agent": key.agent,
        "hint": key.hint,
        "state": key_state(key, now_ns),
        "issued_ns": key.issued_ns,
        "issued": utc(key.issued_ns),
        "expires_ns": key.expires_ns,
        "revoked_ns": key.revoked_ns,
        "throttle": None
        if throttle_limit is None
        else {"limit": throttle_limit.limit, "period_ns": throttle_limit.period_ns},
        "holds": hold_records(key, now_ns),
    }
