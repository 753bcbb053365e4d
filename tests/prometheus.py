"""A real Prometheus for tests: the one that `make test` unpacks, or one that is installed.

Where there is none the tests say so and are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateways import HOST, take_port, until

_UNPACKED = Path(__file__).parent.parent / ".venv" / "prometheus" / "usr" / "bin"


def program(name: str) -> str:
    """Where one of Prometheus's programs is: `prometheus` or `promtool`."""
    unpacked = _UNPACKED / name
    found = str(unpacked) if unpacked.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"there is no `{name}` here: `make test` unpacks Debian's; or install it")
    return found


def check_metrics(text: str) -> str:
    """What `promtool check metrics` finds fault with: nothing, if all is well."""
    done = subprocess.run(  # the program just found
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
    )
    return done.stdout + done.stderr


def check_rules(file: Path) -> str:
    """What `promtool check rules` says of a file."""
    done = subprocess.run(  # the program just found
        [program("promtool"), "check", "rules", str(file)], capture_output=True, text=True, timeout=30
    )
    return done.stdout + done.stderr


def firing(
    directory: Path, rules: Path, series: Mapping[str, str], alerts: Iterable[str], at: str
) -> dict[str, list[dict[str, str]]]:
    """Which alerts fire for made-up series, by which labels beside their severity, as `promtool test rules` says."""
    tests = {
        "rule_files": [str(rules)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                # That nothing fires is what can't be: what does is then told.
                "alert_rule_test": [
                    {"eval_time": at, "alertname": name, "exp_alerts": [{"exp_labels": {"none": "such"}}]}
                    for name in alerts
                ],
            }
        ],
    }
    file = directory / "tests.yml"
    file.write_text(json.dumps(tests))
    done = subprocess.run(  # the program just found
        [program("promtool"), "test", "rules", str(file)], capture_output=True, text=True, timeout=60
    )
    found: dict[str, list[dict[str, str]]] = {}
    for said in re.findall(r"got:\[(.*?)\n\s*\]\s*(?:\n|$)", done.stdout + done.stderr, re.DOTALL):
        for labels in re.findall(r"Labels:\{(.*?)\}", said):
            pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            pairs.pop("severity")
            found.setdefault(pairs.pop("alertname"), []).append(pairs)
    return found


class Prometheus:
    """A server that scrapes."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an expression comes to now: labels and value of each series."""
        told = self._ask(f"query?{urllib.parse.urlencode({'query': expression})}")
        return [(each["metric"], float(each["value"][1])) for each in told["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """All rules with how they were last evaluated."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v1/{what}", timeout=10) as answer:  # our own
            told: dict[str, Any] = json.load(answer)
        assert "success" == told["status"], told
        found: dict[str, Any] = told["data"]
        return found


@contextmanager
def prometheus(
    directory: Path, target: str, token: str | None = None, rules: str = ""
) -> Iterator[Prometheus]:
    """A server that scrapes a target every second, and has scraped it once."""
    guard = take_port()
    port = guard.getsockname()[1]
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "aegis", "static_configs": [{"targets": [target]}]}],
    }
    if token is not None:
        config["scrape_configs"][0]["authorization"] = {"credentials": token}
    if rules:
        (directory / "rules.yml").write_text(rules)
        config["rule_files"] = ["rules.yml"]
    (directory / "prometheus.yml").write_text(json.dumps(config))
    command = [
        program("prometheus"),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]
    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # the program just found
    server = Prometheus(f"http://{HOST}:{port}")
    try:
        until(lambda: _is_scraped(server), "Prometheus has not scraped", wait_s=30)
        yield server
    finally:
        process.terminate()
        process.wait(20)
        guard.close()


def _is_scraped(server: Prometheus) -> bool:
    try:
        return [value for _, value in server.query("up")] == [1.0]
    except OSError:
        return False
