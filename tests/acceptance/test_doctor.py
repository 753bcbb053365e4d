"""`aegis doctor`: what runs against what is stored, and what both stand on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import apsw
import msgspec
import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PEPPER, Gateway, configuration, until


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess() as upstream:
        yield upstream


def examined(gateway: Gateway, code: int = 0, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the doctor says of a gateway's installation."""
    settings = gateway.settings
    told = CliRunner().invoke(
        build(),
        ["doctor", "--json"],
        env={
            "AEGIS_STORE": settings.store,
            "AEGIS_PEPPER": settings.pepper,
            "AEGIS_SIGNING_KEY": settings.signing_key,
            "AEGIS_TEST_PEPPER": PEPPER,
            **(more or {}),
        },
    )
    assert code == told.exit_code, told.output
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def wrong(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong: which check, and its words."""
    return [(each["name"], each["message"]) for each in found["checks"] if each["state"] == "wrong"]


def running(gateway: Gateway) -> set[int]:
    """The versions that its processes are known to run."""
    return {each["version"] for each in gateway.query("select version from gateway")}


def test_what_envoys_need(upstream: UpstreamProcess) -> None:
    """Off, over HTTP alone, by gRPC too; and a token that isn't there is wrong."""
    said = []
    with Gateway(configuration(upstream.base_url), start=False) as gateway:
        token = gateway.directory / "envoy.token"
        for more in ({}, {"AEGIS_ENVOY_TOKEN": f"file:{token}"}):
            said.append(envoys_of(examined(gateway, 3 if more else 0, more)))
        token.write_text("long-enough-0123456789abcdef")
        said += [
            envoys_of(examined(gateway, 0, {"AEGIS_ENVOY_TOKEN": f"file:{token}", **more}))
            for more in ({}, {"AEGIS_GRPC_PORT": "8701"})
        ]
    assert ["ok", "wrong", "ok", "ok"] == [state for state, _ in said]
    assert "no Envoys are served" in said[0][1]
    assert "over HTTP" in said[2][1]
    assert "at port 8701" in said[3][1]


def test_where_telemetry_goes(upstream: UpstreamProcess) -> None:
    """Nowhere, or by which protocol each signal is sent."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    by_grpc = {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"}
    with Gateway(configuration(upstream.base_url), start=False) as gateway:
        said = [said_of("telemetry", examined(gateway, 0, more)) for more in ({}, {**endpoint, **by_grpc})]
    assert ["ok", "ok"] == [state for state, _ in said]
    assert "no telemetry is sent" in said[0][1]
    assert "spans by http/protobuf and metrics by grpc" in said[1][1]


def envoys_of(found: dict[str, Any]) -> tuple[str, str]:
    """What is said of Envoys."""
    return said_of("envoys", found)


def said_of(name: str, found: dict[str, Any]) -> tuple[str, str]:
    """What one check says."""
    (check,) = (each for each in found["checks"] if each["name"] == name)
    return check["state"], check["message"]


@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
)
def test_a_sound_installation(kind: str, upstream: UpstreamProcess, request: pytest.FixtureRequest) -> None:
    """Each worker runs what is stored, before and after another version is applied; a stopped gateway is no fault."""
    store = request.getfixturevalue("postgres_url") if kind == "postgres" else None
    files = configuration(upstream.base_url)
    with Gateway(files, store=store, workers=2) as gateway:
        until(lambda: len(gateway.query("select 1 as one from gateway")) == 2, "the workers tell nothing")
        found = examined(gateway)
        assert (True, []) == (found["ok"], wrong(found))
        digests = {each["digest"] for each in found["gateways"]}
        gateway.apply({**files, "aegis.yaml": files["aegis.yaml"] + "# changed\n"})
        until(lambda: running(gateway) == {2}, "the new version is not taken over")
        found = examined(gateway)
        assert [] == wrong(found)
        assert digests.isdisjoint({each["digest"] for each in found["gateways"]})
        gateway.stop()
        found = examined(gateway)
        assert ([], []) == (found["gateways"], wrong(found))
        assert (
            "no gateway process runs"
            in {each["name"]: each["message"] for each in found["checks"]}["gateways"]
        )


def test_a_gateway_that_hangs(upstream: UpstreamProcess) -> None:
    """One that has not been heard of, that runs another version, or that knows why it does, is told of."""
    with Gateway(configuration(upstream.base_url), start=False) as gateway:
        connection = apsw.Connection(str(gateway.data / "aegis.db"))
        with gateway.store() as store:
            now_ns = store.clock_ns()
            config = store.state().config
        assert config is not None
        row = ("boot", "host/1", 1, None, config.bundle_digest, "", now_ns, now_ns - 60 * 10**9)
        connection.execute("insert into gateway values (?, ?, ?, ?, ?, ?, ?, ?)", row)
        assert [("gateways", "host/1 was not heard of for 60 s; is it stopped, or does it hang?")] == wrong(
            examined(gateway, code=3)
        )
        connection.execute("update gateway set seen_ns = ?, warning = 'it is forged'", (now_ns,))
        assert [("gateways", "host/1 it is forged")] == wrong(examined(gateway, code=3))
        later_ns = now_ns + 60 * 10**9
        connection.execute(
            "update gateway set warning = '', digest = 'other', version = 7, seen_ns = ?", (later_ns,)
        )
        assert [("gateways", "host/1 runs configuration 7 (other), not what is stored")] == wrong(
            examined(gateway, code=3)
        )
        connection.execute("update tenant_head set last_ns = last_ns + 3600000000000")
        found = dict(wrong(examined(gateway, code=3)))
        assert "the clock fell back" in found["clock"]


def test_what_an_installation_stands_on(upstream: UpstreamProcess) -> None:
    """A missing signing key and a store whose guards are gone are wrong, each by its name."""
    with Gateway(configuration(upstream.base_url), start=False) as gateway:
        connection = apsw.Connection(str(gateway.data / "aegis.db"))
        connection.execute("drop trigger entry_is_append_only_u")
        key = gateway.settings.signing_key
        gateway.settings = msgspec.structs.replace(gateway.settings, signing_key=f"{key}.lost")
        found = dict(wrong(examined(gateway, code=3)))
        assert {"store", "version", "signing key"} == found.keys()
        assert "append_only is without entry_is_append_only_u" in found["store"]
