"""`aegis entries`: the record itself, byte for byte."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from aegis_gateway.entrypoints.cli.options import StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import say
from aegis_gateway.entrypoints.cli.session import opened

_PAGE = 1_000


def entries(
    since_seq: Annotated[int, typer.Option(min=0, metavar="N", help="Only entries after this place.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Changes nothing: entries are JSON.")] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
) -> None:
    """Print a tenant's record: its entries in order, one per line, byte for byte as they are kept.

    An entry is canonical JSON (RFC 8785), with amounts as strings of whole nano-USD.
    """
    del as_json
    with opened(store) as session:
        name = session.tenant(tenant)
        sequence, stdout = since_seq, sys.stdout.buffer
        while page := session.reports.entries(name, sequence, _PAGE):
            stdout.writelines(entry.body + b"\n" for entry in page)
            sequence = page[-1].sequence
        stdout.flush()
    if sequence == since_seq:
        say(
            f"no entries after {since_seq}"
            if since_seq
            else "no entries yet; `aegis apply DIR` makes the first"
        )
