#!/usr/bin/python3
"""Goodput of one large transfer across a slow and lossy link: our TCP beside Linux's.

    tcp_goodput.py --build build-test                          ours and Linux, an hour and a half
    tcp_goodput.py --build build-test --jobs 9                 nine transfers at a time
    tcp_goodput.py --build build-test --loss 1 --seeds 1 2 3   only that loss, in percent
    tcp_goodput.py --build build-test --servers ours newreno linux

A client in one network namespace reads a value with GET from a server in another; between them is
tests/bench/link_relay.c, with its rate, delay, queue and, by the seed, loss both ways. The client is
the same kernel each time. `linux` is redis-server over the kernel's TCP with CUBIC, `ours` nicached
over AF_PACKET on the same TAP interface, `newreno` the same with tcp-congestion-control newreno;
`reno` is redis-server with the kernel's NewReno: what is left of a difference when the window's law is the same.
Needs root. The servers take turns with each seed, `--jobs` transfers run at a time, and the rate is
one that a busy machine can keep up with, so that the figures are the protocol's, not the machine's.
"""
import argparse
import concurrent.futures
import itertools
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

CLIENT, SERVER, PORT = "198.18.0.1", "198.18.0.2", 6379
PYTHON = "/usr/bin/python3"
READER = """
import socket, sys, time
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
connection = socket.create_connection((address, port), timeout=60)
connection.settimeout(300)
buffer = memoryview(bytearray(1 << 20))
connection.sendall(b"GET warm\\r\\n")
assert connection.recv(100) == b"$-1\\r\\n"
start = time.monotonic()
connection.sendall(b"GET big\\r\\n")
header = connection.recv(len(b"$%d\\r\\n" % size), socket.MSG_WAITALL)
assert header == b"$%d\\r\\n" % size, header
pattern, at = bytes(range(256)) * 4100, 0
while at < size:
    got = connection.recv_into(buffer, min(len(buffer), size - at))
    assert got > 0, "the connection ended"
    assert buffer[:got] == pattern[at % 256:at % 256 + got], f"wrong bytes after {at}"
    at += got
seconds = time.monotonic() - start
assert connection.recv(2, socket.MSG_WAITALL) == b"\\r\\n"
print(seconds)
"""
WRITER = """
import socket, sys
size = int(sys.argv[3])
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.sendall(b"*3\\r\\n$3\\r\\nSET\\r\\n$3\\r\\nbig\\r\\n$%d\\r\\n" % size)
block = bytes(range(256)) * 4096
for at in range(0, size, len(block)):
    connection.sendall(block[:size - at])
connection.sendall(b"\\r\\n")
assert connection.recv(100) == b"+OK\\r\\n"
"""
KERNELS = {"linux": "cubic", "reno": "reno"}  # server -> the kernel's congestion control
numbers = itertools.count(1)
number_lock = threading.Lock()


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more).stdout


class Bench:
    """Two namespaces and the link between them; everything goes with it."""

    def __init__(self, arguments, loss, seed):
        with number_lock:
            number = next(numbers)
        self.arguments = arguments
        self.names = [f"goodput-{os.getpid()}-{number}-{end}" for end in ("client", "server")]
        self.processes = []
        try:
            self.make_link(loss, seed)
        except Exception:
            self.close()
            raise

    def make_link(self, loss, seed):
        arguments = self.arguments
        for name in self.names:
            run("ip", "netns", "add", name)
            self.inside(name, "ip", "link", "set", "lo", "up")
        self.relay = subprocess.Popen(
            [str(word) for word in (
                arguments.build / "tests/bench/link_relay", "--left", self.names[0] + "/tap0",
                "--right", self.names[1] + "/tap0", "--rate", int(arguments.rate * 1e6),
                "--delay-us", int(arguments.delay * 1e3), "--queue-bytes", arguments.queue,
                "--loss-ppm", round(loss * 1e4), "--seed", seed)],
            stdout=subprocess.PIPE, text=True)
        self.processes.append(self.relay)
        assert self.relay.stdout.readline() == "ready\n"
        for name in self.names:
            self.inside(name, "sysctl", "-qw", "net.ipv6.conf.tap0.disable_ipv6=1")
            self.inside(name, "ip", "link", "set", "tap0", "mtu", "1500", "up")
        self.inside(self.names[0], "ip", "addr", "add", f"{CLIENT}/24", "dev", "tap0")

    @staticmethod
    def inside(name, *words, **more):
        return run("ip", "netns", "exec", name, *words, **more)

    def start(self, *words):
        log = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(["ip", "netns", "exec", self.names[1], *[str(word) for word in words]],
                                   stdout=log, stderr=log)
        self.processes.append(process)
        deadline = time.monotonic() + 60
        while "Ready to accept connections" not in (log.seek(0), log.read())[1]:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{words[0]} did not start: {(log.seek(0), log.read())[1]}")
            time.sleep(0.05)
        return log

    def start_linux(self, control):
        """Named by the route: the kernel's default may be another, and may not be changed here."""
        self.inside(self.names[1], "ip", "addr", "add", f"{SERVER}/32", "dev", "tap0")
        self.inside(self.names[1], "ip", "route", "add", "198.18.0.0/24", "dev", "tap0", "src", SERVER,
                    "congctl", control)
        self.start("redis-server", "--port", PORT, "--protected-mode", "no", "--save", "", "--bind",
                   SERVER, "127.0.0.1")

    def start_ours(self, control):
        words = [self.arguments.build / "control/nicached", "--port", PORT, "--memcache-port", 0,
                 "--maxmemory", "300mb", "--hugepages", "no", "--protected-mode", "no", "--tcp-congestion-control", control,
                 "--interface", "lo0", "socket", "127.0.0.1",
                 "--interface", "tap0", "af_packet", f"{SERVER}/24"]
        self.start(*words)

    def start_server(self, server):
        if server in KERNELS:
            self.start_linux(KERNELS[server])
        else:
            self.start_ours("cubic" if server == "ours" else server)

    def write(self, name, address):
        """Stores the value, from the namespace of that name."""
        self.inside(name, PYTHON, "-c", WRITER, address, PORT, self.arguments.bytes)

    def read(self, name, address):
        """Reads it and compares each byte; the seconds that it took."""
        return float(self.inside(name, PYTHON, "-c", READER, address, PORT, self.arguments.bytes))

    def resent(self, server):
        """Segments that the server sent again."""
        if server in KERNELS:
            if self.arguments.verbose:
                print(self.inside(self.names[1], "ss", "-tin"), self.inside(self.names[1], "nstat", "-s", "-a"), flush=True)
            rows = [line.split() for line in
                    self.inside(self.names[1], "cat", "/proc/net/snmp").splitlines()
                    if line.startswith("Tcp:")]
            return int(dict(zip(*rows))["RetransSegs"])
        reply = self.inside(self.names[1], "redis-cli", "-p", PORT, "INFO", "net")
        if self.arguments.verbose:
            print("".join(f"  {line}\n" for line in reply.splitlines()
                          if line.startswith("tcp_") and not line.endswith(":0")), flush=True)
        return int(next(line.split(":")[1] for line in reply.splitlines()
                        if line.startswith("tcp_retransmits:")))

    def close(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if self.processes and self.arguments.verbose:
            print("  " + self.relay.stdout.read().replace("\n", "; "), flush=True)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def transfer(arguments, server, loss, seed):
    """Megabits per second of the value, and segments sent again."""
    bench = Bench(arguments, loss, seed)
    try:
        bench.start_server(server)
        bench.write(bench.names[1], "127.0.0.1")
        before = bench.resent(server)
        seconds = bench.read(bench.names[0], SERVER)
        result = arguments.bytes * 8e-6 / seconds, bench.resent(server) - before
    finally:
        bench.close()
    if arguments.verbose:
        print(f"loss {loss} % seed {seed} {server}: {result[0]:.2f} Mbit/s, {result[1]} sent again",
              flush=True)
    return result


def print_table(arguments, results):
    servers = arguments.servers
    print(f"{arguments.bytes // 1000000} MB at {arguments.rate:g} Mbit/s, round trip "
          f"{2 * arguments.delay:g} ms, queue of {arguments.queue} bytes; medians of "
          f"{len(arguments.seeds)} seeds, Linux {os.uname().release.split('-')[0]}\n")
    print("| loss | " + " | ".join(f"{name}, Mbit/s (sent again)" for name in servers) +
          " | " + " | ".join(f"{name} / linux" for name in servers if name != "linux") + " |")
    print("|---" * (len(servers) * 2 - ("linux" in servers) + 1) + "|")
    for loss in arguments.loss:
        cells, speed = [f"{loss:g} %"], {}
        for name in servers:
            runs = [results[name, loss, seed] for seed in arguments.seeds]
            speed[name] = statistics.median(run[0] for run in runs)
            cells.append(f"{speed[name]:.1f} ({statistics.median(run[1] for run in runs):.0f})")
        if "linux" in servers:
            cells += [f"{speed[name] / speed['linux']:.2f}" for name in servers if name != "linux"]
        print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description="goodput of our TCP beside Linux's")
    parser.add_argument("--build", required=True, type=pathlib.Path, help="meson's build directory")
    parser.add_argument("--loss", nargs="+", type=float, default=[0, 0.1, 1, 3], help="percent")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--servers", nargs="+", default=["ours", "linux"],
                        choices=["ours", "newreno", *KERNELS])
    parser.add_argument("--bytes", type=int, default=100000000)
    parser.add_argument("--rate", type=float, default=50, help="Mbit/s")
    parser.add_argument("--delay", type=float, default=10, help="ms, each way")
    parser.add_argument("--queue", type=int, default=125000, help="bytes, each way")
    parser.add_argument("--jobs", type=int, default=1, help="transfers at a time")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("tcp_goodput.py makes network namespaces: it needs root")
    arguments.build = arguments.build.resolve()
    work = [(server, loss, seed) for loss in arguments.loss for seed in arguments.seeds
            for server in arguments.servers]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        results = dict(zip(work, pool.map(lambda one: transfer(arguments, *one), work)))
    print_table(arguments, results)


if __name__ == "__main__":
    main()
