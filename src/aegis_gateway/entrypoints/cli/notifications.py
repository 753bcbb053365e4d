"""`aegis notifications …`: what people were to be told, and whether they were: see, have sent again, test a channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.application.redelivering import Tried
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.delivery import Delivery, DeliveryState, NotSent
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption, one_line
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

NOT_SENT = 3

_STYLES: dict[DeliveryState, str] = {"waiting": "cyan", "sent": GOOD, "dead": WARNING}

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The delivery's id, `dlv_…`.", show_default=False)
]
ChannelOption = Annotated[
    str | None, typer.Option("--channel", metavar="NAME", help="Of this channel only.", show_default=False)
]

app = typer.Typer(
    name="notifications",
    help="What people were told, and what could not be sent: see, retry, test a channel.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def notifications(
    context: typer.Context,
    dead: Annotated[bool, typer.Option("--dead", help="Only what was given up.")] = False,
    channel: ChannelOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many at most.")] = 20,
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deliveries, one for each message and place, the newest first."""
    if context.invoked_subcommand is not None:
        return
    with opened(store) as session:
        name = session.tenant(tenant)
        found = DeliveryReports(session.store.rows).deliveries(name, limit, "dead" if dead else None, channel)
        now_ns = session.clock.now_ns()
    if as_json:
        print_json({"tenant": name, "notifications": [delivery_record(each) for each in found]})
        return
    if not found:
        say("nothing was given up" if dead else "nothing was to be told yet; see `channels` and `notify`")
        return
    columns = [
        Column(name="delivery"),
        Column(name="state"),
        Column(name="to", flexible=True),
        Column(name="message", flexible=True),
        Column(name="tries", right=True),
        Column(name="made", right=True),
    ]
    rows = [
        Row(
            cells=(
                Text(each.id, style=STRONG),
                Text(each.state, style=_STYLES[each.state]),
                _place(each.channel, each.recipient),
                each.message.title,
                str(each.tries),
                ago(each.made_ns, now_ns),
            ),
            note=_trouble(each, now_ns),
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))


@app.command("show")
def show(delivery_id: IdArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show one in full: how often and when it was tried, what went wrong, and the message."""
    with opened(store) as session:
        delivery = _found(session, delivery_id)
        now_ns = session.clock.now_ns()
    if as_json:
        print_json(delivery_record(delivery))
        return
    console = out()
    console.print(
        Text.assemble(
            (delivery.id, STRONG), "  ", (delivery.state, _STYLES[delivery.state]), f"  {delivery.kind}"
        )
    )
    about, message = _about(delivery, now_ns), _message(delivery)
    width = max(len(name) for name, _ in (*about, *message)) + 2
    for lines in (about, message):
        console.print()
        for name, text in lines:
            console.print(Text.assemble((f"{name:<{width}}", DIM), text))


@app.command("retry")
def retry(
    delivery_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The delivery's id.", show_default=False)
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up.")] = False,
    channel: ChannelOption = None,
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have one that was given up or waits, or all that were given up, tried again now; the steward does it.

    Each keeps its id: a receiver that has it already can tell. Exit code 3 says that it was sent, or that you may not.
    """
    if (delivery_id is None) != dead or (channel is not None and not dead):
        raise typer.BadParameter("name a delivery, or say --dead (and --channel, for one channel's)")
    with opened(store, writable=True) as session:
        if delivery_id is not None:
            delivery = _found(session, delivery_id)
            moved = session.redelivering().retry(delivery.tenant, delivery.id)
            told: object = delivery_record(moved)
            words = f"{moved.id} is due now"
        else:
            name = session.tenant(tenant)
            count = session.redelivering().retry_dead(name, channel or "")
            told = {"tenant": name, "retried": count}
            words = f"{count} {'is' if count == 1 else 'are'} due now" if count else "nothing was given up"
    if as_json:
        print_json(told)
    else:
        out().print(words)


@app.command("test")
def try_out(
    channel_name: Annotated[
        str, typer.Argument(metavar="CHANNEL", help="The channel's name.", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option("--to", metavar="ADDRESS", help="By e-mail: to whom instead.", callback=one_line),
    ] = "",
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send one message by a channel at once, and say what the other side said.

    It is sent by this command, not by the steward: from this machine, with the secrets of this environment. Exit code 3
    says that it, or one of them where the channel has several recipients, was not sent.
    """
    from aegis_gateway.adapters.channels.opening import open_channel
    from aegis_gateway.adapters.secrets import ReferencedSecrets

    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        channel = _channel(session, name, channel_name)
        if to and channel.kind != "email":
            raise typer.BadParameter(
                f"`{channel.id}` is no e-mail, and always goes to the same place; leave --to out"
            )
        if channel.kind == "email" and not (to or channel.recipients):
            raise typer.BadParameter(f"`{channel.id}` has no `to`; say to whom, as in --to you@example.com")
        sender = open_channel(channel, ReferencedSecrets(), session.clock)
        done = session.redelivering().test(name, channel, lambda delivery: sender.send(delivery, ()), to)
    if as_json:
        print_json({"tenant": name, "channel": channel.id, "sent": [_tried_record(each) for each in done]})
    else:
        for each in done:
            out().print(_tried_words(each))
    if any(isinstance(each.outcome, NotSent) for each in done):
        raise typer.Exit(NOT_SENT)


def _found(session: Session, delivery_id: str) -> Delivery:
    found = DeliveryReports(session.store.rows).delivery(delivery_id)
    if found is None:
        raise ConfigurationError(f"there is no delivery `{delivery_id}`; `aegis notifications` lists them")
    return found


def _channel(session: Session, tenant: str, name: str) -> Channel:
    channels = session.configured(tenant).channels
    if name not in channels:
        raise ConfigurationError(f"there is no channel `{name}`; {instead(name, sorted(channels))}")
    return channels[name]


def _place(channel: str, recipient: str) -> str:
    return f"{channel} {recipient}" if recipient else channel


def _trouble(delivery: Delivery, now_ns: int) -> str | None:
    if delivery.state == "sent" or not delivery.fault:
        return None
    then = f"; next try {_next(delivery, now_ns)}" if delivery.state == "waiting" else ""
    return f"{delivery.fault}{then}"


def _next(delivery: Delivery, now_ns: int) -> str:
    return "now" if delivery.next_ns <= now_ns else ago(delivery.next_ns, now_ns)


def _about(delivery: Delivery, now_ns: int) -> list[tuple[str, str]]:
    waits, sent_ns = delivery.state == "waiting", delivery.sent_ns
    lines = [
        ("to", _place(delivery.channel, delivery.recipient)),
        ("about", delivery.subject),
        ("made", f"{utc(delivery.made_ns)} ({ago(delivery.made_ns, now_ns)})"),
        ("tries", str(delivery.tries)),
        ("next try", f"{utc(delivery.next_ns)} ({_next(delivery, now_ns)})" if waits else ""),
        ("sent", "" if sent_ns is None else f"{utc(sent_ns)} ({ago(sent_ns, now_ns)})"),
        ("last error", delivery.fault),
    ]
    return [(name, text) for name, text in lines if text]


def _message(delivery: Delivery) -> list[tuple[str, str]]:
    message = delivery.message
    text = [("text", message.text)] if message.text else []
    links = [(link.label, link.url) for link in message.links]
    return [("title", message.title), *text, *message.facts, *links]


def _tried_words(tried: Tried) -> Text:
    place = _place(tried.target.channel, tried.target.recipient)
    if isinstance(tried.outcome, NotSent):
        return Text.assemble((place, STRONG), ": ", ("not sent", WARNING), f": {tried.outcome.fault}")
    return Text.assemble((place, STRONG), ": ", ("sent", GOOD), f", as {tried.delivery}")


def _tried_record(tried: Tried) -> dict[str, object]:
    fault = tried.outcome.fault if isinstance(tried.outcome, NotSent) else None
    recipient = tried.target.recipient or None
    return {"id": tried.delivery, "recipient": recipient, "sent": fault is None, "error": fault}


def delivery_record(delivery: Delivery, at: Callable[[int], str] = utc) -> dict[str, object]:
    """A delivery as programs read it; `at` writes instants."""
    message = delivery.message
    return {
        "id": delivery.id,
        "tenant": delivery.tenant,
        "kind": delivery.kind,
        "subject": delivery.subject,
        "channel": delivery.channel,
        "recipient": delivery.recipient or None,
        "state": delivery.state,
        "tries": delivery.tries,
        "made": at(delivery.made_ns),
        "next_try": at(delivery.next_ns) if delivery.state == "waiting" else None,
        "sent": None if delivery.sent_ns is None else at(delivery.sent_ns),
        "last_error": delivery.fault or None,
        "message": {
            "title": message.title,
            "text": message.text,
            "facts": dict(message.facts),
            "links": {link.label: link.url for link in message.links},
        },
    }
