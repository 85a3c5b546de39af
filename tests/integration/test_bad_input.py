"""Malformed requests of every kind: the reference's error or a counted drop, and everybody else goes on."""

import pytest

RAW = r"""
import socket, sys, random
host = sys.argv[1]

def talk(port, data):
    s = socket.create_connection((host, port), timeout=5)
    got = b''
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has answered and closed already, with some of it unread
    try:
        while True:
            part = s.recv(65536)
            if not part:
                break
            got += part
    except (ConnectionResetError, socket.timeout):
        pass
    s.close()
    return got

R, M = 6379, 11211
exact = [
    (R, b'*1\r\n$4\r\nPING\r\n', b'+PONG\r\n'),
    (R, b'PING\r\nPING\r\n', b'+PONG\r\n+PONG\r\n'),
    (R, b'\r\n\r\nPING\r\n', b'+PONG\r\n'),
    (R, b'*-1\r\nPING\r\n', b'+PONG\r\n'),
    (R, b'*x\r\n', b'-ERR Protocol error: invalid multibulk length\r\n'),
    (R, b'*1048577\r\n', None),
    (R, b'*2147483648\r\n', b'-ERR Protocol error: invalid multibulk length\r\n'),
    (R, b'*1\r\n:4\r\nPING\r\n', b"-ERR Protocol error: expected '$', got ':'\r\n"),
    (R, b'*1\r\n$-4\r\nPING\r\n', b'-ERR Protocol error: invalid bulk length\r\n'),
    (R, b'*1\r\n$536870913\r\n', b'-ERR Protocol error: invalid bulk length\r\n'),
    (R, b'*1\r\n$x\r\nPING\r\n', b'-ERR Protocol error: invalid bulk length\r\n'),
    (R, b'SET "a\r\n', b'-ERR Protocol error: unbalanced quotes in request\r\n'),
    (R, b'A' * 70000, b'-ERR Protocol error: too big inline request\r\n'),
    (R, b'POST / HTTP/1.1\r\nHost: x\r\n\r\n', b''),
    (R, b'GET k\r\n', b'$-1\r\n'),
    (R, b'*2\r\n$3\r\nGET\r\n$1\r\n', b''),
    (M, b'version\r\n', None),
    (M, b'nonsense\r\n', b'ERROR\r\n'),
    (M, b'\r\n', b'ERROR\r\n'),
    (M, b'get\r\n', b'ERROR\r\n'),
    (M, b'get ' + b'k' * 251 + b'\r\n', b'CLIENT_ERROR bad command line format\r\n'),
    (M, b'set k 0 0 -1\r\n', b'CLIENT_ERROR bad command line format\r\n'),
    (M, b'set k 0 0 x\r\n', b'CLIENT_ERROR bad command line format\r\n'),
    (M, b'set k 0 0 3\r\nabcd\r\n', b'CLIENT_ERROR bad data chunk\r\nERROR\r\n'),
    (M, b'incr k x\r\n', b'CLIENT_ERROR invalid numeric delta argument\r\n'),
    (M, b'set big 0 0 2000000\r\n' + b'x' * 2000000 + b'\r\nget k\r\n',
     b'SERVER_ERROR object too large for cache\r\nEND\r\n'),
]
for port, data, expected in exact:
    got = talk(port, data)
    if expected is not None and got != expected:
        print('FOR', data[:60], 'GOT', got[:200], 'NOT', expected)

import redis
witness = redis.Redis(host=host)
witness.set('witness', 'unharmed')
rng = random.Random(int(sys.argv[2]))
valid = [b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n', b'GET k\r\n', b'*1\r\n$4\r\nINFO\r\n',
         b'set k 0 0 5\r\nvalue\r\n', b'get k\r\n', b'incr k 1\r\n', b'cas k 0 0 1 1\r\nx\r\n']
for i in range(300):
    data = bytearray(b''.join(rng.choice(valid) for _ in range(3)))
    for _ in range(rng.randrange(1, 6)):
        kind = rng.randrange(3)
        at = rng.randrange(len(data))
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at:at + rng.randrange(1, 10)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 10))
        if not data:
            data = bytearray(b'x')
    talk(rng.choice((R, M)), bytes(data))
    if i % 50 == 0:
        assert witness.get('witness') == b'unharmed'
assert witness.get('witness') == b'unharmed'
print('done')
"""


@pytest.mark.parametrize("driver", ["socket", "tap"])
@pytest.mark.parametrize("seed", [1, 2])
def test_malformed_requests(fleet, driver, seed):
    appliance = fleet.start(driver)
    assert appliance.client(RAW, seed).strip() == "done"


UNAUTHENTICATED = r"""
import socket, sys
host = sys.argv[1]
def talk(data):
    s = socket.create_connection((host, 6379), timeout=5)
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    got = b''
    while True:
        part = s.recv(65536)
        if not part:
            return got
        got += part
assert talk(b'*11\r\n') == b'-ERR Protocol error: unauthenticated multibulk length\r\n'
assert talk(b'*2\r\n$3\r\nGET\r\n$16385\r\n') == b'-ERR Protocol error: unauthenticated bulk length\r\n'
assert talk(b'GET k\r\n') == b'-NOAUTH Authentication required.\r\n'
assert talk(b'AUTH wrong\r\n').startswith(b'-WRONGPASS')
assert talk(b'AUTH secret\r\nGET k\r\nAUTH default secret\r\n') == b'+OK\r\n$-1\r\n+OK\r\n'
print('ok')
"""


def test_who_is_not_logged_in_gets_little(fleet):
    appliance = fleet.start("socket", "--requirepass secret")
    assert appliance.client(UNAUTHENTICATED).strip() == "ok"


def test_frames_that_are_no_frames(fleet):
    """Random and truncated frames on the wire are counted, and a client beside them sees nothing."""
    appliance = fleet.start("af_packet")
    source = r"""
import random, sys
from scapy.all import Ether, IP, TCP, UDP, ICMP, ARP, Raw, conf, fragment
import redis
host = sys.argv[1]
client = redis.Redis(host=host)
client.set('witness', 'unharmed')
mac = open('/sys/class/net/veth1/address').read().strip()
rng = random.Random(1)
socket = conf.L2socket(iface='veth0')
base = [bytes(Ether(dst=mac) / IP(src='198.18.0.9', dst=host) / TCP(dport=6379, flags=f) / Raw(b'x' * 20))
        for f in ('S', 'A', 'F', 'R', 'SF', 'FPU', '', 'SR')]
base += [bytes(Ether(dst=mac) / IP(src='198.18.0.9', dst=host) / UDP(dport=p) / Raw(b'y' * 30)) for p in (11211, 9)]
base += [bytes(Ether(dst=mac) / IP(src='198.18.0.9', dst=host) / ICMP() / Raw(b'z' * 56))]
base += [bytes(Ether(dst='ff:ff:ff:ff:ff:ff') / ARP(psrc='198.18.0.9', pdst=host))]
base += [bytes(f) for f in fragment(Ether(dst=mac) / IP(src='198.18.0.9', dst=host) / UDP(dport=9) / Raw(b'f' * 3000), 500)]
for i in range(3000):
    frame = bytearray(rng.choice(base))
    for _ in range(rng.randrange(0, 4)):
        frame[rng.randrange(12, len(frame))] = rng.randrange(256)
    if rng.randrange(3) == 0:
        frame = frame[:rng.randrange(14, len(frame) + 1)]
    socket.send(bytes(frame))
    if i % 500 == 0:
        assert client.get('witness') == b'unharmed'
assert client.get('witness') == b'unharmed'
print('ok')
"""
    assert appliance.client(source).strip().splitlines()[-1] == "ok"
