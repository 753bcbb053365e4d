"""`aegis people …`: who may change what, the tokens by which they show who they are, and who is away."""

from __future__ import annotations

import os
import re
import sys
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.application.people import IssuedToken, OwnToken
from aegis_gateway.domain.keys import key_hint, new_key, token_digest
from aegis_gateway.domain.people import (
    ALL_TENANTS,
    PERMISSION_WORDS,
    PERMISSIONS,
    ROLES,
    Grant,
    Person,
    Role,
    Token,
)
from aegis_gateway.entrypoints.cli import absences, options
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption
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

_NEVER = "never"
_REQUEST = re.compile(r"([0-9a-f]{64})\.([0-9A-Za-z]{4})")
_STATE_STYLES = {"active": GOOD, "no token": WARNING, "suspended": "red"}

PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help="Their id.", show_default=False)]
RoleArgument = Annotated[
    str, typer.Argument(metavar="ROLE", help=f"One of {', '.join(ROLES)}.", show_default=False)
]
ScopeOption = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="ID",
        envvar="AEGIS_TENANT",
        help="Where; '*' is everywhere. May be left out where there is one tenant.",
        show_default=False,
    ),
]

app = typer.Typer(
    name="people",
    help="Who may change what: accounts, roles, tokens; who is away.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
token_app = typer.Typer(name="token", help="Their tokens: make, issue, revoke.", no_args_is_help=True)
app.add_typer(token_app)
app.command("away")(absences.away)
app.command("back")(absences.back)


@app.command("list")
def list_people(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the people, their roles and their tokens."""
    with opened(store) as session:
        people = session.reports.people()
        tokens = session.reports.tokens()
        now_ns = session.clock.now_ns()
    if as_json:
        print_json({"people": [_record(person, tokens, now_ns) for person in people]})
        return
    if not people:
        say("nobody is registered, so whoever can open the store may do everything;")
        say("`aegis people add ID --role admin --tenant '*'` registers the first person")
        return
    columns = [
        Column(name="person"),
        Column(name="name", flexible=True, optional=1),
        Column(name="state"),
        Column(name="roles", flexible=True),
        Column(name="tokens", flexible=True),
    ]
    rows = [_row(person, tokens, now_ns) for person in people]
    console = out()
    console.print(table(columns, rows, console))


@app.command("roles")
def roles(as_json: JsonOption = False) -> None:
    """Show what each role may do."""
    if as_json:
        print_json({"permissions": PERMISSIONS})
        return
    columns = [Column(name="may"), *(Column(name=role) for role in ROLES)]
    rows = [
        Row(
            cells=(
                PERMISSION_WORDS[permission],
                *(Text("✓ yes" if role in able else "", style=GOOD) for role in ROLES),
            )
        )
        for permission, able in PERMISSIONS.items()
    ]
    console = out()
    console.print(table(columns, rows, console))


@app.command("add")
def add(
    person: PersonArgument,
    name: Annotated[str, typer.Option(metavar="TEXT", help="Their full name.", show_default="their id")] = "",
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help=f"One of {', '.join(ROLES)}; may be repeated.", show_default=False),
    ] = None,
    tenant: ScopeOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give somebody an account.

    The first person is an admin of all tenants. From then on, commands that change anything need the token of a
    person with the right role, in `AEGIS_TOKEN` (itself, or as `file:PATH`).
    """
    with opened(store, writable=True) as session:
        is_first = not session.reports.people()
        scope = tenant or ALL_TENANTS if is_first else _scope(session, tenant)
        grants = [Grant(role=_role(each), tenant=scope) for each in role or ()]
        added = session.people().add(person, name or person, grants)
        _show(session, added, "is registered", as_json=as_json)
    if not as_json:
        say(f"give them a token: `aegis people token issue {added.id}`")


@app.command("grant")
def grant(
    person: PersonArgument,
    role: RoleArgument,
    tenant: ScopeOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give somebody a role in a tenant, or in all."""
    with opened(store, writable=True) as session:
        granted = Grant(role=_role(role), tenant=_scope(session, tenant))
        _show(session, session.people().grant(person, granted), f"is {granted}", as_json=as_json)


@app.command("withdraw")
def withdraw(
    person: PersonArgument,
    role: RoleArgument,
    tenant: ScopeOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a role from somebody. The last admin who can act stays one."""
    with opened(store, writable=True) as session:
        taken = Grant(role=_role(role), tenant=_scope(session, tenant))
        left = session.people().withdraw(person, taken)
        _show(session, left, f"is no longer {taken}", as_json=as_json)


@app.command("suspend")
def suspend(person: PersonArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Make all tokens of somebody worth nothing. People are never deleted; their names stay in the record."""
    with opened(store, writable=True) as session:
        _show(session, session.people().suspend(person), "is suspended", as_json=as_json)


@app.command("resume")
def resume(person: PersonArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """End a suspension."""
    with opened(store, writable=True) as session:
        _show(session, session.people().resume(person), "is no longer suspended", as_json=as_json)


@app.command("link")
def link(
    person: PersonArgument,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a link by which somebody signs in to the pages once, within ten minutes.

    Admins may do it for others, everybody for themselves. One that somebody else has made is not taken for its
    person's word against theirs.
    """
    with opened(store, writable=True) as session:
        issued = session.people().issue_link(person)
        url = f"{session.settings.pages_url}/sign-in?link={issued.secret}"
    if as_json:
        print_json({"person": person, "url": url, "expires": utc(issued.link.expires_ns)})
        return
    sys.stdout.write(url + "\n")
    sys.stdout.flush()
    say(Text("it works once, for ten minutes; whoever has it is taken for them", style=WARNING))


@token_app.command("new")
def new_token() -> None:
    """Make a token for yourself, which nobody else sees; its request is for `aegis people token issue`."""
    secret = new_key(os.urandom, "person")
    sys.stdout.write(secret + "\n")
    sys.stdout.flush()
    say("keep it; it is not a token until an admin, or you by another token of yours, registers its request:")
    say(f"`aegis people token issue YOU --request {token_digest(secret)}.{secret[-4:]}`")


@token_app.command("issue")
def issue_token(
    person: PersonArgument,
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long it is valid: 12h, 90d, or never.")
    ] = "90d",
    request: Annotated[
        str | None,
        typer.Option(
            metavar="REQUEST",
            help="Of a token that they made themselves with `aegis people token new`, which you don't see.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token for a person; it is printed once, only its hash is kept.

    Admins may do it for others, everybody for themselves. A token that somebody else has seen is not taken for its
    person's word against theirs; one that is registered by `--request` is.
    """
    own = _own(request) if request is not None else None
    with opened(store, writable=True) as session:
        span_ns = None if expires == _NEVER else options.span_ns(expires)
        issued = session.people().issue_token(person, expires_in_ns=span_ns, own=own)
    _show_once(issued, as_json=as_json)


@token_app.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, `tok_…`.", show_default=False)],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token worth nothing."""
    if token.startswith("aegis_"):
        raise typer.BadParameter(
            "name a token by its id, `tok_…`, never by itself; `aegis people list` shows ids"
        )
    with opened(store, writable=True) as session:
        revoked = session.people().revoke_token(token)
        now_ns = session.clock.now_ns()
    if as_json:
        print_json(_token_record(revoked, now_ns))
        return
    out().print(Text.assemble("token ", (revoked.id, STRONG), f" of {revoked.person} is revoked"))


def _role(text: str) -> Role:
    for role in ROLES:
        if role == text:
            return role
    raise typer.BadParameter(f"there is no role `{text}`; {instead(text, list(ROLES))}")


def _scope(session: Session, tenant: str | None) -> str:
    return ALL_TENANTS if tenant == ALL_TENANTS else session.tenant(tenant)


def _own(request: str) -> OwnToken:
    found = _REQUEST.fullmatch(request)
    if found is None:
        raise typer.BadParameter(
            "this is no token's request; `aegis people token new` prints one", param_hint="--request"
        )
    return OwnToken(digest=found[1], hint=key_hint(f"aegis_person_{found[2]}"))


def _show(session: Session, person: Person, words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_record(person, session.reports.tokens(), session.clock.now_ns()))
        return
    out().print(Text.assemble((person.id, STRONG), f" {words}"))


def _show_once(issued: IssuedToken, *, as_json: bool) -> None:
    """Print a new token: alone on stdout, so that it can be piped to where it belongs."""
    token = issued.token
    if as_json:
        print_json({**_token_record(token, token.issued_ns), "person": token.person, "secret": issued.secret})
        return
    until = "" if token.expires_ns is None else f", valid until {utc(token.expires_ns)}"
    say(Text.assemble((token.id, STRONG), f" for {token.person}{until}"))
    if issued.secret is None:
        if token.seen_by:
            say(f"where two people are needed it counts as a word of {', '.join(token.seen_by)} as well")
        return
    say("")
    sys.stdout.write(issued.secret + "\n")
    sys.stdout.flush()
    say("")
    say(Text("this is the only time that it is shown; only its hash is kept", style=WARNING))
    say("commands act in their name where AEGIS_TOKEN has it, or file:PATH of a file with it")


def _row(person: Person, tokens: list[Token], now_ns: int) -> Row:
    state = _state(person, tokens, now_ns)
    own = [
        f"{token.id} {_token_state(token, now_ns)}"
        for token in tokens
        if token.person == person.id and token.is_valid(now_ns)
    ]
    return Row(
        cells=(
            Text(person.id, style=STRONG),
            person.name,
            Text(state, style=_STATE_STYLES[state]),
            ", ".join(map(str, person.grants)) or Text("none", style=DIM),
            ", ".join(own) or Text("none", style=DIM),
        )
    )


def _state(person: Person, tokens: list[Token], now_ns: int) -> str:
    if person.suspended_ns is not None:
        return "suspended"
    has_token = any(token.person == person.id and token.is_valid(now_ns) for token in tokens)
    return "active" if has_token else "no token"


def _token_state(token: Token, now_ns: int) -> str:
    if token.revoked_ns is not None:
        return "revoked"
    if token.expires_ns is None:
        return "valid"
    return f"expires {ago(token.expires_ns, now_ns)}" if token.is_valid(now_ns) else "expired"


def _record(person: Person, tokens: list[Token], now_ns: int) -> dict[str, object]:
    return {
        "person": person.id,
        "name": person.name,
        "state": _state(person, tokens, now_ns),
        "roles": [{"role": each.role, "tenant": each.tenant} for each in person.grants],
        "added": utc(person.added_ns),
        "tokens": [_token_record(token, now_ns) for token in tokens if token.person == person.id],
    }


def _token_record(token: Token, now_ns: int) -> dict[str, object]:
    return {
        "token": token.id,
        "hint": token.hint,
        "state": "valid" if token.is_valid(now_ns) else _token_state(token, now_ns),
        "issued": utc(token.issued_ns),
        "expires": None if token.expires_ns is None else utc(token.expires_ns),
        "seen_by": list(token.seen_by),
    }
