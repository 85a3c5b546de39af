#!/usr/bin/env python3
"""Misses by eviction policy: ours in simulation, and three servers with the same memory and traces.

    tests/bench/eviction_compare.py BUILD-DIRECTORY [--write] [--all] [--objects N] [--requests N]

Runs build/tests/unit/store/eviction_bench (exact LRU and our policies, simulated time), then
nicached, redis-server and memcached over the loopback: a GET, and a SET where it misses. --write
puts the result into docs/benchmarks/eviction.md and eviction.svg; --all also runs the volatile
policies of the servers (every key then has a time to live, so they equal the others).
"""

import argparse
import collections
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRACES = ["zipf-0.99", "zipf-0.9-one-hit", "zipf-scan", "loop"]
CACHES = [0.01, 0.05, 0.1]
VALUE = b"v" * 3500
# What such an object takes in each of the three, to a few percent: the memory for a number of them.
OBJECT_BYTES = 3650
BATCH = 64
# memcached takes no less than 2 MiB. (Far below that all servers answer OOM: there is no room for a batch of requests beside
# the cache, and Redis counts its query buffer.)
CACHE_BYTES_MIN = 2 << 20
TTL_SECONDS = 100000
PORT = 24741
ALLKEYS = ["allkeys-lru", "allkeys-lfu", "allkeys-random"]
VOLATILE = ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"]


class Connection:
    def __init__(self, port):
        deadline = time.monotonic() + 60
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def send(self, parts):
        self.socket.sendall(b"".join(parts))

    def more(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError("the server has gone")
        self.buffer += data

    def line(self, at):
        while (end := self.buffer.find(b"\r\n", at)) < 0:
            self.more()
        return self.buffer[at:end], end + 2

    def skip(self, at, count):
        while len(self.buffer) < at + count:
            self.more()
        return at + count

    def drop(self, at):
        del self.buffer[:at]


class Redis(Connection):
    """RESP; also nicached."""

    def command(self, *words):
        self.send([b"*%d\r\n" % len(words)] +
                  [b"$%d\r\n%s\r\n" % (len(word), word) for word in words])
        line, at = self.line(0)
        if line.startswith(b"$") and line != b"$-1":
            size = int(line[1:])
            end = self.skip(at, size + 2)
            line = bytes(self.buffer[at:at + size])
            at = end
        self.drop(at)
        return bytes(line)

    def get(self, keys):
        self.send([b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key) for key in keys])
        missing, at = [], 0
        for key in keys:
            line, at = self.line(at)
            if line == b"$-1":
                missing.append(key)
            elif line == b"$%d" % len(VALUE):
                at = self.skip(at, len(VALUE) + 2)
            else:
                raise RuntimeError(bytes(line))
        self.drop(at)
        return missing

    def set(self, keys, ttl):
        tail = b"" if not ttl else b"$2\r\nEX\r\n$%d\r\n%d\r\n" % (len(str(ttl)), ttl)
        self.send([b"*%d\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n%s" %
                   (5 if ttl else 3, len(key), key, len(VALUE), VALUE, tail) for key in keys])
        self.expect(b"+OK", len(keys))

    def expect(self, text, count):
        at = 0
        for _ in range(count):
            line, at = self.line(at)
            if line != text:
                raise RuntimeError(bytes(line))
        self.drop(at)


class Memcached(Redis):
    def get(self, keys):
        self.send([b"get %s\r\n" % key for key in keys])
        missing, at = [], 0
        for key in keys:
            line, at = self.line(at)
            if line == b"END":
                missing.append(key)
                continue
            at = self.skip(at, len(VALUE) + 2)
            line, at = self.line(at)
            if line != b"END":
                raise RuntimeError(bytes(line))
        self.drop(at)
        return missing

    def set(self, keys, ttl):
        self.send([b"set %s 0 %d %d\r\n%s\r\n" % (key, ttl, len(VALUE), VALUE) for key in keys])
        self.expect(b"STORED", len(keys))


def drive(connection, trace, ttl):
    """The number of misses. A key that misses twice in one batch is stored once."""
    misses = 0
    for start in range(0, len(trace), BATCH):
        missing = connection.get(trace[start:start + BATCH])
        unique = list(dict.fromkeys(missing))
        misses += len(unique)
        if unique:
            connection.set(unique, ttl)
    return misses


def run_server(build, server, policy, memory, trace):
    ttl = TTL_SECONDS if policy.startswith("volatile") else 0
    if server == "memcached":
        command = ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(PORT), "-t", "1",
                   "-m", str(max(1, round(memory / (1 << 20))))]
    elif server == "redis":
        command = ["redis-server", "--port", str(PORT), "--bind", "127.0.0.1", "--save", "",
                   "--maxmemory-policy", policy]
    else:
        command = [str(build / "control/nicached"), "--bind", "127.0.0.1", "--port", str(PORT),
                   "--memcache-port", "0", "--hugepages", "no", "--maxmemory", str(memory),
                   "--maxmemory-policy", policy]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            connection = (Memcached if server == "memcached" else Redis)(PORT)
            if server == "redis":  # its own needs do not count
                empty = int(connection.command(b"INFO", b"memory").split(b"used_memory:")[1]
                            .split(b"\r\n")[0])
                connection.command(b"CONFIG", b"SET", b"maxmemory", b"%d" % (memory + empty))
            return drive(connection, trace, ttl) / len(trace)
        finally:
            process.terminate()
            process.wait(timeout=60)


def read_trace(bench, name, objects, requests):
    text = subprocess.run([bench, "--trace", name, str(objects), str(requests)], check=True,
                          stdout=subprocess.PIPE).stdout
    return [b"key:" + line for line in text.split()]


def run_ours(bench, objects, requests, *only):
    """{(trace, cache): {policy: miss ratio}}"""
    table = collections.defaultdict(dict)
    text = subprocess.run([bench, str(objects), str(requests), *only], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    for line in text.splitlines()[1:]:
        trace, cache, policy, ratio, _ = line.split(",")
        table[trace, float(cache)][policy] = float(ratio)
    return table


def run_servers(build, bench, objects, requests, more):
    table = collections.defaultdict(dict)
    runs = [("nicached", policy) for policy in [*ALLKEYS, "allkeys-s3fifo", *more]]
    runs += [("redis", policy) for policy in [*ALLKEYS, *more]] + [("memcached", "lru")]
    for name in TRACES:
        trace = read_trace(bench, name, objects, requests)
        for cache in CACHES:
            memory = int(objects * cache * OBJECT_BYTES)
            for server, policy in runs:
                ratio = run_server(build, server, policy, memory, trace)
                table[name, cache][f"{server} {policy}"] = ratio
                print(f"{name} {cache:.0%} {server} {policy}: {ratio:.4f}", file=sys.stderr)
    return table


def print_table(table, yardstick):
    names = list(next(iter(table.values())))
    lines = ["| policy | " + " | ".join(f"{name} {cache:.0%}" for name, cache in table) + " |",
             "|---|" + "---|" * len(table)]
    for name in names:
        cells = []
        for at, column in table.items():
            part = column[name] / yardstick[at]["exact LRU"]
            cells.append(f"{column[name]:.3f} ({part:.2f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


COLOURS = ["#2c3e50", "#1f6fb4", "#d1495b", "#8e44ad", "#3d9970", "#7fb2e5", "#e59aa3", "#c9a0dc",
           "#c77d0a"]


def plot(simulated, servers):
    """Bars: misses as a part of exact LRU's, for each trace at a cache of a tenth."""
    shown = [("exact LRU", simulated), ("allkeys-lru", simulated), ("allkeys-lfu", simulated),
             ("allkeys-random", simulated), ("allkeys-s3fifo", simulated)]
    if servers:
        shown += [("redis allkeys-lru", servers), ("redis allkeys-lfu", servers),
                  ("redis allkeys-random", servers), ("memcached lru", servers)]
    width, height, left, top, panel = 960, 420, 50, 60, 220
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'font-family="sans-serif" font-size="11">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           '<text x="50" y="24" font-size="15">Misses at a cache of 10 % of the objects, as a part '
           'of exact LRU\'s</text>']
    bottom, scale = height - 110, 200

    def y_of(value):
        return bottom - value * scale

    for tick in (0, 0.25, 0.5, 0.75, 1):
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y_of(tick)}" y2="{y_of(tick)}" '
                   f'stroke="#ddd"/><text x="{left - 30}" y="{y_of(tick) + 4}">{tick}</text>')
    for i, trace in enumerate(TRACES):
        base = simulated[trace, 0.1]["exact LRU"]
        for j, (policy, table) in enumerate(shown):
            value = table[trace, 0.1][policy] / base
            x = left + 12 + i * panel + j * 21
            out.append(f'<rect x="{x}" y="{y_of(value):.1f}" width="18" '
                       f'height="{value * scale:.1f}" fill="{COLOURS[j]}"/>')
        out.append(f'<text x="{left + 12 + i * panel}" y="{bottom + 18}">{trace}</text>')
    for j, (policy, table) in enumerate(shown):
        x, y = left + 12 + j % 3 * 290, bottom + 44 + j // 3 * 20
        label = policy if table is servers or policy == "exact LRU" else f"nicached {policy}"
        out.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{COLOURS[j]}"/>'
                   f'<text x="{x + 18}" y="{y}">{label}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def write_page(simulated, servers, arguments):
    page = ROOT / "docs/benchmarks/eviction.md"
    head, _, _ = page.read_text().partition("<!-- figures -->")
    body = (f"<!-- figures -->\n\n## Our policies in simulated time\n\n{arguments.objects} objects, "
            f"{arguments.requests} requests of each trace.\n\n"
            f"{print_table(simulated, simulated)}\n")
    if servers:
        body += (f"\n## Three servers with the same memory\n\n{arguments.objects} objects of "
                 f"{len(VALUE)} bytes, the first {arguments.server_requests} requests of each "
                 f"trace, at full speed over the loopback.\n\n"
                 f"{print_table(servers, arguments.yardstick)}\n")
    page.write_text(head + body)
    (ROOT / "docs/benchmarks/eviction.svg").write_text(plot(simulated, servers))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--objects", type=int, default=100000)
    parser.add_argument("--requests", type=int, default=1000000)
    parser.add_argument("--server-requests", type=int, default=400000)
    arguments = parser.parse_args()
    if arguments.objects * CACHES[0] * OBJECT_BYTES < CACHE_BYTES_MIN:
        parser.error(f"--objects: a cache of {CACHES[0]:.0%} of them must have {CACHE_BYTES_MIN >> 20} MiB: "
                     f"{CACHE_BYTES_MIN / CACHES[0] / OBJECT_BYTES:.0f} of {OBJECT_BYTES} bytes")
    build = arguments.build.resolve()
    bench = build / "tests/unit/store/eviction_bench"
    simulated = run_ours(bench, arguments.objects, arguments.requests)
    arguments.yardstick = run_ours(bench, arguments.objects, arguments.server_requests, "none")
    servers = run_servers(build, bench, arguments.objects, arguments.server_requests,
                          VOLATILE if arguments.all else ["volatile-ttl"])
    if arguments.write:
        write_page(simulated, servers, arguments)
    print(print_table(simulated, simulated))
    print(print_table(servers, arguments.yardstick))


if __name__ == "__main__":
    main()
