"""`aegis key hold` and `restore`: keys that are held for a while, by a budget's threshold or by a person."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.hold import Hold
from aegis_gateway.domain.registry import Key, Throttle
from aegis_gateway.domain.threshold import budget_of_rule
from aegis_gateway.entrypoints.cli import options
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption, throttle_text
from aegis_gateway.entrypoints.cli.output import (
    STRONG,
    ago,
    out,
    print_json,
    say,
    utc,
    utc_short,
    window_text,
)
from aegis_gateway.entrypoints.cli.session import opened

HeldArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY|AGENT", help="A key's id, or an agent for all of its keys.", show_default=False
    ),
]


def hold(
    name: HeldArgument,
    reason: options.ReasonOption,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help="When it is restored by itself: 2h, 2026-12-31T18:00Z.",
            show_default="until it is restored",
        ),
    ] = None,
    throttle: Annotated[
        str | None,
        typer.Option(
            "--throttle",
            metavar="RATE",
            help="Let so many calls through, as in 5/1m.",
            show_default="none is let through",
        ),
    ] = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a key, or all keys of an agent: the very next call is refused or throttled, on every replica.

    Unlike a revoked key it comes back, at a time or by `aegis key restore`. Of a held agent, new keys are held too.
    """
    limit = None if throttle is None else options.throttle(throttle)
    if throttle is not None and limit is None:
        raise typer.BadParameter(
            "`off` holds nothing; write calls and time as in 5/1m, or leave --throttle out"
        )
    with opened(store, writable=True) as session:
        tenant_id = session.tenant(tenant)
        refuse_secret(name)
        owners = {agent.id: agent.owner for agent in session.registry(tenant_id).agents.values()}
        until_ns = None if until is None else options.until_ns(until, session.clock.now_ns())
        held = session.key_holds().hold(
            tenant_id, name, reason=reason, owners=owners, until_ns=until_ns, throttle=limit
        )
        now_ns = session.clock.now_ns()
    if as_json:
        print_json({"tenant": tenant_id, "keys": [_record(key, now_ns) for key in held]})
        return
    for key in held:
        how = f"let through {throttle_text(limit)}" if limit is not None else "held"
        when = "until it is restored" if until_ns is None else f"until {utc_short(until_ns, now_ns)}"
        out().print(Text.assemble("key ", (key.id, STRONG), f" of agent {key.agent} is {how} {when}"))
    say(f"`aegis key restore {name}` ends that")


def restore(
    name: HeldArgument,
    reason: options.ReasonOption = "",
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a key, or all keys of an agent, from what holds them: the very next call may pass.

    A threshold that still stands doesn't hold the key again before it is undone or its window turns. Its budget counts
    all the same: what doesn't fit into it is refused.
    """
    with opened(store, writable=True) as session:
        tenant_id = session.tenant(tenant)
        refuse_secret(name)
        restored = session.key_holds().restore(tenant_id, name, reason)
        now_ns = session.clock.now_ns()
    if as_json:
        print_json({"tenant": tenant_id, "keys": [_record(each.key, now_ns) for each in restored]})
        return
    for each in restored:
        out().print(Text.assemble("key ", (each.key.id, STRONG), f" of agent {each.key.agent} works again"))
    lifted = {(hold.rule, hold.scope): hold for each in restored for hold in each.lifted if not hold.by}
    for found in lifted.values():
        say(
            f"{found.rule} may still stand: it holds no key again that is restored here before it is undone or its "
            f"window turns, and what doesn't fit into `{budget_of_rule(found.rule)}` is refused as ever"
        )


def refuse_secret(name: str) -> None:
    """Go on only if what was given can't be a key itself.

    Raises:
        ConfigurationError: it may be a secret, which is not repeated.
    """
    if name.startswith("aegis_"):
        raise ConfigurationError(
            "name a key by its id, `key_…`, never by the key itself; `aegis key list` shows ids"
        )


def holds_words(key: Key, now_ns: int) -> list[str]:
    """What holds a key, since when, and when it is restored; and what somebody has lifted."""
    if key.is_over(now_ns):
        return []
    return [_words(hold, now_ns) for hold in key.holds if hold.mode == "enforce" and not hold.is_over(now_ns)]


def hold_records(key: Key, now_ns: int) -> list[dict[str, object]]:
    """What holds a key, as programs read it."""
    return [_hold_record(hold) for hold in key.holds if hold.mode == "enforce" and not hold.is_over(now_ns)]


def _words(hold: Hold, now_ns: int) -> str:
    rate = throttle_text(Throttle(limit=hold.limit, period_ns=hold.period_ns)) if hold.limit else ""
    how = f"throttled to {rate}" if rate else "held"
    whose = f" of {hold.scope}" if hold.scope else ""
    by = f"by {hold.by}" if hold.by else f"by {hold.rule}{whose}"
    why = f" ({hold.reason})" if hold.reason else ""
    if hold.lifted_ns is not None:
        return f"restored {ago(hold.lifted_ns, now_ns)} from being {how} {by}"
    return f"{how} {by} {ago(hold.since_ns, now_ns)}, {_until(hold, now_ns)}{why}"


def _until(hold: Hold, now_ns: int) -> str:
    if hold.until_ns is not None:
        return f"until {utc_short(hold.until_ns, now_ns)}"
    return "until the threshold is undone" if hold.restores else "until somebody restores it"


def _hold_record(hold: Hold) -> dict[str, object]:
    return {
        "by": hold.by or hold.rule,
        "budget": budget_of_rule(hold.rule) or None,
        "threshold": None if hold.by else hold.rule.rpartition("@")[2],
        "agent": hold.scope or None if hold.by else None,
        "scope": None if hold.by else hold.scope,
        "window": window_text(hold.window) if hold.window else None,
        "does": "throttle" if hold.limit else "revoke",
        "throttle": {"limit": hold.limit, "period_ns": hold.period_ns} if hold.limit else None,
        "since_ns": hold.since_ns,
        "since": utc(hold.since_ns),
        "until_ns": hold.until_ns,
        "restores": hold.restores,
        "owner": hold.owner,
        "reason": hold.reason or None,
        "restored_ns": hold.lifted_ns,
    }


def _record(key: Key, now_ns: int) -> dict[str, object]:
    return {"key": key.id, "agent": key.agent, "holds": hold_records(key, now_ns)}
