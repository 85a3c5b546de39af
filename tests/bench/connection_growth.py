#!/usr/bin/python3
"""Connections from 10 to 100,000 on one worker: what each takes, and what many of them cost.

    connection_growth.py --server build-test/control/nicached --bench build-test/tests/bench/nicached-bench
                         [--connections 10,50,...] [--seconds 4] [--rounds 3] [--json]

For each number a server of its own is started with a memif, and warmed up with 50 connections, so that packet
buffers and pools are there. Then the generator opens the connections over the memif, by its own TCP. Shown are

    RSS          growth of the server's resident memory while the connections are open and (nearly) idle, for each
    INFO         connection_bytes of INFO loop for each: the records alone, as the server counts them
    cycles       the worker's busy cycles for each GET, all connections asking in turn (closed loop), 50 requests
                 under way whatever the number of connections, in passes of up to 50 us where a twentieth of the
                 requests or more is in such
    of 50        throughput of a busy core against that with 50 connections, both taken on the same server in turn

The generator has addresses 198.18.2.1 and .11 to .16: one has 28,232 ports. Both programs together take two cores.
"""
import argparse
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

COUNTS = (10, 50, 100, 1000, 10000, 50000, 100000)
BASE = 50
UNDER_WAY = 50  # requests: more connections alone, not longer queues
KEYS = 100000
CLIENT = " ".join(["198.18.2.1/24"] + [f"198.18.2.{n}/24" for n in range(11, 17)] + ["client"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, binary, folder):
        self.folder, self.port = folder, free_port()
        self.memif = f"memif:{folder}/m0.sock"
        self.log = open(f"{folder}/server.log", "w")
        self.process = subprocess.Popen(
            [binary, "--port", str(self.port), "--memcache-port", "0", "--protected-mode", "no", "--maxclients",
             "200000", "--loglevel", "warning", "--hugepages", "no", "--interface", "lo0 socket 127.0.0.1",
             "--interface", f"m0 {self.memif} 198.18.2.2/24", "--workers", "1", "--worker-cpus", "0"],
            stdout=self.log, stderr=self.log)
        for _ in range(300):
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port))
                break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("error: nicached does not start: " + open(f"{folder}/server.log").read())
                time.sleep(0.1)
        self.file = self.socket.makefile("rb")

    def info(self, section):
        self.socket.sendall(b"INFO %s\r\n" % section.encode())
        text = self.file.read(int(self.file.readline()[1:]) + 2).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def resident(self):
        for line in open(f"/proc/{self.process.pid}/smaps_rollup"):
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no Rss")

    def work(self):
        """Busy cycles of the worker and requests so far: in all passes, and in those of more than 50 us."""
        stages = {name: int(value) for name, value in self.info("stages").items() if value.isdigit()}
        return tuple(stages[name] for name in
                     ("loop_busy_cycles", "loop_requests", "loop_long_cycles", "loop_long_requests"))

    def connected(self):
        return int(self.info("clients")["connected_clients"]) - 1

    def stop(self):
        self.file.close()
        self.socket.close()
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


class Load:
    """A run of nicached-bench; within the block all of its connections are open."""

    def __init__(self, bench, server, connections, seconds, more=()):
        self.server, self.connections = server, connections
        self.process = subprocess.Popen(
            ["taskset", "-c", "1", bench, "--interface", f"m0 {server.memif} {CLIENT}", "-h", "198.18.2.2", "-p",
             str(server.port), "-c", str(connections), "-P", "1", "-t", "get", "-r", str(KEYS), "-d", "64",
             "--in-flight", str(UNDER_WAY), "--duration", str(seconds), "--hugepages", "no", "-q", *more],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        open_before, since = 0, time.monotonic()
        while (now_open := self.server.connected()) < self.connections:
            if now_open > open_before:
                open_before, since = now_open, time.monotonic()
            if time.monotonic() - since > 30 or self.process.poll() is not None:
                self.process.kill()
                sys.exit(f"error: {now_open} of {self.connections} connections:\n" + self.process.communicate()[0])
            time.sleep(0.2)
        return self

    def __exit__(self, *_):
        output = self.process.communicate(timeout=180)[0]
        if self.process.returncode != 0:
            sys.exit("error: the generator failed:\n" + output)
        limit = time.monotonic() + 60
        while self.server.connected() > 0:
            if time.monotonic() > limit:
                sys.exit("error: connections stay open")
            time.sleep(0.05)


def cycles(bench, server, connections, seconds):
    with Load(bench, server, connections, seconds + 2):
        time.sleep(1)
        before = server.work()
        time.sleep(seconds)
        after = server.work()
    busy, requests, long_busy, long_requests = (late - early for early, late in zip(before, after))
    if requests - long_requests >= requests / 20:  # long passes may have been interrupted by others
        busy, requests = busy - long_busy, requests - long_requests
    return busy / max(1, requests)


def memory(bench, server, connections):
    before = server.resident(), int(server.info("loop")["connection_bytes"])
    with Load(bench, server, connections, 4, ("--rate", "20")):
        time.sleep(1)
        after = server.resident(), int(server.info("loop")["connection_bytes"])
    return tuple((late - early) / connections for early, late in zip(before, after))


def measure(arguments, connections):
    with tempfile.TemporaryDirectory(prefix="nicached-growth-") as folder:
        server = Server(arguments.server, folder)
        try:
            preload(arguments.bench, server)
            cycles(arguments.bench, server, BASE, 2)
            resident, counted = memory(arguments.bench, server, connections)
            pairs = [(cycles(arguments.bench, server, BASE, arguments.seconds),
                      cycles(arguments.bench, server, connections, arguments.seconds))
                     for _ in range(arguments.rounds)]
        finally:
            server.stop()
    ratios = [base / many for base, many in pairs]
    return {"connections": connections, "rss_bytes": round(resident), "info_bytes": round(counted),
            "cycles": round(statistics.median(many for _, many in pairs)),
            "cycles_50": round(statistics.median(base for base, _ in pairs)),
            "of_50": round(statistics.median(ratios), 3),
            "of_50_spread": [round(min(ratios), 3), round(max(ratios), 3)]}


def preload(bench, server):
    with Load(bench, server, BASE, 1, ("--preload",)):
        pass


def print_table(rows):
    print("| connections | RSS, bytes each | INFO, bytes each | busy cycles a GET | with 50 | throughput of 50's |")
    print("|---:|---:|---:|---:|---:|---|")
    for row in rows:
        print("| {connections} | {rss_bytes} | {info_bytes} | {cycles} | {cycles_50} | {of_50} ({0} .. {1}) |".format(
            *row["of_50_spread"], **row))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, metavar="BINARY", type=pathlib.Path, help="nicached")
    parser.add_argument("--bench", required=True, metavar="BINARY", type=pathlib.Path, help="nicached-bench")
    parser.add_argument("--connections", type=lambda text: [int(part) for part in text.split(",")],
                        default=list(COUNTS), metavar="N,...")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    parser.add_argument("--json", action="store_true", help="instead of a table")
    arguments = parser.parse_args()
    rows = [measure(arguments, count) for count in arguments.connections]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
