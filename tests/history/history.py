#!/usr/bin/env python3
"""Starts servers and runs `history` against them: concurrent clients, whose record one order must explain.

    history.py [--build DIRECTORY] [--workers 1,2,4] [--operations N] [--modes plain,eviction,growth] ...

For each number of workers and each mode a nicached of its own:
    plain      expiry, FLUSHDB, memcached clients on the same keys, connections moved and cut off
    full       little memory, and a filler that uses it up: writes are refused (no FLUSHDB here)
    eviction   the same with allkeys-lru (or --policy): keys vanish
    growth     a filler that makes the index grow and shrink all the time
`--server redis` runs the same against redis-server: what the checker itself is tested with.
What this build's configuration refuses (nicached --check) is skipped, and said so.
The exit code is 0 when everything that ran is linearizable, and something ran.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from free_ports import free_ports  # noqa: E402

MODES = ("plain", "full", "eviction", "growth")
# Of a sanitizer's build: libraries' leaks, and what TSan cannot see into.
SANITIZERS = {"TSAN_OPTIONS": f"halt_on_error=1:suppressions={ROOT}/tests/support/tsan.supp",
              "LSAN_OPTIONS": f"suppressions={ROOT}/tests/support/lsan.supp:print_suppressions=0"}
HISTORY_TIMEOUT_S = 1200
STACK_ADDRESS = "198.18.0.2"


def mode_directives(arguments, workers, mode):
    words = ["--workers", str(workers)]
    if mode in ("full", "eviction"):
        policy = "noeviction" if mode == "full" else arguments.policy
        words += ["--maxmemory", arguments.maxmemory, "--maxmemory-policy", policy]
    return words + [word for line in arguments.directive for word in line.split()]


def refusal(arguments, workers, mode):
    """Why nicached's configuration does not allow this one; None if it does."""
    if arguments.server == "redis":
        return None
    done = subprocess.run([arguments.nicached, "--check", *mode_directives(arguments, workers, mode)],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.strip() if done.returncode != 0 else None


class Server:
    """A server of the kind and mode, on ports of its own; `problem` after stop() says how it failed."""

    def __init__(self, arguments, workers, mode, directory):
        self.log_path = directory / f"{arguments.server}-{workers}-{mode}.log"
        self.namespace = None
        self.host, self.memcache_port = "127.0.0.1", None
        if arguments.server == "redis":
            self.ready, command = "Ready to accept", self.redis_command(arguments, mode)
        else:
            self.ready, command = "Ready to accept", self.nicached_command(arguments, workers, mode)
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(self.inside(command), stdout=self.log, stderr=self.log,
                                        env={**SANITIZERS, **os.environ})
        self.wait_until_ready()

    def redis_command(self, arguments, mode):
        self.port, = free_ports(1)
        words = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        if mode in ("full", "eviction"):
            words += ["--maxmemory", arguments.maxmemory, "--maxmemory-policy",
                      "noeviction" if mode == "full" else arguments.policy]
        return words

    def nicached_command(self, arguments, workers, mode):
        if arguments.transport == "tap":
            self.host, interface = STACK_ADDRESS, f"tap0 tap {STACK_ADDRESS}/24"
            self.namespace = f"history-{os.getpid()}-{workers}-{mode}"
            subprocess.run(["ip", "netns", "add", self.namespace], check=True)
            self.port, self.memcache_port = 6379, 11211
        else:
            interface = "lo0 socket 127.0.0.1"
            self.port, self.memcache_port = free_ports(2)
        return [str(arguments.nicached), "--interface", *interface.split(), "--port", str(self.port),
                "--memcache-port", str(self.memcache_port), "--protected-mode", "no", "--hugepages", "no",
                *mode_directives(arguments, workers, mode)]

    def inside(self, command):
        return command if self.namespace is None else ["ip", "netns", "exec", self.namespace, *command]

    def output(self):
        return self.log_path.read_text(errors="replace")

    def wait_until_ready(self, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while self.ready not in self.output():
            if self.process.poll() is not None or time.monotonic() > deadline:
                output = self.output()
                self.stop()
                raise RuntimeError(f"the server does not start:\n{output}")
            time.sleep(0.05)

    def stop(self):
        """Ends it; what was wrong with it, or None."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.log.close()
        if self.namespace is not None:
            subprocess.run(["ip", "netns", "del", self.namespace], check=False)
        output = self.output()
        troubles = [word for word in ("Sanitizer", "runtime error", "CHECK(") if word in output]
        return f"the server ended with {code}, {troubles}:\n{output[-6000:]}" if code or troubles else None


def history_command(arguments, server, mode, seed):
    words = [str(arguments.history), "--host", server.host, "--port", str(server.port),
             "--operations", str(arguments.operations), "--clients", str(arguments.clients),
             "--pipeline", str(arguments.pipeline), "--groups", str(arguments.groups),
             "--slack-ms", str(arguments.slack_ms), "--seed", str(seed)]
    if server.memcache_port is not None:
        words += ["--memcache-port", str(server.memcache_port)]
    if mode != "plain":
        words += ["--filler", str(arguments.filler)]
    if mode in ("full", "eviction"):
        words += ["--no-flush", "--refusals" if mode == "full" else "--eviction"]
    return server.inside(words)


def run_one(arguments, workers, mode, directory):
    """Whether this history is linearizable and the server ended well."""
    print(f"-- {arguments.server}, {workers} workers, {mode}", flush=True)
    server = Server(arguments, workers, mode, directory)
    with contextlib.ExitStack() as stack:
        problem = None

        def stop():
            nonlocal problem
            problem = server.stop()

        stack.callback(stop)
        done = subprocess.run(history_command(arguments, server, mode, arguments.seed),
                              timeout=HISTORY_TIMEOUT_S)
    if problem is not None:
        print(problem)
    return done.returncode == 0 and problem is None


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-test",
                        help="where `history` is built, and nicached unless --nicached says")
    parser.add_argument("--nicached", type=pathlib.Path, help="say, of build-tsan or build-asan")
    parser.add_argument("--server", choices=("nicached", "redis"), default="nicached")
    parser.add_argument("--workers", default="1,2,4", help="each of these (default %(default)s)")
    parser.add_argument("--modes", default=",".join(MODES), help="each of these (default %(default)s)")
    parser.add_argument("--transport", choices=("sockets", "tap"), default="sockets")
    parser.add_argument("--operations", type=int, default=30000, help="for each (default %(default)s)")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--filler", type=int, default=50000, help="keys (default %(default)s)")
    parser.add_argument("--maxmemory", default="8mb",
                        help="in modes full and eviction (default %(default)s)")
    parser.add_argument("--policy", default="allkeys-lru", help="in eviction mode (default %(default)s)")
    parser.add_argument("--directive", action="append", default=[], metavar="'--NAME VALUE'",
                        help="more for nicached")
    parser.add_argument("--slack-ms", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    arguments.history = arguments.build / "tests/history/history"
    arguments.nicached = arguments.nicached or arguments.build / "control/nicached"
    return arguments


def main():
    arguments = parse_arguments()
    ran, failed = 0, []
    for workers in ([1] if arguments.server == "redis" else map(int, arguments.workers.split(","))):
        for mode in arguments.modes.split(","):
            refused = refusal(arguments, workers, mode)
            if refused is not None:
                print(f"-- {workers} workers, {mode}: skipped, {refused}")
                continue
            with tempfile.TemporaryDirectory() as directory:
                ran += 1
                if not run_one(arguments, workers, mode, pathlib.Path(directory)):
                    failed.append(f"{workers} workers, {mode}, seed {arguments.seed}")
    for one in failed:
        print(f"failed: {one}")
    sys.exit(0 if ran > 0 and not failed else 1)


if __name__ == "__main__":
    main()
