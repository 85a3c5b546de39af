"""memcached's text and meta commands with real connections: pymemcache, aborts in the middle of every request, dumps of
all keys, auto discovery, and what an operator may change."""

import pytest

HELPERS = """
import re, socket, sys, threading, time
from pymemcache.client.base import Client

ADDRESS = sys.argv[1]

def connect():
    connection = socket.create_connection((ADDRESS, 11211), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection

def ask(connection, request, end=b"MN\\r\\n"):
    connection.sendall(request + (b"mn\\r\\n" if end == b"MN\\r\\n" else b""))
    reply = b""
    while not reply.endswith(end):
        part = connection.recv(1 << 16)
        assert part, reply
        reply += part
    return reply[: -len(end)]
"""

SESSION = HELPERS + """
c = Client((ADDRESS, 11211), timeout=10, connect_timeout=10)
assert c.set("a", b"1", expire=100) and c.get("a") == b"1" and c.incr("a", 5) == 6
value, cas = c.gets("a")
assert c.cas("a", b"7", cas) is True and c.cas("a", b"8", cas) is False and c.cas("none", b"8", cas) is None
raw = connect()
assert ask(raw, b"mg a v\\r\\nmg a t\\r\\n") == b"VA 1\\r\\n7\\r\\nHD t-1\\r\\n"
assert ask(raw, b"ms m 5 T60 F7 c\\r\\nhello\\r\\n").startswith(b"HD c")
assert ask(raw, b"mg m s f\\r\\n") == b"HD s5 f7\\r\\n" and c.get("m") == b"hello"
assert ask(raw, b"md m I T30\\r\\nmg m\\r\\nmg m\\r\\n") == b"HD\\r\\nHD X W\\r\\nHD Z X\\r\\n"
assert ask(raw, b"ma n N0 J41 v\\r\\n") == b"VA 2\\r\\n41\\r\\n" and c.incr("n", 1) == 42
assert c.get_many(["a", "m", "n", "none"]) == {"a": b"7", "m": b"hello", "n": b"42"}
assert c.delete("a", noreply=False) and not c.delete("a", noreply=False)
assert c.stats()[b"curr_items"] == 2
"""

# Whatever of a request has come when the connection ends: it has run whole, or not at all, and nobody else is harmed.
ABORTS = HELPERS + """
keep = connect()
assert ask(keep, b"".join(b"ms k%d 2 q\\r\\nok\\r\\n" % i for i in range(50))) == b""
requests = [b"ms abort 5 T100 c k Oopaque\\r\\nhello\\r\\n", b"ms YWJvcnQ= 5 b\\r\\nhello\\r\\n", b"mg abort v k t N30\\r\\n",
            b"set abort 1 100 5\\r\\nhello\\r\\n", b"md abort I T30\\r\\n", b"ma abort N0 J5 v\\r\\n",
            b"ms abort 20000\\r\\n" + b"v" * 20000 + b"\\r\\n", b"gat 100 abort k1 k2\\r\\n", b"append abort 0 0 5\\r\\nhello\\r\\n"]
for request in requests:
    for cut in sorted({*range(1, min(len(request), 60)), len(request) // 2, len(request) - 1}):
        ask(keep, b"md abort q\\r\\n")
        connection = connect()
        connection.sendall(request[:cut])
        if cut % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
        connection.close()
    time.sleep(0.05)
    assert ask(keep, b"mg abort\\r\\n") == b"EN\\r\\n", request
values = ask(keep, b"get " + b" ".join(b"k%d" % i for i in range(50)) + b"\\r\\n")
assert values == b"".join(b"VALUE k%d 0 2\\r\\nok\\r\\n" % i for i in range(50)) + b"END\\r\\n"
# Byte by byte, a reply comes for each.
for request in requests:
    ask(keep, b"md abort q\\r\\n")
    slow = connect()
    for byte in range(min(len(request), 100)):
        slow.sendall(request[byte:byte + 1])
    slow.sendall(request[100:])
    whole = ask(slow, b"")
    ask(keep, b"md abort q\\r\\n")
    plain = lambda text: re.sub(rb" c\\d+", b" c", text)
    assert plain(whole) == plain(ask(keep, request)), (request, whole)
"""

# Sixteen clients, as many misses as rounds: one of them is told to fetch the value.
WINNERS = HELPERS + """
COUNT, ROUNDS = 16, 100
won, barrier = [[0] * COUNT for _ in range(ROUNDS)], threading.Barrier(COUNT)

def speak(number):
    connection = connect()
    for round in range(ROUNDS):
        barrier.wait()
        reply = ask(connection, b"mg key%d N60 v\\r\\n" % round)
        won[round][number] = {b"VA 0 W\\r\\n\\r\\n": 1, b"VA 0 Z\\r\\n\\r\\n": 0}[reply]

threads = [threading.Thread(target=speak, args=(number,)) for number in range(COUNT)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert [sum(round) for round in won] == [1] * ROUNDS, [sum(round) for round in won]
"""

DUMP = HELPERS + """
COUNT = 30000
c = connect()
for start in range(0, COUNT, 1000):
    assert ask(c, b"".join(b"ms key:%d 1 q T100\\r\\nx\\r\\n" % i for i in range(start, start + 1000))) == b""
ask(c, b"ms AAoNIP8= 1 b q\\r\\nx\\r\\nmg key:7\\r\\n")
other = connect()
started = time.monotonic()
c.sendall(b"lru_crawler metadump all\\r\\nmn\\r\\n")
slowest = 0
for i in range(200):  # others are served meanwhile
    before = time.monotonic()
    assert ask(other, b"mg key:%d v\\r\\n" % i) == b"VA 1\\r\\nx\\r\\n"
    slowest = max(slowest, time.monotonic() - before)
text = ask(c, b"", b"END\\r\\nMN\\r\\n").decode()
lines = text.splitlines()
keys = {line.split()[0][4:] for line in lines}
assert keys == {"key%%3A%d" % i for i in range(COUNT)} | {"%00%0A%0D%20%FF"}, (len(keys), len(lines))
line, = {line for line in lines if line.startswith("key=key%3A7 ")}
assert " fetch=yes cls=1 size=" in line and abs(int(line.split(" exp=")[1].split()[0]) - time.time() - 100) < 60
assert slowest < 2, slowest
gone = connect()
gone.sendall(b"lru_crawler metadump all\\r\\n")
gone.close()
assert ask(c, b"lru_crawler metadump 7\\r\\nlru_crawler metadump\\r\\nlru_crawler enable\\r\\nlru_crawler crawl all\\r\\n") == \\
    b"BADCLASS invalid class id\\r\\nERROR\\r\\nOK\\r\\nOK\\r\\n"
"""

CONTROL = HELPERS + """
c = connect()
assert ask(c, b"shutdown\\r\\n") == b"ERROR: shutdown not enabled\\r\\n"
assert ask(c, b"cache_memlimit 7\\r\\ncache_memlimit 64\\r\\ncache_memlimit 100 noreply\\r\\n") == \\
    b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\\r\\nOK\\r\\n"
assert b"STAT limit_maxbytes 104857600\\r\\n" in ask(c, b"stats\\r\\n")

def cluster():
    reply = ask(c, b"config get cluster\\r\\n")
    head, version, nodes, empty, end = reply.split(b"\\n", 4)
    assert head == b"CONFIG cluster 0 %d\\r" % (len(version) + len(nodes) + 2) and (empty, end) == (b"\\r", b"END\\r\\n"), reply
    value = ask(c, b"get AmazonElastiCache:cluster\\r\\n")
    assert value == reply.replace(b"CONFIG cluster 0", b"VALUE AmazonElastiCache:cluster 0"), value
    return int(version), nodes

version, nodes = cluster()
own = ADDRESS.encode()
assert nodes == own + b"|" + own + b"|11211", nodes
redis = socket.create_connection((ADDRESS, 6379), 10)
redis.sendall(b"CONFIG SET memcache-cluster-nodes a.example|10.0.0.1|11211,b.example||11212\\r\\n")
assert redis.recv(100) == b"+OK\\r\\n"
later, nodes = cluster()
assert later > version and nodes == b"a.example|10.0.0.1|11211 b.example||11212"
redis.sendall(b"CONFIG SET maxmemory 200mb\\r\\n")
assert redis.recv(100) == b"+OK\\r\\n" and cluster() == (later, nodes)
redis.sendall(b"CONFIG SET memcache-cluster-nodes a.example|10.0.0.1|11211\\r\\n")
assert redis.recv(100) == b"+OK\\r\\n" and cluster()[0] > later
for wrong in (b"a", b"a|b", b"|b|1", b"a|b|0", b"a|b|70000", b"a|b|1,"):
    redis.sendall(b"CONFIG SET memcache-cluster-nodes %s\\r\\n" % wrong)
    assert redis.recv(300).startswith(b"-ERR CONFIG SET failed"), wrong
assert ask(c, b"config get other\\r\\nconfig\\r\\nconfig set cluster\\r\\n") == b"ERROR\\r\\n" * 3
redis.sendall(b"CONFIG SET memcache-shutdown yes\\r\\n")
assert redis.recv(100) == b"+OK\\r\\n"
assert ask(c, b"shutdown now\\r\\n") == b"CLIENT_ERROR invalid shutdown mode\\r\\n"
c.sendall(b"shutdown graceful\\r\\n")
assert c.recv(100) == b""
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["SESSION", "ABORTS", "DUMP", "WINNERS"])
def test_memcache(fleet, name, workers):
    appliance = fleet.start("socket", f"--workers {workers}")
    appliance.client(globals()[name])
    appliance.stop()


def test_an_operator_changes_things(fleet):
    appliance = fleet.start("socket")
    appliance.client(CONTROL)
    assert appliance.process.wait(timeout=30) == 0
