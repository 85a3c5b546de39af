"""Clients of memcached's binary protocol, and memccapable, which asks for every command of both
protocols; logging in; Unix sockets; connections that end in the middle of a request."""

import pytest

from conftest import BINARY, ROOT, run

MEMCCAPABLE_TESTS = 54


def memccapable(appliance, *words):
    return appliance.namespace.run("memccapable", "-h", appliance.address, "-v", *words, check=False)


@pytest.mark.parametrize("driver", ["socket", "tap"])
@pytest.mark.parametrize("workers", [1, 3])
def test_memccapable(fleet, driver, workers):
    appliance = fleet.start(driver, f"--workers {workers}")
    done = memccapable(appliance)
    assert done.returncode == 0 and "All tests passed" in done.stdout, done.stdout
    assert done.stdout.count("[pass]") == MEMCCAPABLE_TESTS, done.stdout


BMEMCACHED = """
import sys, bmemcached
from bmemcached.exceptions import MemcachedException
client = bmemcached.Client((sys.argv[1] + ':11211',), *sys.argv[2:])
assert client.set('a', 'text') and client.get('a') == 'text'
assert client.set('b', b'\\0\\r\\n bytes') and client.get('b') == b'\\0\\r\\n bytes'
for i in range(500):
    assert client.set(f'k{i}', i)
assert client.get_multi([f'k{i}' for i in range(500)] + ['none']) == {f'k{i}': i for i in range(500)}
value, cas = client.gets('a')
assert client.cas('a', 'new', cas) and not client.cas('a', 'newer', cas)
assert client.add('c', 'x') and not client.add('c', 'y') and client.replace('c', 'z')
assert client.incr('n', 5) == 0 and client.incr('n', 5) == 5 and client.decr('n', 7) == 0
assert client.set('large', 'x' * 900000) and client.get('large') == 'x' * 900000
assert client.delete_multi(['a', 'b']) and client.get('a') is None
assert not client.delete('none') or client.get('none') is None
assert client.get('k499') == 499
figures = list(client.stats().values())[0]
assert figures['version'] == '1.6.18' or figures['version'] == b'1.6.18', figures['version']
assert client.flush_all() and client.get('k1') is None
client.disconnect_all()
print('ok')
"""

PYLIBMC = """
import sys, pylibmc
login = dict(zip(('username', 'password'), sys.argv[2:]))
client = pylibmc.Client([sys.argv[1]], binary=True, behaviors={'cas': True, 'tcp_nodelay': True}, **login)
assert client.set('a', 'text') and client.get('a') == 'text'
assert client.set_multi({f'k{i}': i for i in range(500)}) == []
assert client.get_multi([f'k{i}' for i in range(500)]) == {f'k{i}': i for i in range(500)}
value, cas = client.gets('a')
assert client.cas('a', 'new', cas) is True and client.cas('a', 'newer', cas) is False
assert client.add('a', 'x') is False and client.replace('a', 'y') is True
client.set('s', b'b')
assert client.append('s', b'c') and client.prepend('s', b'a') and client.get('s') == b'abc'
client.set('n', 1)
assert client.incr('n', 41) == 42 and client.decr('n', 2) == 40
assert client.touch('n', 100) and client.delete('n') and client.get('n') is None
assert client.set('large', b'x' * 900000) and client.get('large') == b'x' * 900000
noreply = pylibmc.Client([sys.argv[1]], binary=True, behaviors={'_noreply': True}, **login)
for i in range(1000):
    noreply.set('quiet', str(i))
assert noreply.get('quiet') == '999'
assert client.get_stats()[0][1]
client.flush_all()
assert client.get('a') is None
print('ok')
"""


@pytest.mark.parametrize("source", [BMEMCACHED, PYLIBMC], ids=["bmemcached", "pylibmc"])
@pytest.mark.parametrize("workers", [1, 3])
def test_binary_clients(fleet, source, workers):
    appliance = fleet.start("socket", f"--workers {workers}")
    assert appliance.client(source).strip() == "ok"


@pytest.mark.parametrize("source", [BMEMCACHED, PYLIBMC], ids=["bmemcached", "pylibmc"])
def test_clients_that_log_in(fleet, source):
    appliance = fleet.start("socket", "--requirepass secret")
    assert appliance.client(source, "default", "secret").strip() == "ok"
    for words in ([], ["default", "wrong"], ["nobody", "secret"]):
        assert "ok" not in appliance.client(source, *words, check=False)


def test_a_password_nobody_asked_for(fleet):
    """A client with a password meets a server without: it goes on, as with memcached."""
    appliance = fleet.start("socket")
    assert appliance.client(BMEMCACHED, "default", "secret").strip() == "ok"


def test_libmemcached_programs(fleet, tmp_path):
    appliance = fleet.start("tap")
    (tmp_path / "key1").write_bytes(b"one\n" * 30000)
    (tmp_path / "key2").write_bytes(b"two\n")

    def program(name, *words, check=True):
        return appliance.namespace.run(name, f"--servers={appliance.address}", "--binary", *words,
                                       cwd=tmp_path, check=check)

    program("memccp", "key1", "key2")
    assert program("memccat", "key1").stdout.startswith("one\none\n")
    assert program("memccat", "key2").stdout.startswith("two\n")
    assert program("memcexist", "key1").returncode == 0
    assert program("memctouch", "--expire=100", "key2").returncode == 0
    assert "curr_items: 2" in program("memcstat").stdout
    assert appliance.namespace.run("memcping", f"--servers={appliance.address}").returncode == 0
    program("memcrm", "key1")
    assert program("memcexist", "key1", check=False).returncode != 0
    program("memcflush")
    assert program("memccat", "key2", check=False).stdout.strip() != "two"


TEXT_LOGIN = r"""
import socket, sys
def talk(data):
    s = socket.create_connection((sys.argv[1], 11211), timeout=5)
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    got = b''
    while True:
        part = s.recv(65536)
        if not part:
            return got
        got += part
unknown = b'CLIENT_ERROR unauthenticated\r\n'
assert talk(b'get a\r\nversion\r\nquit\r\n') == unknown * 3
assert talk(b'set x 0 0 14\r\ndefault secreT\r\nget a\r\n') == b'CLIENT_ERROR authentication failure\r\n' + unknown
assert talk(b'set x 0 0 7\r\ndefault\r\n') == b'CLIENT_ERROR bad authentication token format\r\n'
assert talk(b'set x 0 0 14\r\ndefault secret\r\nset a 0 0 1\r\nx\r\nget a\r\n') == \
    b'STORED\r\nSTORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n'
assert talk(b'x' * 3000) == b''
print('ok')
"""


def test_text_login(fleet):
    appliance = fleet.start("socket", "--requirepass secret")
    assert appliance.client(TEXT_LOGIN).strip() == "ok"


# A flood of refused requests whose replies nobody reads keeps little of our memory.
FLOOD = r"""
import socket, sys, time, redis
def resident():
    return int(redis.Redis(host=sys.argv[1], password='secret').info('memory')['used_memory_rss'])
before = resident()
sockets = []
for i in range(300):
    s = socket.create_connection((sys.argv[1], 11211))
    s.setblocking(False)
    try:
        for _ in range(50):
            s.send(b'get a\r\n' * 1000)
    except BlockingIOError:
        pass
    sockets.append(s)
time.sleep(2)
grown = resident() - before
assert grown < 300 * 128 * 1024, grown
print('ok')
"""


def test_who_is_not_logged_in_gets_little_memory(fleet):
    appliance = fleet.start("socket", "--requirepass secret")
    assert appliance.client(FLOOD).strip() == "ok"


UNIX = r"""
import socket, sys
path, name = sys.argv[2:]
s = socket.socket(socket.AF_UNIX)
s.connect(path)
s.sendall(b'set %s 5 0 3\r\nabc\r\nget %s\r\n' % (name.encode(), name.encode()))
expected = b'STORED\r\nVALUE %s 5 3\r\nabc\r\nEND\r\n' % name.encode()
got = b''
while len(got) < len(expected):
    got += s.recv(1000)
assert got == expected, got
from pymemcache.client.base import Client
assert Client(path).get(name) == b'abc'
import pylibmc
client = pylibmc.Client([path], binary=True)
assert client.set('by-binary', b'x' * 100000) and client.get('by-binary') == b'x' * 100000
print('ok')
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_unix_socket(fleet, tmp_path, workers):
    path = tmp_path / "memcached.sock"
    appliance = fleet.start("socket", f"--workers {workers}", f"--memcache-unixsocket {path}",
                            "--memcache-unixsocketperm 700")
    assert path.stat().st_mode & 0o777 == 0o700
    for number in range(4):
        assert appliance.client(UNIX, path, f"key{number}").strip() == "ok"
    assert "memcached" in appliance.output()


# Each request cut at every byte, and then the connection ends: in order, or by a reset.
ABORTS = r"""
import socket, struct, sys
sys.path.insert(0, sys.argv[2])
from memcached_binary_differential import packet, flags_and_expiry, count, SET, APPEND, DELETE, INCR, REPLACE
host = sys.argv[1]
packets = [packet(SET, b'a', flags_and_expiry(9), b'torn'), packet(APPEND, b'a', value=b'torn'), packet(DELETE, b'a'),
           packet(INCR, b'n', count()), packet(REPLACE, b'a', flags_and_expiry(9), b'torn'),
           b'set a 9 0 4\r\ntorn\r\n', b'append a 0 0 4\r\ntorn\r\n', b'incr n 1\r\n', b'delete a\r\n']
from pymemcache.client.base import Client
witness = Client((host, 11211))
large = b'L' * 300000
for number, data in enumerate(packets):
    for size in range(1, len(data)):
        witness.set('a', b'whole', noreply=False)
        witness.set('n', b'1', noreply=False)
        s = socket.create_connection((host, 11211))
        if size % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.sendall(data[:size])
        s.close()
        if not data[:size].endswith(b'\n') or data[:1] == b'\x80':
            assert witness.get_many(['a', 'n']) == {'a': b'whole', 'n': b'1'}, (number, size)
# Large values, cut off while they arrive.
witness.set('big', large, noreply=False)
for part in (1, 1000, 16384, 16385, 100000, 299999):
    for head in (packet(SET, b'big', flags_and_expiry(), body_bytes=8 + 3 + 300000)[:24] + flags_and_expiry() + b'big',
                 b'set big 0 0 300000\r\n', b'append big 0 0 300000\r\n'):
        s = socket.create_connection((host, 11211))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.sendall(head + b'x' * part)
        s.close()
        assert witness.get('big') == large, (part, head)
print('ok')
"""


@pytest.mark.parametrize("driver", ["socket", "tap"])
@pytest.mark.parametrize("workers", [1, 3])
def test_aborts_lose_and_mix_up_nothing(fleet, driver, workers):
    appliance = fleet.start(driver, f"--workers {workers}")
    differential = ROOT / "tests/differential"
    assert appliance.client(ABORTS, differential).strip() == "ok"


# A large value counts in the shard of its key, whoever receives it: keys of one hash tag, by many connections.
BOOKS = r"""
import socket, sys, time, redis
sys.path.insert(0, sys.argv[2])
from memcached_binary_differential import packet, flags_and_expiry, SET, SETQ, APPEND, DELETE, NOOP
host, workers, size = sys.argv[1], int(sys.argv[3]), 100000
figures = redis.Redis(host=host)
connections = [socket.create_connection((host, 11211), timeout=30) for _ in range(16)]

def ask(number, *packets):
    s = connections[number % len(connections)]
    s.sendall(b''.join(packets) + packet(NOOP, opaque=b'last'))
    reply = b''
    while b'last' not in reply[-24:] or len(reply) < 24:
        part = s.recv(65536)
        assert part
        reply += part
    while reply:
        assert reply[6:8] == b'\0\0', reply[:200]          # the status of every reply
        reply = reply[24 + int.from_bytes(reply[8:12], 'big'):]

def apart():
    memory = figures.info('memory')
    return [memory[f'shard{i}']['values_apart'] for i in range(workers)]

def settled(wanted):
    deadline = time.monotonic() + 20
    while not wanted(apart()):
        assert time.monotonic() < deadline, apart()
        time.sleep(0.05)

owners = set()
for tag in range(3 * workers):
    keys = [b'{%d}%d' % (tag, i) for i in range(8)]
    for number, key in enumerate(keys):
        ask(number, packet(SETQ if number % 2 else SET, key, flags_and_expiry(), b'v' * size))
    now = apart()
    owner = max(range(workers), key=lambda i: now[i])
    owners.add(owner)
    assert len(keys) * size <= now[owner] < len(keys) * (size + 8192), now
    assert all(bytes == 0 for i, bytes in enumerate(now) if i != owner), now
    for number, key in enumerate(keys):
        ask(number + 5, packet(APPEND, key, value=b'w' * size))
    settled(lambda now: 2 * len(keys) * size <= now[owner] and sum(now) == now[owner])
    assert figures.strlen(keys[0]) == 2 * size
    for number, key in enumerate(keys):
        ask(number + 9, packet(DELETE, key))
    settled(lambda now: sum(now) == 0)
assert len(owners) == workers, owners
print('ok')
"""


@pytest.mark.parametrize("workers", [2, 4])
def test_large_binary_values_count_where_their_key_is(fleet, workers):
    appliance = fleet.start("socket", f"--workers {workers}")
    assert appliance.client(BOOKS, ROOT / "tests/differential", workers).strip() == "ok"


def test_options_of_memcached(fleet):
    appliance = fleet.start("socket", "-m 64", "-c 100", "-t 2", "-I 2m", "-p 11311", "-U 0", "-v")
    source = """
import sys
from pymemcache.client.base import Client
client = Client((sys.argv[1], 11311))
settings = client.stats('settings')
assert settings[b'maxbytes'] == 64 << 20 and settings[b'num_threads'] == 2, settings
assert client.set('large', b'x' * 2000000, noreply=False)
print('ok')
"""
    assert appliance.client(source).strip() == "ok"
    refused = run(BINARY, "-f", "1.25", check=False)
    assert refused.returncode == 1 and "there is nothing of the kind here" in refused.stdout
