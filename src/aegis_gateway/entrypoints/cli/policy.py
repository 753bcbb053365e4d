"""`aegis policy`: the policies that hold, those written as rules among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.entrypoints.cli.configuration import checked
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    WARNING,
    Column,
    Row,
    out,
    print_json,
    say,
    table,
)
from aegis_gateway.entrypoints.cli.session import instead, opened

if TYPE_CHECKING:
    from aegis_gateway.bootstrap import PolicyOrigin

app = typer.Typer(
    name="policy",
    help="See the policies that hold, and the Cedar that rules become.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

FromOption = Annotated[
    Path | None,
    typer.Argument(
        metavar="[DIR]", help="A directory's policies; those in force if left out.", show_default=False
    ),
]


@app.command("list")
def list_policies(
    directory: FromOption = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a tenant's policies: effect, mode, whom and what each is about, and where it is written."""
    found = _found(directory, store, tenant)
    if as_json:
        print_json({"policies": [_record(each) for each in found]})
        return
    if not found:
        say("there are no policies, so every call is refused; write some in policies/, or `rules`")
        return
    columns = [
        Column(name="policy"),
        Column(name="effect"),
        Column(name=""),
        Column(name="who", flexible=True),
        Column(name="what", flexible=True),
        Column(name="when", flexible=True, optional=2),
        Column(name="written in", optional=1),
    ]
    rows = [
        Row(
            cells=(
                Text(each.id, style=STRONG),
                each.effect,
                Text("shadow", style=WARNING) if each.mode == "shadow" else "",
                each.who,
                each.what,
                each.when,
                f"{each.file}:{each.line}",
            )
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))


@app.command()
def show(
    policy: Annotated[
        str, typer.Argument(metavar="ID", help="The policy's or rule's id.", show_default=False)
    ],
    directory: FromOption = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one policy in Cedar, as it was written or as its rule became it."""
    found = {each.id: each for each in _found(directory, store, tenant)}
    if policy not in found:
        raise ConfigurationError(f"there is no policy `{policy}`; {instead(policy, sorted(found))}")
    one = found[policy]
    if as_json:
        print_json(_record(one))
        return
    console = out()
    written = "generated from the rule in" if one.is_rule else "written in"
    for name, value in (
        ("who", one.who),
        ("what", one.what),
        ("when", one.when),
        ("effect", one.effect),
        ("message", one.message),
        ("mode", one.mode),
        ("Cedar", f"{written} {one.file}:{one.line}"),
    ):
        if value:
            console.print(Text.assemble((f"{name:<8} ", DIM), value))
    console.print("")
    console.print(Text(one.cedar.rstrip("\n")))


def _found(directory: Path | None, store: str | None, tenant: str | None) -> list[PolicyOrigin]:
    from aegis_gateway import bootstrap

    if directory is not None:
        loaded = checked(directory).new
        tenants = sorted(loaded.registries)
        if tenant is None and len(tenants) == 1:
            tenant = tenants[0]
        if tenant not in loaded.registries:
            given = "name one with --tenant" if tenant is None else f"there is no tenant `{tenant}`"
            raise ConfigurationError(f"{given}; {instead(tenant or '', tenants)}")
        return bootstrap.policy_origins(loaded, tenant)
    with opened(store) as session:
        name = session.tenant(tenant)
        session.configured(name)
        return bootstrap.policy_origins(session.configuration, name)


def _record(one: PolicyOrigin) -> dict[str, object]:
    return {
        "policy": one.id,
        "effect": one.effect,
        "mode": one.mode,
        "who": one.who,
        "what": one.what,
        "when": one.when or None,
        "message": one.message,
        "is_rule": one.is_rule,
        "file": one.file,
        "line": one.line,
        "cedar": one.cedar,
    }
