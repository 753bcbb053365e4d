"""An installation of the example with people, worked on by the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from aegis_gateway.configuration.packs import write_pack
from aegis_gateway.entrypoints.cli.main import build


class Installation:
    """An installation, worked on by the command."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.conf = directory / "conf"
        self.tokens: dict[str, str] = {}
        if not self.conf.exists():
            write_pack(self.conf)

    def copy(self, directory: Path) -> Installation:
        """The same in a directory that isn't there yet, with its people and their tokens."""
        shutil.copytree(self.directory, directory)
        copied = Installation(directory)
        copied.tokens = dict(self.tokens)
        return copied

    def aegis(self, *arguments: str, who: str = "", code: int = 0) -> tuple[str, str]:
        """Run a command as somebody; what it prints on stdout and on stderr."""
        environment: dict[str, str | None] = {
            "AEGIS_STORE": f"sqlite:{self.directory / 'aegis.db'}",
            "AEGIS_ACTOR": "os-user",
            "AEGIS_TOKEN": self.tokens[who] if who else None,
            "COLUMNS": "180",
        }
        done = CliRunner().invoke(build(), list(arguments), env=environment, catch_exceptions=False)
        assert code == done.exit_code, done.output
        return done.stdout, done.stderr

    def json(self, *arguments: str, who: str = "", code: int = 0) -> Any:
        """What a command prints for programs."""
        return json.loads(self.aegis(*arguments, "--json", who=who, code=code)[0])

    def add(self, person: str, *options: str, by: str = "") -> None:
        """Register somebody, with a token."""
        self.aegis("people", "add", person, *options, who=by)
        self.tokens[person] = self.aegis("people", "token", "issue", person, who=by)[0].strip()

    def add_apart(self, person: str, *options: str, by: str) -> None:
        """Register somebody, with a token that nobody else has seen."""
        self.aegis("people", "add", person, *options, who=by)
        secret, told = self.aegis("people", "token", "new")
        request = told.split("--request ")[1].split("`")[0]
        self.aegis("people", "token", "issue", person, "--request", request, who=by)
        self.tokens[person] = secret.strip()

    def edit(self, right: str, other: str) -> None:
        """Change the configuration's file."""
        file = self.conf / "aegis.yaml"
        text = file.read_text()
        assert right in text
        file.write_text(text.replace(right, other, 1))

    def entries(self) -> list[dict[str, Any]]:
        """The record."""
        return [json.loads(line) for line in self.aegis("entries")[0].splitlines()]
