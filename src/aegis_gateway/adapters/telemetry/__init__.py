"""OpenTelemetry: spans and metrics of calls, sent by OTLP."""
