#!/usr/bin/python3
"""Bytes per item beyond key and value: nicached, memcached and redis-server on the same data.

    memory_per_item.py --server build-test/control/nicached [--items 1000000] [--store-index buckets] [--json]

Items have keys of 16 bytes and values of 8, 32, 64, 100 and 512 bytes, all with a time to live.
The second row of each size is measured after every item has been given a CAS value, by asking for
it with `gets`; memcached always keeps one, redis-server has none. Measured are

    nicached      used_memory (items as allocated, and the index), and the two apart
    memcached     total_malloced of its slabs, and hash_bytes
    redis-server  used_memory

each as the growth over the empty server, divided by the items, less key and value. For nicached
the pages that the items lie in are shown, too: holes and the ends of pages included (allocator_active).
"""
import argparse
import json
import shutil
import socket
import subprocess
import sys
import time

VALUE_SIZES = (8, 32, 64, 100, 512)
KEY_BYTES = 16
BATCH = 2000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def info(self):
        """Redis' INFO memory, numbers by name."""
        self.send(b"INFO memory\r\n")
        size = int(self.file.readline()[1:])
        text = self.file.read(size + 2).decode()
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {name: int(value) for name, value in pairs if value.isdigit()}

    def stats(self, argument=b""):
        """memcached's stats, numbers by name."""
        self.send(b"stats" + (b" " + argument if argument else b"") + b"\r\n")
        numbers = {}
        for line in iter(self.file.readline, b"END\r\n"):
            _, name, value = line.decode().split()
            if value.isdigit():
                numbers[name] = int(value)
        return numbers

    def close(self):
        self.file.close()
        self.socket.close()


def key_of(number):
    return b"key:%012d" % number


def fill_redis(connection, items, size):
    value = b"v" * size
    for first in range(0, items, BATCH):
        last = min(items, first + BATCH)
        connection.send(b"".join(
            b"*5\r\n$3\r\nSET\r\n$16\r\n%s\r\n$%d\r\n%s\r\n$2\r\nEX\r\n$6\r\n100000\r\n"
            % (key_of(i), size, value) for i in range(first, last)))
        for _ in range(first, last):
            expect(connection, b"+OK\r\n")


def fill_memcache(connection, items, size):
    value = b"v" * size
    for first in range(0, items, BATCH):
        last = min(items, first + BATCH)
        connection.send(b"".join(b"set %s 0 100000 %d\r\n%s\r\n" % (key_of(i), size, value)
                                 for i in range(first, last)))
        for _ in range(first, last):
            expect(connection, b"STORED\r\n")


def ask_for_cas(connection, items, size):
    value = b"v" * size + b"\r\n"
    for first in range(0, items, 100):
        last = min(items, first + 100)
        connection.send(b"gets " + b" ".join(key_of(i) for i in range(first, last)) + b"\r\n")
        for _ in range(first, last):
            header = connection.file.readline()
            if not header.startswith(b"VALUE ") or connection.file.read(size + 2) != value:
                sys.exit("error: gets answered %r" % header)
        expect(connection, b"END\r\n")


def expect(connection, line):
    answer = connection.file.readline()
    if answer != line:
        sys.exit("error: %r instead of %r" % (answer, line))


class Server:
    def __init__(self, command, port):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(300):
            try:
                self.connection = Connection(port)
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        sys.exit("error: %s does not answer" % command[0])

    def stop(self):
        self.connection.close()
        self.process.terminate()
        self.process.wait(30)


def settled(connection):
    """The figures after a second without a change: retired items are freed, segments have moved."""
    before, unchanged = None, 0
    while unchanged < 4:
        time.sleep(0.3)
        now = connection.info()
        unchanged = unchanged + 1 if before == now["used_memory"] else 0
        before = now["used_memory"]
    return now


def per_item(after, before, names, items, size):
    grown = sum(after[name] - before[name] for name in names)
    return round(grown / items - KEY_BYTES - size, 1)


def measure_nicached(binary, store_index, items, size):
    redis_port, memcache_port = free_port(), free_port()
    server = Server([binary, "--interface", "lo0", "socket", "127.0.0.1", "--port",
                     str(redis_port), "--memcache-port", str(memcache_port), "--hugepages", "no",
                     "--store-index", store_index, "--loglevel", "warning"], redis_port)
    before = settled(server.connection)
    fill_redis(server.connection, items, size)
    rows = {}
    for row in ("ttl", "ttl_cas"):
        if row == "ttl_cas":
            memcache = Connection(memcache_port)
            ask_for_cas(memcache, items, size)
            memcache.close()
        after = settled(server.connection)
        index = (after["used_memory_index"] - before["used_memory_index"]) / items
        rows[row] = {
            "total": per_item(after, before, ["used_memory"], items, size),
            "index": round(index, 1),
            "items": per_item(after, before, ["used_memory_dataset"], items, size),
            "items_pages": per_item(after, before, ["allocator_active"], items, size),
        }
        if store_index == "buckets":  # whose pages are among them
            rows[row]["items_pages"] = round(rows[row]["items_pages"] - index, 1)
    server.stop()
    return rows


def measure_redis(items, size):
    port = free_port()
    server = Server(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no",
                     "--bind", "127.0.0.1"], port)
    before = settled(server.connection)
    fill_redis(server.connection, items, size)
    after = settled(server.connection)
    server.stop()
    return {"ttl": {"total": per_item(after, before, ["used_memory"], items, size)}}


def measure_memcached(items, size):
    port = free_port()
    server = Server(["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "16384",
                     "-t", "1", "-u", "nobody"], port)
    figures = lambda: {"total_malloced": server.connection.stats(b"slabs")["total_malloced"],
                       "hash_bytes": server.connection.stats()["hash_bytes"]}
    before = figures()
    fill_memcache(server.connection, items, size)
    while server.connection.stats().get("hash_is_expanding"):
        time.sleep(0.3)
    after = figures()
    server.stop()
    total = per_item(after, before, ["total_malloced", "hash_bytes"], items, size)
    return {"ttl_cas": {"total": total}}


def print_table(results):
    print("| value | | nicached | of it items | index | items, pages | memcached | redis-server |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for size, servers in results["bytes_beyond_key_and_value"].items():
        for row, name in (("ttl", "TTL"), ("ttl_cas", "TTL and CAS")):
            ours = servers["nicached"][row]
            others = [servers.get(server, {}).get(row, {}).get("total", "")
                      for server in ("memcached", "redis-server")]
            print("| %s | %s | %s | %s | %s | %s | %s | %s |" % (
                size, name, ours["total"], ours["items"], ours["index"], ours["items_pages"],
                *others))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, metavar="BINARY", help="nicached")
    parser.add_argument("--items", type=int, default=1000000)
    parser.add_argument("--store-index", choices=("rte_hash", "buckets"), default="rte_hash", help="of nicached")
    parser.add_argument("--no-peers", action="store_true", help="nicached alone")
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")],
                        default=list(VALUE_SIZES), metavar="BYTES,...")
    parser.add_argument("--json", action="store_true", help="instead of a table")
    arguments = parser.parse_args()
    results = {"items": arguments.items, "key_bytes": KEY_BYTES, "store_index": arguments.store_index,
               "bytes_beyond_key_and_value": {}}
    for size in arguments.sizes:
        servers = {"nicached": measure_nicached(arguments.server, arguments.store_index, arguments.items, size)}
        for name, measure in (("redis-server", measure_redis), ("memcached", measure_memcached)):
            if shutil.which(name) and not arguments.no_peers:
                servers[name] = measure(arguments.items, size)
        results["bytes_beyond_key_and_value"][str(size)] = servers
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        print_table(results)


if __name__ == "__main__":
    main()
