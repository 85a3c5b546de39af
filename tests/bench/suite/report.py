"""The report: one Markdown page with a row for each goal, the figures behind it as JSON, and the plots."""

import datetime
import json
import pathlib
import re
import statistics
from dataclasses import dataclass, field

import charts
from goals import GOALS, verdict

TOP_STAGES = 4
CURVE_POINTS = 80
FOREIGN_CPUS_QUIET = 0.5


@dataclass
class Round:
    found: dict       # lines by row
    load: float       # CPUs that others used
    transfers_ns: list = field(default_factory=list)  # a cache line from CPU to CPU, before the round and after it

    def disturbance(self, load_limit):
        """Why it is not to be trusted, or nothing."""
        if self.load > load_limit:
            return f"others used {self.load:.2f} CPUs"
        return next((line.disturbed for lines in self.found.values() for line in lines if line.disturbed), "")


@dataclass
class Group:
    """The same line of all rounds."""

    lines: list

    @property
    def first(self):
        return self.lines[0]

    @property
    def name(self):
        return self.first.name

    def ratios(self):
        return [line.ratio for line in self.lines]

    def ratio(self):
        return statistics.median(self.ratios())

    def ours(self):
        return statistics.median(line.ours for line in self.lines)

    def peers(self):
        """A peer that was left out of some rounds counts in the others."""
        names = dict.fromkeys(name for line in self.lines for name in line.peers)
        return {name: statistics.median(line.peers[name] for line in self.lines if name in line.peers)
                for name in names}

    def samples(self):
        return [line.sample for line in self.lines if line.sample and line.sample.stages]


def group(lines):
    groups = {}
    for line in lines:
        groups.setdefault(line.name, []).append(line)
    return [Group(members) for members in groups.values()]


@dataclass
class RowResult:
    name: str
    groups: list = field(default_factory=list)
    rounds: int = 0
    disturbed: int = 0       # disturbed rounds that count, for want of better ones
    thrown_away: int = 0
    troubles: list = field(default_factory=list)
    loads: list = field(default_factory=list)
    transfers_ns: list = field(default_factory=list)  # of each round, before and after
    failure: str = ""
    waits: str = ""

    @property
    def goal(self):
        return GOALS[self.name]

    def worst(self):
        """The line that decides."""
        counted = [each for each in self.groups if each.first.counted]
        if not counted:
            return None
        return (max if self.goal.at_most else min)(counted, key=lambda each: each.ratio())

    def verdict(self):
        if self.waits:
            return "waits"
        if self.failure:
            return "not measured"
        return verdict(self.goal, self.worst().ratio())


# ---- figures as text -------------------------------------------------------------------------------


def figure(value):
    """Three significant digits."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{_digits(value / factor)}{unit}"
    return _digits(value)


def _digits(value):
    if value and abs(value) < 0.1:
        return f"{value:.2g}" if abs(value) >= 1e-4 else f"{value:.1e}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def spread(values):
    return f"{figure(min(values))} .. {figure(max(values))}"


def bound(goal, value):
    if value is None:
        return "-"
    return f"at most {value:g}" if goal.at_most else f"{value:g}"


# ---- where the cycles go ---------------------------------------------------------------------------


def stage_meanings(root):
    """From the server's own table of stages."""
    text = (pathlib.Path(root) / "dataplane/base/stages.def").read_text()
    return {name: meaning.removeprefix("of the batch: ")
            for name, meaning in re.findall(r'STAGE\(\w+, "(\w+)", "([^"]*)"\)', text)}


def where(samples, meanings):
    """One sentence, from INFO stages of these runs."""
    if not samples:
        return ""
    stages = {name: statistics.median(sample.stages[name] for sample in samples) for name in samples[0].stages}
    total = statistics.median(sample.cycles for sample in samples)
    top = sorted(stages.items(), key=lambda pair: -pair[1])[:TOP_STAGES]
    parts = [f"{cycles:.0f} ({100 * cycles / total:.0f} %) in `{name}` ({meanings.get(name, name)})"
             for name, cycles in top if cycles >= total / 100]
    return f"Of {total:.0f} cycles per request {', '.join(parts)}."


# ---- the page --------------------------------------------------------------------------------------


def overview(results):
    lines = ["| id | what | ours | peer | ratio, median (spread) | floor | stretch | verdict |",
             "|---|---|---|---|---|---|---|---|"]
    for row in results:
        goal = row.goal
        what = f"| {row.name} | {goal.what} "
        bars = f"| {bound(goal, goal.floor)} | {bound(goal, goal.stretch)} | {row.verdict()} |"
        if row.waits or row.failure:
            lines.append(f"{what}| - | {goal.against} | - {bars}")
            continue
        worst = row.worst()
        beside = {**worst.peers(), **worst.first.bars}
        peers = ", ".join(f"{name} {figure(value)}" for name, value in beside.items())
        lines.append(f"{what}| {figure(worst.ours())} {worst.first.unit} | {peers} | **{figure(worst.ratio())}** "
                     f"({spread(worst.ratios())}) {bars}")
    return lines


def row_table(row):
    peers = list(dict.fromkeys(name for each in row.groups for name in each.peers()))
    bars = list(dict.fromkeys(name for each in row.groups for name in each.first.bars))
    head = ["", "unit", "ours", *peers, *[f"{name} (published)" for name in bars], "ratio", "spread"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for each in row.groups:
        medians = each.peers()
        cells = [each.name, each.first.unit, f"{figure(each.ours())} ({spread([line.ours for line in each.lines])})"]
        for name in peers:
            values = [line.peers[name] for line in each.lines if name in line.peers]
            cells.append(f"{figure(medians[name])} ({spread(values)})" if values else "-")
        cells += [figure(each.first.bars[name]) if name in each.first.bars else "-" for name in bars]
        cells += [figure(each.ratio()), spread(each.ratios())]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def rounds_sentence(row):
    parts = [f"{row.rounds} rounds" if row.rounds != 1 else "1 round"]
    if row.disturbed:
        parts.append(f"**{row.disturbed} more that were disturbed, for want of quiet ones**")
    if row.thrown_away:
        parts.append(f"{row.thrown_away} disturbed and thrown away")
    if row.troubles:
        parts.append(f"{len(row.troubles)} failed ({row.troubles[-1][:200]})")
    transfers = [ns for pair in row.transfers_ns for ns in pair]
    lines = f"; a cache line from CPU to CPU {spread(transfers)} ns" if transfers else ""
    return f"{', '.join(parts)}; foreign load {spread(row.loads)} CPUs{lines}."


def more_figures(row):
    """What else is known of ours: the rate by the clock, how busy the core was."""
    words = []
    for each in row.groups:
        for name in each.first.spread:
            value = statistics.median(line.spread[name] for line in each.lines)
            text = f"{100 * value:.0f} %" if name == "core busy" else figure(value)
            words.append(f"{each.name}: {name} {text}")
    return f"Ours besides: {'; '.join(words)}." if words else ""


def row_section(row, meanings):
    lines = ["", f"### {row.name}: {row.goal.what}", ""]
    if row.waits:
        return [*lines, f"Against {row.goal.against}. Not measured: waits for {row.waits}."]
    if row.failure:
        return [*lines, f"**Not measured**: {row.failure}"]
    lines += [f"Against {row.goal.against}: {row.verdict()}. {rounds_sentence(row)}", "", *row_table(row), ""]
    for each in row.groups:
        sentence = where(each.samples(), meanings) or each.lines[-1].note
        if sentence:
            lines.append(f"- {each.name}: {sentence}")
    more = more_figures(row)
    return lines + ["", more] if more else lines


METHOD = """
Made by `./test bench` ([benchmarking](../benchmarking.md#the-suite)); do not edit. The figures behind it are in
[report.json](report.json); [limits](limits.md) says what stands between us and the aims that are not met.

## How it was measured

- The server has CPU {server}, the generator CPU {client}, and beside it nicached's threads that are no workers. Within a round ours and the peers' figures are taken in turn,
  the other servers stopped (SIGSTOP) meanwhile; a ratio is of figures of the same round. Shown are medians over the
  rounds and, as spread, smallest .. largest. A round during which others used more than {limit:g} CPUs, or testpmd
  moved by more than 25 %, does not count.
- *Busy core second* (nicached over memif): the cycles of passes that found work (`INFO stages`), less the time that
  the worker waited for a CPU, plus the CPU time of the process' other threads. testpmd: the cycles of bursts that were
  not empty, by its `--record-core-cycles`, corrected in the same way. *CPU second* (kernel sockets): user and system
  time of all threads of the process.
- Requests are counted by the server, in a window inside the run, and compared with the generator's count over all of
  it. Before it is measured, each server has passed `nicached-bench --verify`; every key is there, a miss fails the row.
- *A cache line from CPU to CPU*: what it takes for one way, before and after each round (`line_transfer`). Some hosts run the two CPUs
  near each other or far apart, for seconds or minutes at a time, and memif's copies then take as much more as a line does.
- {keys} keys of 16 B with values of 64 B where a row says nothing else, uniformly drawn; {seconds:g} s for each
  measurement.
- A figure "(published)" was not measured here: PERFORMANCE.md has it from its author or from a machine like this one; a budget is the design's.
  Where a line has one, the ratio is to the best of all its peers, published ones too.
"""


def warnings(settings, results):
    """What a reader must know before the first figure."""
    lines = []
    if settings.quick:
        lines += ["", "**A quick run, to see that the suite works: its figures mean nothing.**"]
    busy = [row.name for row in results if row.loads and max(row.loads) > FOREIGN_CPUS_QUIET]
    if busy:
        lines += ["", "**Others used the machine while these rows were measured, and their figures are not to be "
                  f"relied on: {', '.join(busy)}.**"]
    return lines


def machine_section(description):
    return ["", "## The machine", "", "| | |", "|---|---|", *[f"| {name} | {value} |" for name, value in
                                                             description.items()]]


def guard_section(root):
    recorded = json.loads((pathlib.Path(root) / "tests/guard/instructions.json").read_text())
    lines = ["", "## Instructions per request", "",
             "Counted by callgrind on fixed inputs (`./test guard`; [the first profile](first-profile.md) says what "
             "they are and where they go).", "", "| build | case | instructions |", "|---|---|---|"]
    for build, cases in recorded.items():
        lines += [f"| {build} | `{case}` | {count:.0f} |" for case, count in sorted(cases.items())]
    return lines


def plots_section(plots):
    return ["", "## Plots", "", *[f"![{title}]({name})" for name, title in plots]] if plots else []


def page(root, description, settings, results, plots):
    meanings = stage_meanings(root)
    method = METHOD.format(server=settings.server_cpu, client=settings.client_cpu, limit=settings.load_limit,
                           keys=f"{settings.keys:,}", seconds=settings.seconds)
    lines = ["# Benchmark report", *warnings(settings, results), method.rstrip(), *machine_section(description), "",
             "## Goals", "", *overview(results), *plots_section(plots), "", "## Row by row"]
    for row in results:
        lines += row_section(row, meanings)
    return "\n".join([*lines, *guard_section(root)]) + "\n"


# ---- JSON ------------------------------------------------------------------------------------------


def _rounded(value):
    return float(f"{value:.5g}") if isinstance(value, float) else value


def line_document(line):
    document = {"ours": _rounded(line.ours), "peers": {name: _rounded(value) for name, value in line.peers.items()},
                "ratio": _rounded(line.ratio)}
    if line.spread:
        document["more"] = {name: _rounded(value) for name, value in line.spread.items()}
    if line.sample and line.sample.stages:
        document["cycles_per_request"] = round(line.sample.cycles)
        document["stages"] = {name: round(value, 1) for name, value in line.sample.stages.items()}
    if line.note:
        document["note"] = line.note
    return document


def row_document(row):
    return {"id": row.name, "what": row.goal.what, "against": row.goal.against, "floor": row.goal.floor,
            "stretch": row.goal.stretch, "at_most": row.goal.at_most, "verdict": row.verdict(), "waits": row.waits,
            "failure": row.failure, "rounds": row.rounds, "disturbed": row.disturbed, "thrown_away": row.thrown_away,
            "troubles": row.troubles, "foreign_load_cpus": [round(load, 3) for load in row.loads],
            "line_transfer_ns": row.transfers_ns,
            "lines": [{"name": each.name, "unit": each.first.unit, "counted": each.first.counted,
                       "bars": each.first.bars, "ratio": _rounded(each.ratio()),
                       "rounds": [line_document(line) for line in each.lines]} for each in row.groups]}


# ---- curves ----------------------------------------------------------------------------------------


def merged_curve(curves):
    """Percentile curve over the requests of all rounds: latency in us by quantile, thinned out."""
    counts = {}
    for curve in curves:
        seen = 0
        for latency, cumulated in curve:
            counts[latency] = counts.get(latency, 0) + cumulated - seen
            seen = cumulated
    total, seen, points, last = sum(counts.values()), 0, [], -1.0
    for latency, count in sorted(counts.items()):
        seen += count
        position = charts.percentile_position(min(seen / total, 1 - 0.5 / total))
        if position - last >= charts.PERCENTILE_RANGE / CURVE_POINTS:
            points.append((position, latency))
            last = position
    return points


def write_plots(folder, results):
    plots = []
    bars = [(f"{row.name} {each.name}", each) for row in results for each in row.groups
            if row.name != "values" and ("second" in each.first.unit or each.first.unit.endswith("/s"))]
    if bars:
        (folder / "throughput.svg").write_text(charts.throughput(bars))
        plots.append(("throughput.svg", "throughput"))
    curves = {each.name: {name: merged_curve([line.curves[name] for line in each.lines]) for name in each.first.curves}
              for row in results if row.name != "values" for each in row.groups if each.first.curves}
    if curves:
        (folder / "latency.svg").write_text(charts.latency(curves))
        plots.append(("latency.svg", "latency by percentile"))
    sizes = {}
    for row in results:
        for each in row.groups if row.name == "values" else []:
            for name in each.first.curves:
                points = [line.curves[name][0] for line in each.lines]
                sizes.setdefault(name, []).append((points[0][0], statistics.median(value for _, value in points)))
    if sizes:
        (folder / "values.svg").write_text(charts.sizes(sizes))
        plots.append(("values.svg", "bytes a second by size of value"))
    return plots


def write(folder, root, description, settings, results):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {"measured": datetime.date.today().isoformat(), **description}
    plots = write_plots(folder, results)
    (folder / "report.md").write_text(page(root, description, settings, results, plots))
    document = {"machine": description, "quick": settings.quick, "seconds": settings.seconds, "keys": settings.keys,
                "load_limit_cpus": settings.load_limit, "rows": [row_document(row) for row in results]}
    (folder / "report.json").write_text(json.dumps(document, indent=1) + "\n")
