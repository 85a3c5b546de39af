#!/usr/bin/python3
"""Instructions per request on fixed inputs, counted by callgrind and compared with recorded figures.

    guard.py --build build-test            compare; fails when a case is off by more than 5 %
    guard.py --build build-test --record   write the figures of this build into instructions.json
    guard.py --build build-test --profile  after it, for each case, the functions that cost most

With STORE_INDEX=buckets in the environment the store has that index; the figures are of the other.

A case that has become faster fails as well: record it, or the next slowdown hides behind it. The
figures belong to a compiler, a build type and an allocator; one that has none is a failure too.

callgrind shows the program a processor without AVX-512. AVX2 and rep-string copies are masked
here, and DPDK is kept from its vector paths, so that the count is the same on every x86-64 machine
with the same libraries.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RECORDED = HERE / "instructions.json"
TOLERANCE = 0.05
TUNABLES = "glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load,-BMI2,-LZCNT,-MOVBE"
ENVIRONMENT = dict(os.environ, GLIBC_TUNABLES=TUNABLES)


def callgrind(out):
    """The command that runs a program under callgrind."""
    return ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--quiet",
            f"--callgrind-out-file={out}"]


def count(program, directory):
    """Runs the cases; returns the build's name and {case: (instructions, requests)}."""
    run = subprocess.run(callgrind(f"{directory}/callgrind.out") + [str(program)],
                         stdout=subprocess.PIPE, text=True, timeout=1800, env=ENVIRONMENT,
                         check=False)
    if run.returncode != 0:
        sys.exit(f"guard: the program failed with {run.returncode}\n{run.stdout}")
    build = re.search(r"^build (.*)$", run.stdout, re.M).group(1)
    requests = {name: int(n) for name, n in re.findall(r"^(\w+) (\d+) requests", run.stdout, re.M)}
    figures = {}
    for path in pathlib.Path(directory).glob("callgrind.out.*"):
        text = path.read_text(errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (\w+)$", text, re.M)
        if name:
            total = int(re.search(r"^(?:totals|summary): (\d+)", text, re.M).group(1))
            figures[name.group(1)] = (total, requests[name.group(1)])
    if set(figures) != set(requests):
        sys.exit(f"guard: cases without a count: {set(requests) - set(figures)}")
    return build, {name: figures[name] for name in requests}


def profile(program, cases, directory, lines=60):
    """Self cost by function, inlined code included. Each case in a process of its own: after its
    first dump callgrind no longer knows in which function it is."""
    for name, requests in cases.items():
        path = pathlib.Path(directory) / f"{name}.callgrind"
        subprocess.run(callgrind(path) + [str(program), name], stdout=subprocess.DEVNULL,
                       timeout=1800, env=ENVIRONMENT, check=True)
        listing = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100",
                                  f"{path}.1"],
                                 stdout=subprocess.PIPE, text=True, timeout=1800, check=True).stdout
        costs = {}
        for cost, function in re.findall(r"^ *([\d,]+) +\(.*?\) +\S*?:(\S+)", listing, re.M):
            function = function.split("'")[0].split("@")[0]
            costs[function] = costs.get(function, 0) + int(cost.replace(",", ""))
        print(f"\n{name}: instructions per request of each function")
        for function, cost in sorted(costs.items(), key=lambda item: -item[1])[:lines]:
            print(f"{cost / requests:>10.1f}  {function}")


def compare(figures, recorded):
    """Prints the table; returns the names that are off."""
    off = []
    print(f"{'case':<26}{'recorded':>12}{'now':>12}{'change':>10}")
    for name, now in figures.items():
        before = recorded.get(name)
        if before is None:
            print(f"{name:<26}{'-':>12}{now:>12.1f}{'new':>10}")
            off.append(name)
            continue
        change = now / before - 1
        wrong = abs(change) > TOLERANCE
        print(f"{name:<26}{before:>12.1f}{now:>12.1f}{change:>+10.1%}{'  <--' if wrong else ''}")
        if wrong:
            off.append(name)
    return off + [name for name in recorded if name not in figures]


def main():
    parser = argparse.ArgumentParser(description="instructions per request, by callgrind")
    parser.add_argument("--build", required=True, type=pathlib.Path, help="meson's build directory")
    parser.add_argument("--record", action="store_true", help="write instructions.json")
    parser.add_argument("--profile", action="store_true", help="list functions for each case")
    arguments = parser.parse_args()
    program = (arguments.build / "tests/guard/instruction_guard").resolve()
    if not program.exists():
        sys.exit(f"guard: {program} is not built: valgrind's headers were missing")
    with tempfile.TemporaryDirectory() as directory:
        build, counts = count(program, directory)
    figures = {name: round(total / requests, 1) for name, (total, requests) in counts.items()}

    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    print(f"instructions per request, {build}")
    off = compare(figures, recorded.get(build, {}))
    if arguments.profile:
        with tempfile.TemporaryDirectory() as directory:
            profile(program, {name: requests for name, (_, requests) in counts.items()}, directory)
    if arguments.record:
        recorded[build] = figures
        RECORDED.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
        print(f"recorded in {RECORDED.name}")
    elif off:
        sys.exit(f"guard: off by more than {TOLERANCE:.0%}, or not recorded: {', '.join(off)}\n"
                 "If that is meant: tests/guard/guard.py --record, and say why in the commit.")


if __name__ == "__main__":
    main()
