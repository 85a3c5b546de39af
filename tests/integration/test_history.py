"""What sixteen concurrent clients saw, explained by one order of their operations: tests/history.

First the checker itself: a right server passes, and each way of being wrong is found. Then nicached, on
one, two and four workers. The long form is `./test stress`.
"""

import subprocess
import sys

import pytest

from conftest import BINARY, PYTHON, ROOT, run

FOLDER = ROOT / "tests/history"
BUILD = BINARY.parents[1]
HISTORY = BUILD / "tests/history/history"
sys.path.insert(0, str(FOLDER))

from history import MODES  # noqa: E402
from wrong_server import FAULTS, FAULTS_OF_REFUSALS  # noqa: E402

OPERATIONS_OF_WRONG = 20000
LINEARIZABLE, VIOLATION = 0, 1
SKIPPED = "skipped, "
REFUSING = "refusing"
# Each fault; and where writes are refused too, those that could be taken for a refusal.
WRONG = [*sorted(FAULTS), *(f"{fault} {REFUSING}" for fault in
                            ("lost", "reordered", "stale", "torn-write", *FAULTS_OF_REFUSALS))]


@pytest.fixture
def server(tmp_path, request):
    """A server that is wrong as the parameter says; with REFUSING behind it one that refuses writes, too."""
    fault, *refusing = request.param.split()
    port_file = tmp_path / "port"
    process = subprocess.Popen([PYTHON, str(FOLDER / "wrong_server.py"), fault, str(port_file),
                                *(["--refuse-one-in", "10"] if refusing else [])])
    try:
        while not port_file.exists() or not port_file.read_text():
            assert process.poll() is None
        yield request.param, int(port_file.read_text())
    finally:
        process.kill()
        process.wait()


def run_history(server, seed, operations=OPERATIONS_OF_WRONG, *words):
    name, port = server
    refusals = ["--refusals"] if REFUSING in name else []
    return run(HISTORY, "--port", port, "--seed", seed, "--operations", operations, *refusals, *words,
               check=False)


@pytest.mark.parametrize("server", ["none", f"none {REFUSING}"], indirect=True)
def test_right_server_passes(server):
    done = run_history(server, seed=1)
    assert done.returncode == LINEARIZABLE, done.stdout


@pytest.mark.parametrize("server", ["none"], indirect=True)
def test_lonely_client_is_not_cut_off_too_late(server):
    """It has nothing under way whenever it could be cut off, until what is left in the end is counted."""
    done = run_history(server, 1, 200, "--clients", 1, "--groups", 1)
    assert done.returncode == LINEARIZABLE, done.stdout


@pytest.mark.parametrize("server", WRONG, indirect=True)
def test_wrong_server_is_found(server):
    """Each fault happens often; by chance one run may still see none of it, ten do not."""
    for seed in range(1, 11):
        done = run_history(server, seed)
        if done.returncode == VIOLATION:
            assert "violation" in done.stdout and f"seed {seed}" in done.stdout
            return
        assert done.returncode == LINEARIZABLE, done.stdout
    pytest.fail(f"{server[0]} was not found")


def run_driver(*words):
    done = run(PYTHON, FOLDER / "history.py", "--build", BUILD, *words, check=False, timeout=600)
    if SKIPPED in done.stdout:
        pytest.skip(done.stdout.split(SKIPPED, 1)[1].splitlines()[0])
    assert done.returncode == LINEARIZABLE, done.stdout


@pytest.mark.parametrize("mode", MODES)
def test_reference(mode):
    run_driver("--server", "redis", "--modes", mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_nicached(workers, mode):
    run_driver("--nicached", BINARY, "--workers", workers, "--modes", mode)


@pytest.mark.parametrize("mode", MODES)
def test_nicached_with_buckets(mode):
    run_driver("--nicached", BINARY, "--workers", 2, "--modes", mode, "--directive", "--store-index buckets")
