"""The benchmark suite: its machinery in quick mode, what it makes of a server that is wrong or absent, and its
arithmetic. The figures themselves are nobody's business here."""

import json
import subprocess
import sys
import types
import xml.dom.minidom

import pytest

from conftest import BINARY, IS_ROOT, PYTHON, ROOT

SUITE = ROOT / "tests/bench/suite"
sys.path.insert(0, str(SUITE))

import goals  # noqa: E402
import measure  # noqa: E402
import processes  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import suite  # noqa: E402


def run_suite(output, *words, code=0, attempts=1):
    """Measuring may fail for want of a CPU where others have them all: one run of a few is enough."""
    for _ in range(attempts):
        done = subprocess.run([PYTHON, SUITE / "suite.py", "--quick", "--build", BINARY.parents[1], "--output", output,
                               *[str(word) for word in words]], text=True, timeout=120, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        if done.returncode == code:
            return done
    raise AssertionError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")


@pytest.mark.skipif(not IS_ROOT, reason="memif interfaces of the suite need root")
def test_quick_run_writes_a_report(tmp_path):
    done = run_suite(tmp_path, "sockets", "G8", attempts=3)
    assert "sockets 1/1 text GET -P 16" in done.stdout
    page = (tmp_path / "report.md").read_text()
    for text in ("its figures mean nothing", "## The machine", "| G8 |", "waits for MICA2", "### sockets:",
                 "cycles per request", "in `socket_output` (kernel sockets out: system calls)", "`udp_get`",
                 "throughput.svg"):
        assert text in page, text
    document = json.loads((tmp_path / "report.json").read_text())
    waiting, measured = document["rows"]
    assert waiting["id"] == "G8" and waiting["verdict"] == "waits"
    assert measured["verdict"] == "measured" and measured["rounds"] == 1
    assert all(1 < ns < 1e5 for ns in measured["line_transfer_ns"][0])
    ours = [line for line in measured["lines"] if "reads and answers" not in line["name"]]
    assert len(ours) == 4 and len(measured["lines"]) == 6
    for line in measured["lines"]:
        assert 1000 < line["rounds"][0]["ours"] < 1e8
        assert all(1000 < figure < 1e8 for figure in line["rounds"][0]["peers"].values())
    for line in ours:
        assert sum(line["rounds"][0]["stages"].values()) == pytest.approx(
            line["rounds"][0]["cycles_per_request"], rel=0.01)
    assert len(xml.dom.minidom.parse(str(tmp_path / "throughput.svg")).getElementsByTagName("rect")) == 1 + 2 * 6


def test_a_wrong_server_is_not_measured(tmp_path):
    server = tmp_path / "swapping-server"
    server.write_text(f"""#!{PYTHON}
import sys
sys.path.insert(0, {str(ROOT / "tests/integration")!r})
from test_bench import WrongServer
print("Ready to accept connections", flush=True)
WrongServer("swap", int(sys.argv[sys.argv.index("--port") + 1])).serve_forever()
""")
    server.chmod(0o755)
    done = run_suite(tmp_path / "out", "sockets", "--server", server, code=1)
    assert "failed: sockets: verification failed, the first wrong value: value of another key" in done.stderr
    assert "**Not measured**: verification failed" in (tmp_path / "out/report.md").read_text()


def test_an_absent_server_is_a_failed_row(tmp_path):
    done = run_suite(tmp_path, "sockets", "--server", "/bin/false", code=1)
    assert "failed: sockets: nicached ended at its start" in done.stderr


def test_unknown_rows_are_refused(tmp_path):
    assert "unknown row G99" in run_suite(tmp_path, "G99", code=2).stderr


# ---- arithmetic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row, ratio, expected", [
    ("G1", 0.3, "below"), ("G1", 0.35, "met floor"), ("G1", 0.6, "met stretch"), ("G13", 0.5, "below"),
    ("G13", 0.3, "met floor"), ("G13", 0.2, "met stretch"), ("sockets", 9, "measured")])
def test_verdict(row, ratio, expected):
    assert goals.verdict(goals.GOALS[row], ratio) == expected


def test_every_goal_is_run_or_says_what_it_waits_for():
    run = {name for experiment in rows.EXPERIMENTS for name in experiment.rows}
    assert run | set(goals.WAITS) == set(goals.GOALS) and not run & set(goals.WAITS)
    assert {f"G{number}" for number in range(1, 19)} < set(goals.GOALS)


def test_quantile_of_classes():
    counts = {500.0: 0, 1000.0: 50, 2000.0: 40, float("inf"): 10}
    assert rows.quantile_of_classes(counts, 0.5) == 1000
    assert rows.quantile_of_classes(counts, 0.7) == 1500
    assert rows.quantile_of_classes(counts, 0.99) == 2000


def test_counts_that_differ_are_not_believed():
    server = types.SimpleNamespace(name="server")
    measure.check_counts(server, {"replies": 100000}, 100050)
    with pytest.raises(processes.Trouble, match="counted 90000 requests, the generator 100000"):
        measure.check_counts(server, {"replies": 100000}, 90000)
    with pytest.raises(processes.Wrong, match="1 misses"):
        measure.check_replies(server, {"replies": 100000, "misses": 1})


class Load:
    """Foreign load as it was told, one for each round."""

    loads = []

    def cpus(self):
        return self.loads.pop(0)


def run_series(monkeypatch, loads, outcomes):
    """A series of three rounds: their ratios, or the trouble that they are in."""
    def one(_lab):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return [rows.Line("line", "requests/s", 10.0, {"peer": 10.0 / outcome}, outcome)]
    monkeypatch.setattr(Load, "loads", list(loads))
    monkeypatch.setattr(suite.machine, "ForeignLoad", Load)
    monkeypatch.setattr(suite.machine, "transfer_ns", lambda program, cpus: float(50 * cpus[1]))
    settings = types.SimpleNamespace(rounds=3, quick=False, load_limit=0.5, line_path="line", server_cpu=0, client_cpu=1)
    series = suite.Series(rows.Experiment(("G1",), one), settings)
    series.run(types.SimpleNamespace(drop_ended=lambda: None), suite.Clock(1))
    return series.result("G1")


def test_disturbed_rounds_are_repeated(monkeypatch):
    result = run_series(monkeypatch, [0.1, 0.9, 0.1, 0.1], [2.0, 100.0, 4.0, 3.0])
    assert result.groups[0].ratios() == [2, 4, 3] and result.groups[0].ratio() == 3
    assert (result.rounds, result.disturbed, result.thrown_away) == (3, 0, 1)
    assert result.transfers_ns == [[50, 50]] * 3 and "from CPU to CPU 50.0 .. 50.0 ns" in report.rounds_sentence(result)


def test_the_least_disturbed_rounds_count_when_there_is_no_quiet(monkeypatch):
    result = run_series(monkeypatch, [0.9, 0.1, 0.8, 0.7, 2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert result.groups[0].ratios() == [2, 4, 3]
    assert (result.rounds, result.disturbed, result.thrown_away) == (1, 2, 3)
    assert "2 more that were disturbed" in report.rounds_sentence(result)


def test_failed_rounds_are_repeated_and_wrong_ones_are_not(monkeypatch):
    trouble = processes.Trouble("slow")
    result = run_series(monkeypatch, [0, 0, 0], [trouble, 1.0, trouble, 1.0, 1.0])
    assert result.rounds == 3 and not result.failure and result.troubles == ["slow", "slow"]
    result = run_series(monkeypatch, [], [trouble] * 6)
    assert result.failure == "slow" and result.verdict() == "not measured"
    result = run_series(monkeypatch, [0], [1.0, processes.Wrong("lies")])
    assert result.failure == "lies" and not result.groups
