"""OpenTelemetry's variables: what is sent by them, and what is told of those that can't be meant."""

from __future__ import annotations

import pytest

from aegis_gateway.configuration.telemetry import (
    NO_TELEMETRY,
    OtlpProtocol,
    TelemetrySettings,
    read_telemetry,
)
from aegis_gateway.domain.errors import ConfigurationError

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
HTTP: OtlpProtocol = "http/protobuf"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, NO_TELEMETRY),
        ({"OTEL_SERVICE_NAME": "gate"}, NO_TELEMETRY),
        (ENDPOINT, TelemetrySettings(traces=HTTP, metrics=HTTP)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, TelemetrySettings(traces=HTTP)),
        (ENDPOINT | {"OTEL_METRICS_EXPORTER": "none"}, TelemetrySettings(traces=HTTP)),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "True"}, NO_TELEMETRY),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m"}, TelemetrySettings(metrics=HTTP)),
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP},
            TelemetrySettings(traces=HTTP, metrics="grpc"),
        ),
    ],
)
def test_what_is_sent(variables: dict[str, str], expected: TelemetrySettings) -> None:
    """Off unless a receiver is named; each signal by its own variables, or else by those of all."""
    assert expected == read_telemetry(variables)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is `zipkin`"),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "write http/protobuf or grpc"),
    ],
)
def test_what_there_is_not_is_told(variables: dict[str, str], words: str) -> None:
    """An exporter or protocol that there is not stops the gateway from starting, by name."""
    with pytest.raises(ConfigurationError, match=words):
        read_telemetry(variables)


@pytest.mark.parametrize("headers", ["no-value-canary", 'a=b,c="canary"', "a=b;canary", "canary\x00=1"])
def test_headers_that_cant_be_read_are_not_quoted(headers: str) -> None:
    """What is wrong in headers is told by its place: their values are secrets."""
    with pytest.raises(
        ConfigurationError, match=r"entry \d of OTEL_EXPORTER_OTLP_HEADERS is no header"
    ) as told:
        read_telemetry(ENDPOINT | {"OTEL_EXPORTER_OTLP_HEADERS": headers})
    assert "canary" not in str(told.value)


def test_headers_with_spaces_and_signs_of_base64_pass() -> None:
    """What the exporters take is taken."""
    headers = "authorization=Basic YWJjOmRlZg==, x-scope=a%2Cb"
    assert read_telemetry(ENDPOINT | {"OTEL_EXPORTER_OTLP_HEADERS": headers})
