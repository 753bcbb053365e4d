"""Whoever watches the demo, once the story is over: an account, so that they can look at the pages and act there."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.people import People
from aegis_gateway.demo.stage import ACTOR, Stage
from aegis_gateway.domain.people import ALL_TENANTS, Grant

ID = "you"


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """How they come in: a link that works once, and a file with a token, by which commands act in their name."""

    link: str
    token_file: Path


def let_in(stage: Stage) -> Visitor:
    """Give whoever watches an account. From now on what changes anything needs their token."""
    people = _people(stage)
    people.add(ID, "You", [Grant(role="admin", tenant=ALL_TENANTS)])
    secret = people.issue_token(ID).secret or ""
    file = stage.directory / "token"
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")
    link = _people(stage, secret).issue_link(ID)
    return Visitor(link=f"{stage.url}/sign-in?link={link.secret}", token_file=file)


def _people(stage: Stage, token: str | None = None) -> People:
    caller = Caller(local_name=ACTOR, token=token)
    return People(stage.store, bootstrap.pepper(stage.settings), os.urandom, caller, has_four_eyes=False)
