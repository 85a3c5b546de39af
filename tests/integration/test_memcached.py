"""Clients of memcached's binary protocol, and memccapable, which asks for every command of both
protocols; logging in; Unix sockets; connections that end in the middle of a request."""

import os
import socket

import pytest

from conftest import BINARY, ROOT, peer_server, run

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


# What a PHP framework asks of its cache: sessions of Debian's php-memcached, which libmemcached carries.
PHP = r"""
[, $host, $protocol, $user, $password] = array_pad($argv, 5, '');
$cache = new Memcached();
$binary = $protocol === 'binary';
$cache->setOption(Memcached::OPT_BINARY_PROTOCOL, $binary);
$cache->setOption(Memcached::OPT_TCP_NODELAY, true);
if ($user !== '') {
    $cache->setSaslAuthData($user, $password);
}
$cache->addServer($host, 11211);
function check($condition, $what) {
    global $cache;
    if (!$condition) {
        echo $what, ': ', $cache->getResultCode(), ' ', $cache->getResultMessage(), "\n";
        exit(1);
    }
}
check($cache->set('text', 'a text', 100), 'set');
check($cache->get('text') === 'a text', 'get');
foreach ([7, 1.5, true, null, ['a' => [1, 2]], "\0\r\n bytes", ''] as $number => $value) {
    check($cache->set("value$number", $value) && $cache->get("value$number") === $value, "value $number");
}
$many = [];
for ($i = 0; $i < 500; $i++) {
    $many["many$i"] = "v$i";
}
check($cache->setMulti($many) && $cache->getMulti(array_keys($many)) === $many, 'multi');
check($cache->getMulti(['many1', 'none', 'many2'], Memcached::GET_PRESERVE_ORDER) ===
      ['many1' => 'v1', 'none' => null, 'many2' => 'v2'], 'order');
$found = $cache->get('text', null, Memcached::GET_EXTENDED);
check($cache->cas($found['cas'], 'text', 'newer') && !$cache->cas($found['cas'], 'text', 'newest'), 'cas');
check($cache->getResultCode() === Memcached::RES_DATA_EXISTS, 'cas of an old value');
check(!$cache->add('text', 'x') && $cache->getResultCode() === ($binary ? Memcached::RES_DATA_EXISTS : Memcached::RES_NOTSTORED), 'add');
check($cache->replace('text', 'y') && !$cache->replace('none', 'y'), 'replace');
$cache->set('number', 10);
check($cache->increment('number', 5) === 15 && $cache->decrement('number', 20) === 0, 'count');
check($binary ? $cache->increment('made', 1, 41) === 41 : $cache->increment('made') === false, 'count from');
$cache->setOption(Memcached::OPT_COMPRESSION, false);
check($cache->set('joined', 'b') && $cache->append('joined', 'c') && $cache->prepend('joined', 'a') &&
      $cache->get('joined') === 'abc', 'append');
check($cache->touch('joined', 100) && !$cache->touch('none', 100), 'touch');
$large = str_repeat('0123456789', 90000);
check($cache->set('large', $large) && $cache->get('large') === $large, 'large');
$cache->setOption(Memcached::OPT_COMPRESSION, true);
check($cache->set('packed', $large . $large) && $cache->get('packed') === $large . $large, 'compressed');
check(!$cache->set('too large', random_bytes(2000000)), 'too large');
check($cache->get('large') === $large, 'after too large');
check($cache->deleteMulti(['many1', 'many2']) === ['many1' => true, 'many2' => true], 'delete');
check($cache->get('many1') === false && $cache->getResultCode() === Memcached::RES_NOTFOUND, 'deleted');
$cache->setOption(Memcached::OPT_BUFFER_WRITES, true);
for ($i = 0; $i < 1000; $i++) {
    $cache->set('buffered', $i);
}
check($cache->get('buffered') === 999, 'buffered');
// Turning it off closes the connection, and with it goes what the server has not read yet: also with memcached.
$cache->setOption(Memcached::OPT_BUFFER_WRITES, false);
if (!$binary) {
    $cache->setOption(Memcached::OPT_NOREPLY, true);
    $cache->set('quiet', 'q');
    $cache->setOption(Memcached::OPT_NOREPLY, false);
    check($cache->get('quiet') === 'q', 'noreply');
}
check(current($cache->getVersion()) === '1.6.18', 'version');
check(current($cache->getStats())['curr_items'] > 0, 'stats');
check($cache->flush() && $cache->get('text') === false, 'flush');
echo "ok";
"""


def php(appliance, *words, check=True):
    done = appliance.namespace.run("php", "-d", "display_errors=stderr", "-r", PHP, "--", appliance.address, *words, check=False)
    assert done.returncode == 0 or not check, done.stdout
    return done.stdout


@pytest.mark.parametrize("protocol", ["text", "binary"])
@pytest.mark.parametrize("driver, workers", [("socket", 1), ("socket", 3), ("tap", 1)])
def test_php(fleet, protocol, driver, workers):
    assert php(fleet.start(driver, f"--workers {workers}"), protocol) == "ok"


def test_php_logs_in(fleet):
    appliance = fleet.start("socket", "--requirepass secret")
    assert php(appliance, "binary", "default", "secret") == "ok"
    assert php(appliance, "binary", "default", "wrong", check=False) != "ok"
    assert php(appliance, "binary", check=False) != "ok"


# pylibmc in text, with compression, and over UDP: libmemcached sends what changes there and expects no reply.
PYLIBMC_MORE = r"""
import pylibmc, sys, time
text = pylibmc.Client([sys.argv[1]], behaviors={'cas': True, 'tcp_nodelay': True, 'ketama': True})
assert text.set('a', {'of': ['any', 1]}) and text.get('a') == {'of': ['any', 1]}
assert text.set_multi({f'k{i}': i for i in range(500)}) == []
assert text.get_multi([f'k{i}' for i in range(500)]) == {f'k{i}': i for i in range(500)}
value, cas = text.gets('a')
assert text.cas('a', 'new', cas) is True and text.cas('a', 'newer', cas) is False
text.set('s', b'b')
assert text.append('s', b'c') and text.prepend('s', b'a') and text.get('s') == b'abc' and text.touch('s', 100)
text.set('n', 1)
assert text.incr('n', 41) == 42 and text.decr('n', 2) == 40 and text.incr_multi(['n'], delta=2) is None and text.get('n') == 42
assert text.delete('n') and text.get('n') is None
for binary in (False, True):
    packed = pylibmc.Client([sys.argv[1]], binary=binary)
    value = b'compress me ' * 200000
    assert packed.set('packed', value, min_compress_len=1000, compress_level=6) and packed.get('packed') == value
    assert packed.set('large', b'x' * 1000000) and packed.get('large') == b'x' * 1000000
    try:
        packed.set('large', b'x' * 1200000)
        raise AssertionError
    except pylibmc.TooBig:
        pass
    except pylibmc.Error as problem:
        assert 'large' in str(problem).lower() or 'big' in str(problem).lower() or 'SERVER' in str(problem), problem
    assert packed.get('s') == b'abc'
udp = pylibmc.Client(['udp:' + sys.argv[1]])
for i in range(100):
    udp.set('by-udp', str(i).encode())
deadline = time.monotonic() + 5
while text.get('by-udp') != b'99':
    assert time.monotonic() < deadline, text.get('by-udp')
print('ok')
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_pylibmc_in_text_compressed_and_over_udp(fleet, workers):
    appliance = fleet.start("socket", f"--workers {workers}", "--memcache-udp-port 11211")
    assert appliance.client(PYLIBMC_MORE).strip() == "ok"


@pytest.mark.parametrize("protocol", ["binary", "text"])
def test_libmemcached_programs(fleet, tmp_path, protocol):
    appliance = fleet.start("tap")
    flags = ["--binary"] if protocol == "binary" else []
    (tmp_path / "key1").write_bytes(b"one\n" * 30000)
    (tmp_path / "key2").write_bytes(b"two\n")

    def program(name, *words, check=True):
        return appliance.namespace.run(name, f"--servers={appliance.address}", *flags, *words,
                                       cwd=tmp_path, check=check)

    program("memccp", "key1", "key2")
    assert program("memccat", "key1").stdout.startswith("one\none\n")
    assert program("memccat", "key2").stdout.startswith("two\n")
    assert program("memcexist", "key1").returncode == 0
    assert program("memctouch", "--expire=100", "key2").returncode == 0
    assert "curr_items: 2" in program("memcstat").stdout
    assert appliance.namespace.run("memcping", f"--servers={appliance.address}").returncode == 0
    for test in ("set", "get", "mget"):
        program("memcslap", f"--test={test}", "--concurrency=4", "--execute-number=200")
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


# The same conversations with a memcached that knows the user, started with -S: answer for answer.
SASL = r"""
import socket, sys
sys.path.insert(0, sys.argv[2])
from memcached_binary_differential import (packet, flags_and_expiry, count, GET, GETQ, SET, SETQ, DELETE, INCR, QUIT, QUITQ, FLUSH,
                                           NOOP, VERSION, STAT, TOUCH, VERBOSITY, SASL_LIST, SASL_AUTH, SASL_STEP)
LIST, READ = packet(SASL_LIST), packet(GET, b"k")
def conversations(user):
    good, bad = (b"\0" + user + b"\0" + password for password in (b"secret", b"wrong"))
    def auth(data, mechanism=b"PLAIN"):
        return packet(SASL_AUTH, mechanism, value=data)
    def step(data, mechanism=b"PLAIN"):
        return packet(SASL_STEP, mechanism, value=data)
    store = packet(SET, b"k", flags_and_expiry(), b"v")
    return [
        [LIST], [LIST + LIST, READ], [auth(good), store, READ], [auth(good) + packet(NOOP)], [auth(bad), READ],
        [auth(bad), auth(good), READ], [auth(b"\0nobody\0secret"), READ], [auth(user + good), READ], [auth(b"root" + good), READ],
        [auth(b"x", b"CRAM-MD5"), READ], [auth(b"", b"NONE"), auth(good), READ], [auth(good, b"plain"), READ],
        [auth(good, b"P" * 100), READ], [auth(good, b""), packet(NOOP)], [auth(b""), step(good), READ],
        [auth(b""), step(bad), step(good), READ], [auth(b""), step(bad), READ], [auth(b""), step(good, b"NONE"), READ],
        [auth(b""), READ], [auth(b""), auth(good), READ], [auth(bad), step(good), READ], [step(good), READ],
        [step(good), auth(good), READ], [auth(b"no nul"), READ], [auth(b"\0" + user), READ], [auth(b"\0\0secret"), READ],
        [auth(b"\0" + user + b"\0"), READ], [auth(good + b"\0"), READ], [auth(b"x" * 2000), READ],
        [packet(GETQ, b"k"), READ], [packet(SETQ, b"k", flags_and_expiry(), b"v") + packet(NOOP)], [packet(NOOP)],
        [packet(VERSION)], [packet(QUIT)], [packet(QUITQ)], [packet(STAT)], [packet(FLUSH)], [packet(0x77)], [packet(DELETE, b"k")],
        [packet(INCR, b"k", count())], [packet(VERBOSITY, extras=b"\0\0\0\\1")], [packet(TOUCH, b"k", b"\0\0\0\\1")],
        [READ, auth(good), READ], [auth(good), auth(bad), READ], [auth(good), auth(b""), READ], [auth(good), LIST, READ],
        [auth(good), auth(good, b"NONE"), READ], [auth(good), step(good), READ], [auth(good) + READ + packet(NOOP)],
        [auth(bad) + READ + packet(NOOP)],
    ]
def whole_packets(data):
    at = 0
    sizes = []
    while len(data) - at >= 24 and len(data) - at >= 24 + int.from_bytes(data[at + 8:at + 12], "big"):
        sizes.append(24 + int.from_bytes(data[at + 8:at + 12], "big"))
        at += sizes[-1]
    return sizes, at == len(data)
def receive(connection, count):
    # So many replies, or all up to the end of the connection; without their CAS values.
    reply = b""
    while not (whole_packets(reply)[1] and len(whole_packets(reply)[0]) >= count):
        try:
            part = connection.recv(1 << 16)
        except ConnectionResetError:
            part = b""
        if not part:
            return reply + b"<closed>"
        reply += part
    at = 0
    for size in whole_packets(reply)[0]:
        reply = reply[:at + 16] + bytes(8) + reply[at + 24:]
        at += size
    return reply
def answers(port, user):
    found = []
    for requests in conversations(user):
        connection = socket.create_connection((sys.argv[1], port), 10)
        for request in requests:
            try:
                connection.sendall(request)
            except OSError:
                pass
            found.append((request, receive(connection, len(whole_packets(request)[0]))))
        connection.close()
    return found
wrong = 0
for (request, reference), (_, subject) in zip(answers(11300, sys.argv[3].encode()), answers(11211, b"default")):
    if reference != subject:
        print(request, reference, subject, sep="\n  ")
        wrong += 1
print("ok" if wrong == 0 else "%d differ" % wrong)
"""


def test_sasl_as_memcached(fleet, tmp_path):
    appliance = fleet.start("socket", "--requirepass secret")
    (tmp_path / "memcached.conf").write_text(f"mech_list: plain\nsasldb_path: {tmp_path}/users\n")
    realm = socket.gethostname()
    run("saslpasswd2", "-p", "-c", "-a", "memcached", "-u", realm, "-f", tmp_path / "users", "default", input="secret")
    with peer_server(appliance.namespace, "memcached", "-u", "root", "-l", "127.0.0.1", "-p", "11300", "-U", "0", "-S",
                     port=11300, env={**os.environ, "SASL_CONF_PATH": str(tmp_path)}):
        found = appliance.client(SASL, ROOT / "tests/differential", f"default@{realm}")
        assert found.strip() == "ok", found


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
from memcached_binary_differential import (packet, flags_and_expiry, count, SET, SETQ, APPEND, PREPENDQ, DELETE, DELETEQ, INCR, INCRQ,
                                           REPLACE, TOUCH, GAT, FLUSH)
host = sys.argv[1]
packets = [packet(SET, b'a', flags_and_expiry(9), b'torn'), packet(APPEND, b'a', value=b'torn'), packet(DELETE, b'a'),
           packet(INCR, b'n', count()), packet(REPLACE, b'a', flags_and_expiry(9), b'torn'),
           packet(SETQ, b'a', flags_and_expiry(9), b'torn'), packet(PREPENDQ, b'a', value=b'torn'), packet(DELETEQ, b'a'),
           packet(INCRQ, b'n', count()), packet(TOUCH, b'a', b'\xff\xff\xff\xff'), packet(GAT, b'a', b'\xff\xff\xff\xff'), packet(FLUSH),
           b'set a 9 0 4\r\ntorn\r\n', b'append a 0 0 4\r\ntorn\r\n', b'incr n 1\r\n', b'delete a\r\n', b'touch a -1\r\n',
           b'gat -1 a n\r\n', b'cas a 9 0 4 1\r\ntorn\r\n', b'set a 9 0 4 noreply\r\ntorn\r\n', b'flush_all\r\n',
           b'ms a 4 F9 T100 c k\r\ntorn\r\n', b'ms YQ== 4 b q\r\ntorn\r\n', b'ms a 4 MA\r\ntorn\r\n', b'ms a 4 MP I C1\r\ntorn\r\n',
           b'md a q\r\n', b'md a x I T0\r\n', b'ma n D7 MD q\r\n', b'mg a v T-1 q\r\n', b'mg a t N30 R100000 k\r\n']
from pymemcache.client.base import Client
witness = Client((host, 11211))
keys = {'key%d' % i: b'value %d' % i for i in range(60)} | {'a': b'whole', 'n': b'10'}
witness.set_many(keys, noreply=False)
def is_over():
    # The connection that was aborted is gone: whatever was to become of its request has.
    while int(witness.stats()[b'curr_connections']) > 1: pass
large = b'L' * 300000
for number, data in enumerate(packets):
    for size in range(1, len(data)):
        s = socket.create_connection((host, 11211))
        if size % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.sendall(data[:size])
        s.close()
        is_over()
        assert witness.get_many(keys) == keys, (number, size)
# Large values, cut off while they arrive.
witness.set('big', large, noreply=False)
for part in (1, 1000, 16384, 16385, 100000, 299999):
    for head in (packet(SET, b'big', flags_and_expiry(), body_bytes=8 + 3 + 300000)[:24] + flags_and_expiry() + b'big',
                 b'set big 0 0 300000\r\n', b'append big 0 0 300000\r\n', b'ms big 300000 c\r\n', b'ms big 300000 MA\r\n'):
        s = socket.create_connection((host, 11211))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.sendall(head + b'x' * part)
        s.close()
        is_over()
        assert witness.get('big') == large and witness.get_many(keys) == keys, (part, head)
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
for tag in range(20 * workers):    # whose is whose differs from start to start
    if len(owners) == workers and tag >= 3:
        break
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
