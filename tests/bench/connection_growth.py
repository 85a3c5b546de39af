#!/usr/bin/python3
"""Connections from 10 to 100,000 on one worker: what each takes, and what many of them cost.

    connection_growth.py --server build-test/control/nicached --bench build-test/tests/bench/nicached-bench
                         [--connections 10,50,...] [--under-way 50,512] [--seconds 4] [--rounds 3] [--json]

For each number a server of its own is started with a memif, and warmed up with 50 connections, so that packet
buffers and pools are there. Then the generator opens the connections over the memif, by its own TCP. Shown are

    RSS          growth of the server's resident memory while the connections are open and (nearly) idle, for each
    INFO         connection_bytes of INFO loop for each: the records alone, as the server counts them
    packets      what the worker receives for each GET: a connection that is not asked again within 40 ms sends its
                 acknowledgment of the reply by itself
    cycles       the worker's busy cycles for each GET, all connections asking in turn (closed loop), in passes of up
                 to 50 us where a twentieth of the requests or more is in such
    of 50        throughput of a busy core against that with 50 connections and 50 requests under way, both taken on
                 the same server in turn

Under way are 50 requests, whatever the number of connections: more connections alone, not longer queues. And more,
as so many connections that are in use have: then bursts are full, and memory is asked for long before it is used.

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
UNDER_WAY = (50, 512)
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
        """Busy cycles of the worker, requests and packets so far: in all passes, and in those of more than 50 us."""
        stages = {name: int(value) for name, value in self.info("stages").items() if value.isdigit()}
        return tuple(stages[name] for name in
                     ("loop_busy_cycles", "loop_requests", "loop_packets", "loop_long_cycles", "loop_long_requests"))

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

    def __init__(self, bench, server, connections, seconds, under_way=BASE, more=()):
        self.server, self.connections = server, connections
        self.process = subprocess.Popen(
            ["taskset", "-c", "1", bench, "--interface", f"m0 {server.memif} {CLIENT}", "-h", "198.18.2.2", "-p",
             str(server.port), "-c", str(connections), "-P", "1", "-t", "get", "-r", str(KEYS), "-d", "64",
             "--in-flight", str(under_way), "--duration", str(seconds), "--hugepages", "no", "-q", *more],
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


def cycles(bench, server, connections, seconds, under_way=BASE):
    """Busy cycles and packets for each request."""
    with Load(bench, server, connections, seconds + 2, under_way):
        time.sleep(1)
        before = server.work()
        time.sleep(seconds)
        after = server.work()
        if server.connected() < connections:
            sys.exit("error: the run was over before it was measured: the machine is too busy")
    busy, requests, packets, long_busy, long_requests = (late - early for early, late in zip(before, after))
    packets /= max(1, requests)
    if requests - long_requests >= requests / 20:  # long passes may have been interrupted by others
        busy, requests = busy - long_busy, requests - long_requests
    return busy / max(1, requests), packets


def memory(bench, server, connections):
    before = server.resident(), int(server.info("loop")["connection_bytes"])
    with Load(bench, server, connections, 4, more=("--rate", "20")):
        time.sleep(1)
        after = server.resident(), int(server.info("loop")["connection_bytes"])
    return tuple((late - early) / connections for early, late in zip(before, after))


def throughput(arguments, server, connections, under_way):
    pairs = [(cycles(arguments.bench, server, BASE, arguments.seconds),
              cycles(arguments.bench, server, connections, arguments.seconds, under_way))
             for _ in range(arguments.rounds)]
    ratios = [base / many for (base, _), (many, _) in pairs]
    return {"under_way": under_way,
            "packets": round(statistics.median(packets for _, (_, packets) in pairs), 2),
            "cycles": round(statistics.median(many for _, (many, _) in pairs)),
            "cycles_50": round(statistics.median(base for (base, _), _ in pairs)),
            "of_50": round(statistics.median(ratios), 3),
            "of_50_spread": [round(min(ratios), 3), round(max(ratios), 3)]}


def measure(arguments, connections):
    """A row for each number of requests under way that so many connections can have."""
    with tempfile.TemporaryDirectory(prefix="nicached-growth-") as folder:
        server = Server(arguments.server, folder)
        try:
            preload(arguments.bench, server)
            cycles(arguments.bench, server, BASE, 2)
            resident, counted = memory(arguments.bench, server, connections)
            rows = [throughput(arguments, server, connections, under_way) for under_way in arguments.under_way
                    if under_way <= connections or under_way == arguments.under_way[0]]
        finally:
            server.stop()
    return [{"connections": connections, "rss_bytes": round(resident), "info_bytes": round(counted), **row}
            for row in rows]


def preload(bench, server):
    with Load(bench, server, BASE, 1, more=("--preload",)):
        pass


def print_table(rows):
    print("| connections | under way | RSS, bytes each | INFO, bytes each | packets a GET | busy cycles a GET | with 50 | "
          "throughput of 50's |")
    print("|---:|---:|---:|---:|---:|---:|---:|---|")
    for row in rows:
        print("| {connections} | {under_way} | {rss_bytes} | {info_bytes} | {packets} | {cycles} | {cycles_50} | "
              "{of_50} ({0} .. {1}) |".format(*row["of_50_spread"], **row))


def numbers(text):
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, metavar="BINARY", type=pathlib.Path, help="nicached")
    parser.add_argument("--bench", required=True, metavar="BINARY", type=pathlib.Path, help="nicached-bench")
    parser.add_argument("--connections", type=numbers, default=list(COUNTS), metavar="N,...")
    parser.add_argument("--under-way", type=numbers, default=list(UNDER_WAY), metavar="N,...", help="requests")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    parser.add_argument("--json", action="store_true", help="instead of a table")
    arguments = parser.parse_args()
    rows = [row for count in arguments.connections for row in measure(arguments, count)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
