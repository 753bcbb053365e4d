"""What Datadog would be asked, and whether it can be: as far as that is known without it.

Names are those that the Agent's OpenMetrics check makes of a `/metrics` page with `deploy/datadog/openmetrics.yaml`;
the forms are those of its API for dashboards and monitors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

Kind = Literal["count", "gauge", "distribution"]
Metrics = dict[str, tuple[Kind, frozenset[str] | None]]
"""Metrics with their kind and tags; None where there is no sample to tell them from."""

_TYPE = re.compile(r"^# TYPE aegis_(\w+) (\w+)$", re.MULTILINE)
_QUERY = re.compile(
    r"(?P<how>avg|max|min|sum|p50|p99):(?P<name>[a-z0-9_.]+)\{(?P<where>[^}]+)\}(?: by \{(?P<by>[a-z_,]+)\})?"
    r"(?P<as>\.as_(?:count|rate)\(\))?(?:\.rollup\(sum, \d+\))?"
)
_MONITOR = re.compile(
    r"(?P<over>avg|max|min|sum|percentile)\(last_\d+[mh]\):(?P<query>.+) (?P<than>[<>]) (?P<number>\S+)"
)
_SERVICE_CHECK = re.compile(
    r'"aegis\.openmetrics\.health"\.over\("\*"\)\.by\("endpoint"\)\.last\(\d\)\.count_by_status\(\)'
)
_RESPONSES = {"timeseries": "timeseries", "query_value": "scalar", "toplist": "scalar"}
_AGGREGATORS = {"avg", "last", "max", "min", "sum", "percentile"}


def datadog_metrics(text: str) -> Metrics:
    """What the check makes of a page."""
    found: Metrics = {}
    for name, kind in _TYPE.findall(text):
        samples = re.findall(rf"^aegis_{name}(?:_count)?\{{(.*)\}} ", text, re.MULTILINE)
        tags = frozenset(re.findall(r'(\w+)="', samples[0])) if samples else None
        if kind == "histogram":
            found[f"aegis.{name}"] = ("distribution", tags)
            found |= {f"aegis.{name}.{each}": ("count", tags) for each in ("count", "sum")}
        elif kind == "counter":
            found[f"aegis.{name.removesuffix('_total')}.count"] = ("count", tags)
        else:
            found[f"aegis.{name}"] = ("gauge", tags)
    return found


def fault_of(text: str, known: Metrics) -> str:
    """What is wrong with a query, or with an expression of several; empty if nothing is."""
    queries = list(_QUERY.finditer(text))
    rest = _QUERY.sub("q", text)
    if not queries or not re.fullmatch(r"q|\d+ \* q / q", rest):
        return f"it can't be read: {rest}"
    for query in queries:
        if query["name"] not in known:
            return f"there is no {query['name']}"
        kind, tags = known[query["name"]]
        if (query["how"][0] == "p") != (kind == "distribution"):
            return f"{query['how']} of a {kind}"
        if (query["as"] is not None) != (kind == "count"):
            return f"{query['as']} of a {kind}"
        named = set(re.findall(r"(?:^|,)!?\$?(\w+)(?::| IN|(?=,|$))", query["where"]))
        named |= set((query["by"] or "").split(",")) - {""}
        if tags is not None and not named <= tags:
            return f"it has no {named - tags}"
    return ""


def query_metrics(text: str) -> list[str]:
    """The metrics that a query is about."""
    return [query["name"] for query in _QUERY.finditer(text)]


def dashboard_queries(dashboard: dict[str, Any]) -> Iterator[str]:
    """All queries of a dashboard, which is held against the form of one on the way."""
    assert {"title", "description", "layout_type", "reflow_type", "template_variables", "widgets"} == set(
        dashboard
    )
    assert ("ordered", "auto") == (dashboard["layout_type"], dashboard["reflow_type"])
    assert {"name", "prefix", "available_values", "defaults"} == set(dashboard["template_variables"][0])
    for group in dashboard["widgets"]:
        assert ("group", "ordered") == (group["definition"]["type"], group["definition"]["layout_type"])
        for widget in group["definition"]["widgets"]:
            yield from _widget_queries(widget["definition"])


def _widget_queries(widget: dict[str, Any]) -> Iterator[str]:
    for request in widget["requests"]:
        assert _RESPONSES[widget["type"]] == request["response_format"], widget["title"]
        names = [query["name"] for query in request["queries"]]
        for formula in request["formulas"]:
            assert set(names) == set(re.findall(r"\bq\d\b", formula["formula"])), widget["title"]
        for query in request["queries"]:
            assert "metrics" == query["data_source"]
            assert request["response_format"] == "timeseries" or query["aggregator"] in _AGGREGATORS
            yield query["query"]


def monitor_queries(monitors: list[dict[str, Any]]) -> Iterator[str]:
    """What the monitors ask, each held against the form of one on the way."""
    assert len(monitors) == len({monitor["name"] for monitor in monitors})
    for monitor in monitors:
        assert {"name", "type", "query", "message", "tags", "priority", "options"} == set(monitor)
        thresholds = monitor["options"]["thresholds"]
        if monitor["type"] == "service check":
            assert _SERVICE_CHECK.fullmatch(monitor["query"])
            continue
        assert "query alert" == monitor["type"]
        asked = _MONITOR.fullmatch(monitor["query"])
        assert asked is not None, monitor["query"]
        assert float(asked["number"]) == thresholds["critical"], "what is in the query is the threshold"
        if "warning" in thresholds:
            assert (thresholds["warning"] < thresholds["critical"]) == (asked["than"] == ">")
        grouped = set().union(*((query["by"] or "").split(",") for query in _QUERY.finditer(asked["query"])))
        assert set(re.findall(r"\{\{(\w+)\.name\}\}", monitor["message"])) <= grouped, monitor["name"]
        yield asked["query"]
