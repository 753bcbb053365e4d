"""A budget whose period is changed has its spending in the new window, and lets no cent more through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PEPPER, Files, Gateway, ask, configuration

pytestmark = pytest.mark.xdist_group("packs")

PAY = "/connect/api/v1/payments"


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def pay(gateway: Gateway) -> int:
    """One payment of $0.25; its status."""
    return ask(gateway, "POST", PAY, {"amount": 1, "currency": "USD", "beneficiary": "x"}).status


def files(upstream: UpstreamProcess, text: str) -> Files:
    """A configuration with one budget."""
    return configuration(upstream.base_url, budgets={"only": text})


def aegis(gateway: Gateway, tmp_path: Path, files: Files, *arguments: str) -> str:
    """Apply files by the command line; what it says."""
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    done = CliRunner().invoke(
        build(),
        [
            *arguments,
            *([str(tmp_path)] if arguments[0] == "apply" else []),
            "--store",
            gateway.settings.store,
        ],
        env={
            "AEGIS_TEST_PEPPER": PEPPER,
            "AEGIS_PEPPER": gateway.settings.pepper,
            "AEGIS_SIGNING_KEY": gateway.settings.signing_key,
        },
    )
    assert 0 == done.exit_code, done.output
    return done.output


def test_a_changed_period_frees_nothing(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """Three of four payments are made; then by whatever period it is counted one is left, and after it none."""
    with Gateway(files(upstream, "limit: 1.00, period: daily")) as gateway:
        assert [201, 201, 201] == [pay(gateway) for _ in range(3)]
        told = aegis(gateway, tmp_path, files(upstream, "limit: 1.00, period: monthly"), "apply", "--yes")
        assert "budget `only` has other windows" in told
        assert (0, 1_500_000_000) == gateway.standing("only")  # today's and this month's
        aegis(
            gateway, tmp_path, files(upstream, "limit: 1.00, period: rolling, length: 48h"), "apply", "--yes"
        )
        assert [201, 402] == [pay(gateway) for _ in range(2)]
        aegis(gateway, tmp_path, {}, "rollback", "--yes")
        assert 402 == pay(gateway)
        aegis(
            gateway, tmp_path, files(upstream, "limit: 1.25, period: yearly, per: [agent]"), "apply", "--yes"
        )
        assert [201, 402] == [pay(gateway) for _ in range(2)]
