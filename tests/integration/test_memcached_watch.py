"""memcached's watch and stats detail: line by line as memcached has them; many watchers, slow ones, and those who go."""

import pytest

from conftest import ROOT, peer_server

# The same requests to a memcached and to us; what the watchers were told is compared, but for times and numbers of our own.
COMPARE = r"""
import difflib, re, socket, sys, time
sys.path.insert(0, sys.argv[2])
from memcached_binary_differential import (packet, flags_and_expiry, count, GET, GETKQ, SET, ADD, REPLACE, APPEND, DELETE, INCR,
                                           TOUCH, GAT, NOOP)
REQUESTS = [
    b"get a\r\n", b"set a 0 0 3\r\nabc\r\n", b"get a\r\n", b"get a b c\r\n", b"gets a\r\n", b"gat 100 a none\r\n", b"touch a 100\r\n",
    b"touch none 1\r\n", b"add a 0 0 1\r\nx\r\n", b"add n 0 0 1\r\n5\r\n", b"replace none 0 0 1\r\nx\r\n", b"replace a 5 300 1\r\nx\r\n",
    b"append a 0 0 1\r\nx\r\n", b"prepend a 0 0 1\r\nx\r\n", b"append none 0 0 1\r\nx\r\n", b"cas a 0 0 1 1\r\nx\r\n",
    b"cas none 0 0 1 1\r\nx\r\n", b"incr n 1\r\n", b"incr n 10\r\n", b"decr n 1\r\n", b"incr none 1\r\n", b"delete n\r\n",
    b"delete n\r\n", b"set a 0 100 1 noreply\r\nx\r\n", b"get a%b/c\"d\xff\r\n", b"set a%b/c\"d\xff 0 0 1\r\nx\r\n",
    b"set large 0 0 100000\r\n" + b"x" * 100000 + b"\r\n", b"get large\r\n", b"mg a\r\n", b"mg a s v t\r\n", b"mg none v q k\r\n",
    b"mg new v N30\r\n", b"mg new v\r\n", b"mg a T30 v\r\n", b"mg a R3000 v\r\n", b"ms a 1\r\nx\r\n", b"ms a 1 T50 ME\r\nx\r\n",
    b"ms a 1 MA\r\nx\r\n", b"ms a 1 MP\r\nx\r\n", b"ms a 1 MR\r\nx\r\n", b"ms a 1 C5\r\nx\r\n", b"ms none 1 C5\r\nx\r\n",
    b"ms a 1 C5 MR\r\nx\r\n", b"ms none 1 MA\r\nx\r\n", b"md a I\r\n", b"mg a v\r\n", b"md a\r\n", b"mg a v\r\n",
    b"ms YQ== 1 b\r\nx\r\n", b"mg YQ== b v\r\n", b"mg AAECIA== b v\r\n", b"ma c N0 J5\r\n", b"ma c\r\n", b"ma c D100\r\n", b"ma none\r\n",
    b"me a\r\n", b"flush_all\r\n", b"get a\r\n", b"verbosity 1\r\n",
    packet(SET, b"b:1", flags_and_expiry(), b"xyz"), packet(GET, b"b:1"), packet(GETKQ, b"none") + packet(NOOP),
    packet(ADD, b"b:1", flags_and_expiry(), b"xyz"), packet(SET, b"b:1", flags_and_expiry(), b"xyz", cas=5),
    packet(REPLACE, b"none", flags_and_expiry(), b"x"), packet(INCR, b"m", count(1, 5)), packet(INCR, b"m", count(1, 5)),
    packet(INCR, b"none", count(1, 5, 0xFFFFFFFF)), packet(INCR, b"m", count(100, 5)), packet(APPEND, b"b:1", value=b"zz"),
    packet(TOUCH, b"b:1", b"\0\0\0\x64"), packet(GAT, b"b:1", b"\0\0\0\x64"), packet(DELETE, b"b:1"), packet(DELETE, b"b:1"),
]
KINDS = [b"", b" fetchers", b" mutations", b" fetchers mutations evictions connevents", b" rawcmds proxyreqs sysevents"]

def connect(port, request=b"", until=b""):
    connection = socket.create_connection((sys.argv[1], port), 10)
    connection.sendall(request)
    return connection, receive(connection, until)

def receive(connection, until):
    reply = b""
    while not reply.endswith(until):
        part = connection.recv(1 << 16)
        assert part, reply
        reply += part
    return reply

def normal(line):
    line = re.sub(r"ts=\d+\.\d+ gid=\d+ ", "", line)
    line = re.sub(r"rport=\d+", "rport=#", line)
    line = re.sub(r"status=(flushed|expired)", "status=not_found", line)  # gone is gone here
    return re.sub(r"clsid=[1-9]\d*", "clsid=#", re.sub(r"cfd=-?\d+", "cfd=#", line))

def watch(port):
    watchers = [connect(port, b"watch%s\r\n" % kinds, b"OK\r\n")[0] for kinds in KINDS]
    text, binary, ending = (connect(port)[0] for _ in range(3))
    for request in REQUESTS:
        if request[:1] == b"\x80":
            binary.sendall(request)
            while not binary.recv(1 << 16): pass
        else:
            text.sendall(request + b"mn\r\n")
            receive(text, b"MN\r\n")
    text.close()
    time.sleep(1)  # several threads have noted something, each writes it when it runs
    lines = []
    for number, watcher in enumerate(watchers):
        ending.sendall(b"mg end%d\r\nms end%d 1\r\nx\r\n" % (number, number))  # of each kind that is watched, one
        receive(ending, b"EN\r\nHD\r\n")
        if b"raw" not in KINDS[number]:
            mark = b"item_store key=end%d " if b"mutations" in KINDS[number] else b"item_get key=end%d "
            got = b""
            while mark % number not in got or not got.endswith(b"\n"):
                got += watcher.recv(1 << 20)
            watcher.settimeout(0.2)
            try:
                while True:
                    got += watcher.recv(1 << 20)
            except socket.timeout:
                pass
            found = {int(re.search(r"gid=(\d+)", line).group(1)): normal(line) for line in got.decode().splitlines()}
            ordered = [found[gid] for gid in sorted(found) if "key=end" not in found[gid]]
            # Who is accepted when is between the kernel and the threads.
            lines.append(sorted(ordered, key=lambda line: line if line.startswith("type=conn") else ""))
        else:
            watcher.settimeout(0.2)
            try:
                raise AssertionError(watcher.recv(100))
            except socket.timeout:
                pass
    return lines

reference, subject = watch(int(sys.argv[3])), watch(11211)
for kinds, left, right in zip(KINDS, reference, subject):
    assert len(left) > 20
    if left != right:
        print("\n".join(difflib.unified_diff(left, right, "memcached", "nicached", n=1, lineterm="")))
        raise AssertionError(kinds)
for port in (int(sys.argv[3]), 11211):
    for wrong in (b"watch foo", b"watch fetchers foo", b"watch FETCHERS", b"watch deletions"):
        assert connect(port, wrong + b"\r\n", b"\r\n")[1] == b"ERROR\r\n", wrong
    # What a watcher says is not read, nor what it has said behind watch.
    watcher = connect(port, b"watch mutations\r\nget a\r\nquit\r\n", b"OK\r\n")[0]
    watcher.sendall(b"set k 0 0 1\r\nx\r\nquit\r\n")
    connect(port, b"set k2 0 0 1\r\nx\r\n", b"STORED\r\n")
    assert b"key=k2 status=stored" in receive(watcher, b"\n")
print("ok")
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_lines_are_memcacheds(fleet, workers):
    appliance = fleet.start("socket", f"--workers {workers}")
    with peer_server(appliance.namespace, "memcached", "-u", "root", "-l", "127.0.0.1", "-p", "11300", "-U", "0", "-m", "64",
                     "-o", "no_lru_crawler", port=11300):
        assert appliance.client(COMPARE, ROOT / "tests/differential", 11300).strip() == "ok"


# Evictions as memcached has them; and figures of prefixes, of all workers together.
EVICTIONS = r"""
import re, socket, sys, time
LINE = re.compile(r"ts=\d+\.\d{6} gid=\d+ type=eviction key=key%3A\d+ fetch=(yes|no) ttl=(-1|\d+) la=\d+ clsid=1 size=1000")
def connect(request=b"", until=b""):
    connection = socket.create_connection((sys.argv[1], 11211), 60)  # writes wait for room
    connection.sendall(request)
    return connection, receive(connection, until)
def receive(connection, until):
    reply = b""
    while not reply.endswith(until):
        reply += connection.recv(1 << 16)
    return reply
watcher = connect(b"watch evictions\r\n", b"OK\r\n")[0]
client = connect()[0]
for start in range(0, 28000, 200):
    client.sendall(b"".join(b"set key:%d 0 %d 1000 noreply\r\n%s\r\n" % (i, i % 2 * 1000, b"x" * 1000)
                            for i in range(start, start + 200)) + b"mn\r\n")
    receive(client, b"MN\r\n")
watcher.settimeout(0.2)
got, deadline = b"", time.monotonic() + 20
def read_all():
    global got
    try:
        while True:
            got += watcher.recv(1 << 20)
    except socket.timeout:
        pass
    return [line for line in got.decode().splitlines() if not line.startswith("skipped=")]
def read_stats():
    reply = connect(b"stats\r\n", b"END\r\n")[1].decode()
    return dict(line.split()[1:] for line in reply.splitlines() if line.startswith("STAT"))
def noted():
    return int(stats["log_worker_written"]) + int(stats["log_worker_dropped"])
# The last of them are evicted, and told, when nobody writes any more.
lines, stats = read_all(), read_stats()
while int(stats["log_watcher_sent"]) != len(lines) or noted() != int(stats["evictions"]):
    assert time.monotonic() < deadline, (len(lines), stats)
    lines, stats = read_all(), read_stats()
assert len(lines) > 1000 and int(stats["log_watchers"]) == 1, (len(lines), stats)
found = [LINE.fullmatch(line) for line in lines]
assert all(found), [line for line, match in zip(lines, found) if not match][:3]
assert {match.group(2) == "-1" for match in found} == {True, False}
told = sum(int(line[8:]) for line in got.decode().splitlines() if line.startswith("skipped="))
assert int(stats["log_watcher_skipped"]) >= told, stats
print("ok")
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_evictions(fleet, workers):
    appliance = fleet.start("socket", f"--workers {workers}", "-m 24")
    assert appliance.client(EVICTIONS).strip() == "ok"


# Watchers come and go, some read nothing, while clients of every kind are at work: the answers are right, nobody waits.
STORM = r"""
import random, socket, sys, threading, time
ADDRESS = (sys.argv[1], 11211)
def connect(request=b""):
    connection = socket.create_connection(ADDRESS, 20)
    connection.sendall(request)
    return connection
ends = time.monotonic() + float(sys.argv[2])
failures = []
def work(number):
    try:
        chance, connection = random.Random(number), connect()
        stream = connection.makefile("rb")
        while time.monotonic() < ends:
            keys = [b"k%d:%d" % (number, chance.randrange(50)) for _ in range(20)]
            connection.sendall(b"".join(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(key), key) for key in keys) +
                               b"get " + b" ".join(keys) + b"\r\nstats detail dump\r\n")
            assert all(stream.readline() == b"STORED\r\n" for _ in keys)
            for key in keys:
                assert stream.readline() == b"VALUE %s 0 %d\r\n" % (key, len(key)) and stream.readline() == key + b"\r\n"
            assert stream.readline() == b"END\r\n"
            while stream.readline() != b"END\r\n":
                pass
    except Exception as problem:
        failures.append((number, repr(problem)))
def receive(watcher, until):
    watcher.settimeout(max(0.001, until - time.monotonic()))
    try:
        return watcher.recv(1 << 16)
    except TimeoutError:
        return None  # those who made the events have come to their end
seen = [0] * 6
def watch(number):
    try:
        chance = random.Random(number)
        while time.monotonic() < ends:
            watcher = connect(b"watch fetchers mutations connevents evictions\r\n")
            until = time.monotonic() + chance.random() / 5
            while number % 2 and time.monotonic() < until:
                lines = receive(watcher, until)
                assert lines is None or lines
                seen[number] += (lines or b"").count(b"\n")
            time.sleep(max(0, until - time.monotonic()))
            watcher.close()
    except Exception as problem:
        failures.append((number, repr(problem)))
def turn(number):
    connection = connect()
    while time.monotonic() < ends:
        connection.sendall(b"stats detail on\r\nstats reset\r\nstats conns\r\nstats detail off\r\n")
        time.sleep(0.02)
        connection.recv(1 << 16)
threads = [threading.Thread(target=target, args=(number,)) for target, count in ((work, 6), (watch, 6), (turn, 1))
           for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
assert min(seen[1::2]) > 1000, seen
print("ok")
"""


def test_watchers_come_and_go(fleet):
    appliance = fleet.start("socket", "--workers 3")
    assert appliance.client(STORM, 4).strip() == "ok"


def test_command_line(fleet):
    appliance = fleet.start("socket", "-W", "-D |")
    source = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 11211), 10)
connection.sendall(b"watch\\r\\nget a|b a:b\\r\\nstats detail dump\\r\\nmn\\r\\n")
reply = b""
while not reply.endswith(b"MN\\r\\n"):
    reply += connection.recv(1000)
assert reply == (b"CLIENT_ERROR watch commands not allowed\\r\\nEND\\r\\n"
                 b"PREFIX a get 1 hit 0 set 0 del 0\\r\\nEND\\r\\nMN\\r\\n"), reply
print("ok")
"""
    assert appliance.client(source).strip() == "ok"
