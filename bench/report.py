"""The result as people read it (Markdown) and as programs do (JSON)."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from statistics import median

import msgspec

from bench.machine import Machine
from bench.rounds import DISTURBED, Row, first_event_p50, first_event_p99, p50, p99
from bench.truth import Truth

RELAY_SHARE_AIM = 0.60
ADDED_P99_AIM_US = 5_000
ADDED_P99_CEILING_US = 20_000
READY_AIM_S = 2.0
PER_SECOND_AIM = 7_000
PER_SECOND_2_AIM = 12_000
JUDGED_CALLERS = 32


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Aegis beside the relay under the same load: the medians of what each turn gave, and their range."""

    aegis: str
    callers: int
    stream: bool
    share: float
    share_range: tuple[float, float]
    added_p50_us: float
    added_p99_us: float
    added_p99_range_us: tuple[float, float]


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """The open loop: so many calls per second were offered to a gateway that can do `capacity`."""

    capacity: float
    offered: int
    admitted: float
    refused: float
    admitted_p50_us: int
    admitted_p99_us: int
    refused_p50_us: int
    refused_p99_us: int
    generator_late_us_p99: int
    held: int
    cpu_us: dict[str, float]
    others: float
    wrong: list[str]


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was aimed at, and what there is."""

    what: str
    aim: str
    measured: str
    is_met: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    on: date
    mode: str
    seconds: float
    repeated: int
    machine: Machine
    rows: list[Row]
    comparisons: list[Comparison]
    overload: Overload
    ready_s: list[float]
    truths: dict[str, Truth]

    @property
    def aims(self) -> list[Aim]:
        """What was aimed at, beside what there is."""
        plain = [each for each in self.comparisons if each.aegis == "Aegis" and not each.stream]
        judged = next(each for each in plain if each.callers == JUDGED_CALLERS)
        best = max(plain, key=lambda each: each.share)
        one, two = self._best("Aegis"), self._best("Aegis, 2 workers")
        ready = max(self.ready_s)
        return [
            Aim(
                what=f"share of the bare relay's throughput, {JUDGED_CALLERS} callers",
                aim=f"≥ {RELAY_SHARE_AIM:.0%}",
                measured=f"{judged.share:.0%} (at {best.callers}: {best.share:.0%})",
                is_met=judged.share >= RELAY_SHARE_AIM,
            ),
            Aim(
                what=f"added P99, {JUDGED_CALLERS} callers",
                aim=f"< {ADDED_P99_AIM_US / 1_000:g} ms",
                measured=_ms(judged.added_p99_us),
                is_met=judged.added_p99_us < ADDED_P99_AIM_US,
            ),
            Aim(
                what="ready after start, slowest",
                aim=f"< {READY_AIM_S:g} s",
                measured=f"{ready:.2f} s",
                is_met=ready < READY_AIM_S,
            ),
            Aim(
                what="calls per second, one worker",
                aim=f"≥ {PER_SECOND_AIM:,}",
                measured=f"{one:,.0f}",
                is_met=one >= PER_SECOND_AIM,
            ),
            Aim(
                what="calls per second, two workers",
                aim=f"≥ {PER_SECOND_2_AIM:,}",
                measured=f"{two:,.0f}",
                is_met=two >= PER_SECOND_2_AIM,
            ),
        ]

    @property
    def faults(self) -> list[str]:
        """What makes the run a failure: anything that is wrong, and the one promise about speed."""
        faults = [f"{_name(row)}: {words}" for row in self.rows for words in row.wrong]
        faults += [f"overload: {words}" for words in self.overload.wrong]
        faults += [
            f"{each.aegis}, {each.callers} callers: it adds {_ms(each.added_p99_us)} at P99, "
            f"and the ceiling is {ADDED_P99_CEILING_US / 1_000:g} ms"
            for each in self.comparisons
            if each.aegis == "Aegis"
            and not each.stream
            and each.callers == JUDGED_CALLERS
            and each.added_p99_us >= ADDED_P99_CEILING_US
        ]
        return faults

    def _best(self, target: str) -> float:
        return max(row.per_second for row in self.rows if row.target == target and not row.stream)


def compare(aegis: Row, relay: Row) -> Comparison:
    """Compare two rows turn by turn."""
    turns = [(ours.result, theirs.result) for ours, theirs in zip(aegis.rounds, relay.rounds, strict=True)]
    shares = [ours.per_second() / max(theirs.per_second(), 1) for ours, theirs in turns]
    added_p99 = [p99(ours) - p99(theirs) for ours, theirs in turns]
    return Comparison(
        aegis=aegis.target,
        callers=aegis.callers,
        stream=aegis.stream,
        share=median(shares),
        share_range=(min(shares), max(shares)),
        added_p50_us=median(p50(ours) - p50(theirs) for ours, theirs in turns),
        added_p99_us=median(added_p99),
        added_p99_range_us=(min(added_p99), max(added_p99)),
    )


def write(report: Report, folder: Path, label: str) -> Path:
    """Write both forms; the Markdown's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.on:%Y-%m-%d}-{label}.md"
    path.write_text(markdown(report))
    record = msgspec.to_builtins(report)
    record["aims"] = msgspec.to_builtins(report.aims)
    record["faults"] = report.faults
    json_text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    path.with_suffix(".json").write_bytes(json_text + b"\n")
    return path


def markdown(report: Report) -> str:
    """The report for people."""
    machine = report.machine
    libraries = ", ".join(f"{name} {number}" for name, number in machine.libraries.items())
    turns = max(len(row.rounds) for row in report.rows)
    best_pace_us = min(each.pace_us for row in report.rows for each in row.rounds)
    parts = [
        f"# Benchmark of {report.on:%Y-%m-%d} ({report.mode})",
        "",
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB; {machine.kernel}; data on "
        f"{machine.filesystem}, fdatasync of 4 KB {machine.fsync_p50_us}/{machine.fsync_p99_us} µs (P50/P99). "
        f"{machine.python}; {libraries}. Revision {machine.revision}. Took {report.seconds:.0f} s.",
        "",
        "Everything runs on these cores: load generator, provider, and what is measured. How to read it: "
        "[README](../README.md).",
        "",
        "## Aims",
        "",
        *_table(
            ["", "aim", "measured", ""],
            [[aim.what, aim.aim, aim.measured, "met" if aim.is_met else "**missed**"] for aim in report.aims],
        ),
        "",
        *_faults(report),
        "## Aegis beside the bare relay",
        "",
        *_table(
            ["", "callers", "share of its throughput", "added P50", "added P99"],
            [_comparison(each) for each in report.comparisons],
        ),
        "",
        "## Throughput and wait",
        "",
        f"Medians of {turns} turns; the slowest and the fastest beside them. CPU in µs per call. `others` is "
        "what processes that aren't part of this took of the machine meanwhile; `pace` is how long a fixed piece "
        "of work took just before, 1.00 being its best in this run. "
        f"Turns that were measured again because others took more than {DISTURBED:.0%}: {report.repeated}.",
        "",
        *_table(
            [
                *("", "callers", "answer", "calls/s", "range", "P50", "P99", "first event P50/P99"),
                *("worker or relay", "ledger", "provider", "generator", "others", "pace", ""),
            ],
            [_row(row, best_pace_us) for row in report.rows],
        ),
        "",
        *_overload(report.overload),
        "",
        "## Start",
        "",
        "From the start of the process to the first answer of `/readyz`, in seconds: "
        + ", ".join(f"{each:.2f}" for each in report.ready_s)
        + ".",
        "",
        "## Bill and ledger",
        "",
        *_table(
            ["", "provider's bill", "ledger", "calls", "entries", ""],
            [
                [
                    name,
                    f"${each.billed_nano_usd / 1e9:,.9f}",
                    f"${each.settled_nano_usd / 1e9:,.9f}",
                    f"{each.settled_calls:,}",
                    f"{each.entries:,}",
                    "; ".join(each.faults()) or "equal",
                ]
                for name, each in report.truths.items()
            ],
        ),
        "",
    ]
    return "\n".join(parts)


def _faults(report: Report) -> list[str]:
    if not report.faults:
        return []
    return ["**This run is a failure:**", "", *(f"- {words}" for words in report.faults), ""]


def _row(row: Row, best_pace_us: int) -> list[str]:
    low, high = row.range_per_second
    cpu = row.cpu_us()
    served = cpu.get("worker", cpu.get("relay"))
    first = f"{_ms(row.wait_us(first_event_p50))} / {_ms(row.wait_us(first_event_p99))}" if row.stream else ""
    return [
        f"{row.target}{', ' + row.note if row.note else ''}",
        f"{row.callers}",
        "stream" if row.stream else "whole",
        f"**{row.per_second:,.0f}**",
        f"{low:,.0f}–{high:,.0f}",
        _ms(row.wait_us(p50)),
        _ms(row.wait_us(p99)),
        first,
        "" if served is None else f"{served:.0f}",
        f"{cpu['ledger']:.0f}" if "ledger" in cpu else "",
        f"{cpu['provider']:.0f}",
        f"{cpu['generator']:.0f}",
        f"{row.others:.0%}",
        f"{row.pace_us / best_pace_us:.2f}",
        "**wrong**" if row.wrong else "",
    ]


def _comparison(each: Comparison) -> list[str]:
    low, high = each.share_range
    least, most = each.added_p99_range_us
    return [
        f"{each.aegis}, {'stream' if each.stream else 'whole'}",
        f"{each.callers}",
        f"**{each.share:.0%}** ({low:.0%}–{high:.0%})",
        _ms(each.added_p50_us),
        f"**{_ms(each.added_p99_us)}** ({_ms(least)}–{_ms(most)})",
    ]


def _overload(each: Overload) -> list[str]:
    cpu = ", ".join(f"{role} {used:.0f}" for role, used in each.cpu_us.items())
    return [
        "## Overload",
        "",
        f"Calls arrive by a fixed schedule, {each.offered / max(each.capacity, 1):.0%} of the {each.capacity:,.0f} "
        f"per second that one worker had just done. Waits count from when a call was due. The generator itself "
        f"was up to {_ms(each.generator_late_us_p99)} late (P99); {each.held:,} calls found no free connection. "
        f"CPU in µs per call: {cpu}; others {each.others:.0%}.",
        "",
        *_table(
            ["", "per second", "P50", "P99"],
            [
                ["offered", f"{each.offered:,}", "", ""],
                [
                    "admitted and answered",
                    f"**{each.admitted:,.0f}**",
                    _ms(each.admitted_p50_us),
                    _ms(each.admitted_p99_us),
                ],
                [
                    "refused with 503",
                    f"{each.refused:,.0f}",
                    _ms(each.refused_p50_us) if each.refused else "",
                    _ms(each.refused_p99_us) if each.refused else "",
                ],
            ],
        ),
        *(
            []
            if each.refused
            else ["", "Nothing was refused: the queue had not yet grown to the gateway's bound."]
        ),
    ]


def _name(row: Row) -> str:
    return f"{row.target}, {row.callers} callers, {'stream' if row.stream else 'whole'}"


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1_000:.2f} ms"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
