"""One measurement: a generator asks a server for some seconds, and both are looked at from outside meanwhile.

The figures come from a window inside the run, when all connections are open and none is closed yet: requests as
the server counts them, over the time that it was busy. Before and after the run the server's own counter is
compared with what the generator says it did.
"""

import json
import pathlib
import re
import subprocess
import time
from dataclasses import dataclass, field

from processes import Process, Trouble, Wrong
from servers import Testpmd

WINDOW_BEGIN, WINDOW_END = 0.25, 0.9  # of the run
CONNECT_S = 30
LOST_MAX = 0.05   # of the datagrams; on a quiet machine there are none


@dataclass
class Sample:
    """What one measurement found; rates count keys where a request has many."""

    server: str
    rate: float                # by the generator's clock
    per_core_second: float     # requests over busy seconds, or CPU seconds on kernel sockets
    cycles: float = 0.0        # busy cycles per request
    busy: float = 0.0          # share of the window that the server's core was busy
    latency_us: dict = field(default_factory=dict)  # by percentile: "p50" ... "p99.99"
    bytes_a_second: float = 0.0
    stages: dict = field(default_factory=dict)     # cycles per request
    residence: dict = field(default_factory=dict)  # requests by bound in ns
    curve: list = field(default_factory=list)

    def at(self, percentile):
        return self.latency_us.get(percentile, 0.0)


def spawn(settings, words):
    return Process(pathlib.Path(words[0]).name, words, {settings.client_cpu}, settings.directory, stdout=subprocess.PIPE)


def run(settings, words, timeout_s):
    """A generator to its end: its document."""
    return finish(spawn(settings, words), timeout_s)


def finish(process, timeout_s):
    code, text = process.finish(timeout_s)
    if code == 3:
        fault = re.search(r'"first_fault": "([^"]*)"', text)
        raise Wrong(f"verification failed, the first wrong value: {fault[1] if fault else '?'}")
    if code != 0:
        raise Trouble(f"exit code {code}; {process.last_words()}")
    try:
        document = json.loads(text)
    except ValueError:
        raise Trouble(f"{process.name} printed no JSON; {process.last_words()}") from None
    return document["tests"][0] if "tests" in document else document


def check_replies(server, document, may_miss=False):
    for name in ("misses", "errors", "unanswered", "not_stored"):
        if document.get(name, 0) > 0 and not (may_miss and name == "misses"):
            first = document.get("first_error") or ""
            raise Wrong(f"{server.name}: {document[name]} {name} of {document['replies']} replies, but every key is "
                        f"there and every request is right {first}")
    if document.get("lost", 0) > document["replies"] * LOST_MAX:
        raise Trouble(f"{server.name}: {document['lost']} requests lost of {document['replies']}")


def check_counts(server, document, counted):
    """The server's own counter against the generator's."""
    done = document.get("sent", document["replies"])
    slack = max(2048, done // 200) if "sent" in document else max(20, done // 1000)
    if abs(counted - done) > slack:
        raise Trouble(f"{server.name} counted {counted} requests, the generator {done}: what is measured is not clear")


def _wait_for_requests(server, before, process, keys_a_get):
    deadline = time.monotonic() + CONNECT_S
    while process.is_running() and time.monotonic() < deadline:
        if server.snapshot(keys_a_get).requests > before.requests + 5:
            return
        time.sleep(0.02)


def _busy_seconds(begin, end):
    """Of the polling threads: cycles of passes with work, without the time that they had no CPU; and the CPU time of
    the process' other threads."""
    cycles = end.counters["loop_busy_cycles"] - begin.counters["loop_busy_cycles"]
    seconds, elapsed = cycles / end.counters["tsc_hz"], (end.time - begin.time) * end.workers
    waited = (end.worker_waited_s - begin.worker_waited_s) * min(1.0, seconds / elapsed)
    return max(seconds - waited, 1e-9) + end.helpers_cpu_s - begin.helpers_cpu_s


def _stages(begin, end, cycles_a_request):
    """Cycles per request of each stage: its share of the timed passes, of the whole. Passes of more than 50 us are
    left out, because most of them were interrupted, unless they took most of the requests."""
    gained = {name: count - begin.counters[name] for name, count in end.counters.items()}
    prefixes = ["stage_cycles_"]
    if 2 * gained["loop_long_requests"] > gained["loop_requests"]:
        prefixes.append("stage_long_cycles_")
    names = [name.removeprefix("stage_cycles_") for name in gained if name.startswith("stage_cycles_")]
    spent = {name: sum(gained[prefix + name] for prefix in prefixes) for name in names if name != "sleep"}
    total = sum(spent.values())
    return {name: cycles_a_request * cycles / total for name, cycles in spent.items()} if total else {}


def _residence(begin, end):
    """Requests by the upper bound of their class in ns; the last class has none."""
    counts = {}
    for name in end.counters:
        if match := re.fullmatch(r"loop_residence_(under|from)_(\d+)ns", name):
            bound = float(match[2]) if match[1] == "under" else float("inf")
            counts[bound] = end.counters[name] - begin.counters[name]
    return dict(sorted(counts.items()))


def measure(settings, server, words, over_sockets, keys_a_get=1, may_miss=False, timeout_s=60):
    """Runs a generator against one server, with the others paused, and returns its Sample. `may_miss`: not every key
    need be there."""
    server.resume()
    process = None
    try:
        before = server.snapshot(keys_a_get)
        process = spawn(settings, words)
        _wait_for_requests(server, before, process, keys_a_get)
        time.sleep(settings.seconds * WINDOW_BEGIN)
        begin = server.snapshot(keys_a_get)
        time.sleep(settings.seconds * (WINDOW_END - WINDOW_BEGIN))
        end = server.snapshot(keys_a_get)
        document = finish(process, settings.seconds + timeout_s)
        check_replies(server, document, may_miss)
        if not isinstance(server, Testpmd):
            check_counts(server, document, server.snapshot(keys_a_get).requests - before.requests)
    finally:
        if process is not None:
            process.end()
        server.pause()
    return _sample(server, document, begin, end, over_sockets, keys_a_get)


def _sample(server, document, begin, end, over_sockets, keys_a_get):
    requests, elapsed = end.requests - begin.requests, end.time - begin.time
    has_loop = "loop_busy_cycles" in end.counters
    seconds = end.cpu_s - begin.cpu_s if over_sockets or not has_loop else _busy_seconds(begin, end)
    if requests <= 0 or seconds <= 0:
        raise Trouble(f"{server.name} served nothing in the middle of the run")
    latency = document.get("latency_us", {})
    latency = latency.get("all", latency)
    rate = document.get("requests_per_second", document.get("replies_per_second"))
    received = document.get("bytes_received", document.get("bytes", 0))
    sample = Sample(server.name, rate * keys_a_get, requests * keys_a_get / seconds, busy=seconds / elapsed,
                    latency_us=latency, bytes_a_second=received / document["seconds_elapsed"], curve=document.get("curve_us", []))
    if has_loop:
        sample.cycles = seconds * end.counters["tsc_hz"] / requests
        sample.stages = _stages(begin, end, sample.cycles)
        sample.residence = _residence(begin, end)
    return sample
