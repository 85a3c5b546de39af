#!/usr/bin/python3
"""The benchmark suite: nicached beside what a user would pick instead, one row for each goal, one report.

  tests/bench/suite/suite.py [ROW ...]        rows by their id: G1 ... G18, budgets, sockets, latency, 'same load', af_xdp, values, index, eviction,
                                              connections, 'connection memory'
                                              (default: all)

Each row is run in rounds; within a round ours and the peers' figures are taken in turn, within seconds, on pinned
cores: the server on one, the generator on the other. What counts is the median of the rounds' ratios, with the
spread beside it. A round that others disturbed is thrown away and repeated. docs/benchmarking.md says how to read
the report.

Exit code: 0 when every row that can run was measured, 1 when one was not, 2 when the command line is wrong.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import machine
import report
from goals import GOALS, WAITS
from processes import Process, Trouble, Wrong, complain, end_all, raise_descriptor_limit, say
from rows import EXPERIMENTS, Laboratory

ROOT = pathlib.Path(__file__).resolve().parents[3]
EMPTY_LOOP_S = 10
HUGEPAGES_WANTED = 6 << 30   # three nicached with maxmemory 1gb take some 4 GiB, testpmd and the generators 1.8
ATTEMPTS_MORE = 3        # rounds that may fail or be disturbed, for each row, beyond those that count


class Settings:
    """What the measurements need to know; `directory` holds logs and sockets while the suite runs."""

    def __init__(self, options, directory):
        self.directory = pathlib.Path(directory)
        self.server_path = options.server or options.build / "control/nicached"
        self.bench_path = options.build / "tests/bench/nicached-bench"
        self.frames_path = options.build / "tests/bench/frame_load"
        self.least_path = options.build / "tests/bench/least_server"
        self.loop_path = options.build / "tests/bench/empty_loop"
        self.line_path = options.build / "tests/bench/line_transfer"
        self.store_path = options.build / "tests/unit/store/store_bench"
        self.eviction_path = options.build / "tests/unit/store/eviction_bench"
        self.guard_path = options.build / "tests/guard/instruction_guard"
        self.server_cpu, self.client_cpu = options.server_cpu, options.client_cpu
        self.rounds = 1 if options.quick else options.rounds
        self.seconds = 0.6 if options.quick else 2.0
        self.keys = 20000 if options.quick else 1000000
        self.value_sizes = (64, 16384) if options.quick else tuple(1 << bits for bits in range(4, 21, 2))
        self.evicting_bytes = (16 if options.quick else 64) << 20
        self.objects = 10000 if options.quick else 100000
        self.large_keys = 200 if options.quick else 8000
        self.many = 100 if options.quick else 1000
        self.crowd = 5000 if options.quick else 100000
        self.idle_samples, self.idle_seconds = (1, 1.0) if options.quick else (3, 10.0)
        self.load_limit = options.load_limit
        self.quick = options.quick
        free = machine.hugepages_free_bytes()
        self.hugepages = "yes" if options.hugepages == "auto" and free >= HUGEPAGES_WANTED else "no"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--build", default=ROOT / "build-bench", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, help="folder of the report (default docs/benchmarks for a full "
                        "run of all rows,\nelse bench-report in the build folder)")
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--quick", action="store_true", help="one short round: shows that everything works, measures "
                        "nothing")
    parser.add_argument("--load-limit", default=0.5, type=float, metavar="CPUS", help="foreign load that a round may "
                        "have (default 0.5 CPUs)")
    parser.add_argument("--time-limit", default=40, type=float, metavar="MINUTES", help="after it no round begins")
    parser.add_argument("--hugepages", choices=("auto", "no"), default="auto", help="auto: as root it reserves what is "
                        "missing of 6 GiB, and gives it back (not with --quick)")
    parser.add_argument("--server-cpu", default=0, type=int)
    parser.add_argument("--client-cpu", default=1, type=int)
    parser.add_argument("--nice", default=0, type=int, help="of servers and generators alike: -20 on a machine that "
                        "others use, who wait then")
    parser.add_argument("--server", type=pathlib.Path, help="another nicached")
    options = parser.parse_args()
    names = {name.lower(): name for name in GOALS}
    unknown = [word for word in options.rows if word.lower() not in names]
    if unknown or options.rounds < 1:
        parser.error(f"unknown row {unknown[0]}: rows are {', '.join(GOALS)}" if unknown else "--rounds from 1")
    options.rows = [names[word.lower()] for word in options.rows] or list(GOALS)
    if not options.output:
        whole = options.rows == list(GOALS) and not options.quick
        options.output = ROOT / "docs/benchmarks" if whole else options.build / "bench-report"
    return options


class Clock:
    """Since the start; after the limit no round begins."""

    def __init__(self, minutes):
        self.start, self.limit_s = time.monotonic(), minutes * 60

    def stamp(self):
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        return f"[{minutes:2}:{seconds:02}]"

    def is_over(self):
        return time.monotonic() - self.start > self.limit_s


def show(clock, number, rounds, result):
    for name, lines in result.found.items():
        for line in lines:
            peers = ", ".join(f"{peer} {report.figure(value)}" for peer, value in line.peers.items())
            say(f"{clock.stamp()} {name} {number}/{rounds} {line.name}: {report.figure(line.ours)} {line.unit}; "
                f"{peers}; ratio {line.ratio:.2f}; foreign load {result.load:.2f}")
    say(f"{clock.stamp()} a cache line from CPU to CPU: {result.transfers_ns[0]:.0f} ns before, "
        f"{result.transfers_ns[1]:.0f} ns after")


class Series:
    """The rounds of one experiment: those that count, and what became of the others."""

    def __init__(self, experiment, settings):
        self.experiment, self.settings = experiment, settings
        self.wanted = min(settings.rounds, experiment.rounds_max)
        self.attempts = self.wanted + ATTEMPTS_MORE
        self.rounds, self.disturbed, self.troubles = [], [], []
        self.used = []  # of the disturbed ones
        self.failure = ""

    def run(self, laboratory, clock):
        for attempt in range(self.attempts):
            if len(self.rounds) == self.wanted or self.failure or (clock.is_over() and attempt > 0):
                break
            self._run_round(laboratory, clock)
        # Better a disturbed round, marked as such, than none: the least disturbed ones fill up.
        self.disturbed.sort(key=lambda round_: round_.load)
        self.used = self.disturbed[:self.wanted - len(self.rounds)]
        if not self.rounds and not self.used and not self.failure:
            self.failure = self.troubles[-1] if self.troubles else "no time was left"
        if self.failure:
            complain(f"{clock.stamp()} {', '.join(self.experiment.rows)}: not measured: {self.failure}")

    def _run_round(self, laboratory, clock):
        name = ", ".join(self.experiment.rows)
        laboratory.drop_ended()
        load = machine.ForeignLoad()
        try:
            before = self._transfer_ns()
            found = self.experiment.run(laboratory)
            result = report.Round(found, load.cpus(), [before, self._transfer_ns()])
        except Wrong as wrong:
            self.failure = str(wrong)
            return
        except Trouble as trouble:
            self.troubles.append(str(trouble))
            say(f"{clock.stamp()} {name}: this round failed: {trouble}")
            return
        show(clock, len(self.rounds) + 1, self.wanted, result)
        why = result.disturbance(self.settings.load_limit)
        if why and not self.settings.quick:
            say(f"{clock.stamp()} {name}: this round does not count: {why}")
            self.disturbed.append(result)
        else:
            self.rounds.append(result)

    def _transfer_ns(self):
        return machine.transfer_ns(self.settings.line_path, (self.settings.server_cpu, self.settings.client_cpu))

    def result(self, name):
        rounds = [] if self.failure else self.rounds + self.used
        return report.RowResult(name, report.group([line for each in rounds for line in each.found[name]]),
                                rounds=len(self.rounds), disturbed=len(self.used),
                                thrown_away=len(self.disturbed) - len(self.used), troubles=self.troubles,
                                loads=[each.load for each in rounds],
                                transfers_ns=[each.transfers_ns for each in rounds], failure=self.failure)


def run_experiments(options, settings, clock):
    """The results, in the order of the goals."""
    laboratory = Laboratory(settings)
    results = {name: report.RowResult(name, waits=why) for name, why in WAITS.items()}
    try:
        for experiment in EXPERIMENTS:
            if not set(experiment.rows) & set(options.rows):
                continue
            series = Series(experiment, settings)
            series.run(laboratory, clock)
            results.update({name: series.result(name) for name in experiment.rows})
    finally:
        with contextlib.suppress(Trouble):
            laboratory.close()
    return [results[name] for name in GOALS if name in options.rows]


def check_programs(settings):
    for path in (settings.server_path, settings.bench_path, settings.frames_path, settings.least_path,
                 settings.loop_path, settings.line_path, settings.store_path, settings.eviction_path, settings.guard_path):
        if not path.exists():
            raise SystemExit(f"{path} is not there: ninja -C {settings.bench_path.parents[2]}")
    for name in ("redis-server", "memcached"):
        if not shutil.which(name):
            raise SystemExit(f"{name} is not installed: ./test install")
    if len(os.sched_getaffinity(0)) < 2 or settings.server_cpu == settings.client_cpu:
        raise SystemExit("two CPUs are needed: one for the server, one for the generator")


def stop(number, _frame):
    raise SystemExit(128 + number)


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    raise_descriptor_limit()
    Process.niceness = options.nice
    clock = Clock(options.time_limit)
    wanted = 0 if options.hugepages == "no" or options.quick else HUGEPAGES_WANTED
    with machine.hugepages(wanted), tempfile.TemporaryDirectory(prefix="nicached-suite-") as directory:
        settings = Settings(options, directory)
        check_programs(settings)
        os.environ["RUNTIME_DIRECTORY"] = directory  # where EAL makes folders, and does not always remove them
        description = machine.describe(ROOT, settings.hugepages == "yes")
        description |= machine.watch_cpus(settings.loop_path, EMPTY_LOOP_S, (settings.server_cpu, settings.client_cpu))
        try:
            results = run_experiments(options, settings, clock)
        finally:
            end_all()
    report.write(options.output, ROOT, description, settings, results)
    failed = [result for result in results if result.failure]
    say(f"{clock.stamp()} report: {options.output / 'report.md'}")
    for result in failed:
        complain(f"failed: {result.name}: {result.failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
