"""Whether spans and metrics are sent, and by which protocol: by OpenTelemetry's own variables.

Where to, with which headers, how often and how many are the exporters' settings, which they read themselves: nothing of
them is kept here, since headers are secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from aegis_gateway.domain.errors import ConfigurationError

OtlpProtocol = Literal["http/protobuf", "grpc"]

_SIGNALS = ("", "_TRACES", "_METRICS")
# What the exporters don't take, they write into the log as it is.
_HEADER = re.compile(r"[!#$%&'*+.0-9A-Z^_`a-z|~-]+[ \t]*=[ !#-+\--:<-\[\]-~\t]*")


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """By which protocol spans and metrics are sent to an OTLP receiver; None: they aren't."""

    traces: OtlpProtocol | None = None
    metrics: OtlpProtocol | None = None

    def __bool__(self) -> bool:
        """Whether anything is sent."""
        return self.traces is not None or self.metrics is not None


NO_TELEMETRY = TelemetrySettings()


def read_telemetry(variables: Mapping[str, str]) -> TelemetrySettings:
    """What is sent by OTLP: nothing, unless `OTEL_EXPORTER_OTLP_ENDPOINT` or a signal's own endpoint names a receiver,
    or `OTEL_TRACES_EXPORTER` or `OTEL_METRICS_EXPORTER` is `otlp`; nothing with `OTEL_SDK_DISABLED`.

    Raises:
        ConfigurationError: an exporter or a protocol is named that there is not, or headers can't be read.
    """
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return NO_TELEMETRY
    found = TelemetrySettings(traces=_otlp(variables, "TRACES"), metrics=_otlp(variables, "METRICS"))
    if found:
        for signal in _SIGNALS:
            _check_headers(variables, f"OTEL_EXPORTER_OTLP{signal}_HEADERS")
    return found


def _otlp(variables: Mapping[str, str], signal: str) -> OtlpProtocol | None:
    name = f"OTEL_{signal}_EXPORTER"
    exporter = variables.get(name, "").strip()
    if exporter not in ("", "otlp", "none"):
        raise ConfigurationError(f"{name} is `{exporter}`; write otlp or none")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if exporter == "none" or not (exporter or any(map(variables.get, endpoints))):
        return None
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        match variables.get(name, "").strip():
            case "":
                continue
            case "grpc":
                return "grpc"
            case "http/protobuf":
                return "http/protobuf"
            case other:
                raise ConfigurationError(f"{name} is `{other}`; write http/protobuf or grpc")
    return "http/protobuf"


def _check_headers(variables: Mapping[str, str], name: str) -> None:
    for number, header in enumerate(variables.get(name, "").split(","), start=1):
        if header.strip() and _HEADER.fullmatch(header.strip()) is None:
            raise ConfigurationError(
                f"entry {number} of {name} is no header; write name=value, encoded as in a URL, with commas between"
            )
