"""Agents of a real gateway that spend, and people who work on its store by the command line."""

from __future__ import annotations

from typer.testing import CliRunner

from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PEPPER, Answer, Gateway, ask

PAY = "/connect/api/v1/payments"


def pay(gateway: Gateway, agent: str = "bot") -> Answer:
    """One payment of $0.25."""
    body = {"amount": 1, "currency": "USD", "beneficiary": "x"}
    return ask(gateway, "POST", PAY, body, key=gateway.key(agent))


def aegis(gateway: Gateway, *arguments: str, code: int = 0, token: str = "") -> str:
    """What the command line says, to whoever has the token."""
    settings = gateway.settings
    env = {
        "AEGIS_PEPPER": settings.pepper,
        "AEGIS_TEST_PEPPER": PEPPER,
        "AEGIS_SIGNING_KEY": settings.signing_key,
        "AEGIS_TOKEN": token,
        "COLUMNS": "200",
    }
    done = CliRunner().invoke(build(), [*arguments, "--store", settings.store], env=env)
    assert code == done.exit_code, done.output
    return done.output
