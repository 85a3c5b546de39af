"""Clients that begin and do not finish, that ask and do not read, while others are served (R12, R25, R53): in short
form; SLOW_FACTOR and SLOW_SECONDS make it long (tests/stress/run.sh)."""
import os

import pytest

FACTOR = int(os.environ.get("SLOW_FACTOR", "1"))
SECONDS = int(os.environ.get("SLOW_SECONDS", "2"))
DRIVERS = ["socket", "tap"]

COMMON = r"""
import multiprocessing, os, resource, select, socket, sys, time
import redis
host, factor, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
admin = redis.Redis(host=host, socket_timeout=30)

def probe(stopping, results):
    client, times = redis.Redis(host=host, socket_timeout=30), []
    while not stopping.is_set() or len(times) < 5:
        began = time.monotonic()
        assert client.set('probe', 'x') and client.get('probe') == b'x'
        times.append(time.monotonic() - began)
        probing.set()
        time.sleep(0.01)
    results.put(times)

probing, stopping, results = multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Queue()
prober = multiprocessing.Process(target=probe, args=(stopping, results), daemon=True)
prober.start()
assert probing.wait(60)  # it is connected before others need a password

def open_many(count, receive_buffer=None):
    opened = []
    for _ in range(count):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(60)
        s.connect((host, 6379))
        opened.append(s)
    return opened

def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

def used():
    for line in open('/proc/%s/status' % sys.argv[4]):
        if line.startswith('VmRSS'):
            return int(line.split()[1]) * 1024

def held():
    return admin.info('everything')['client_memory_bytes']

def finish():
    stopping.set()
    times = sorted(results.get(timeout=60))
    assert times[len(times) // 2] < 0.5, (len(times), times[-1])
    print('ok')

def read_exactly(s, size):
    data = bytearray()
    while len(data) < size:
        piece = s.recv(min(1 << 20, size - len(data)))
        assert piece, 'ended after %d of %d bytes' % (len(data), size)
        data += piece
    return bytes(data)
"""

# Half requests of clients that need not log in; of those that should half an AUTH, bytes of a line, and nothing at all. A
# byte now and then, two or three before their time is over.
HALF_REQUESTS = COMMON + r"""
admin.config_set('request-timeout', seconds)
began, each = time.monotonic(), 125 * factor
free = open_many(each)
for s in free:
    s.sendall(b'PING\r\n')
    assert read_exactly(s, 7) == b'+PONG\r\n'
admin.config_set('requirepass', 'secret')
logins, lines, silent = open_many(each), open_many(each), open_many(each)
for s in free:
    s.sendall(b'*2\r\n$4\r\nECHO\r\n$1000\r\n')
for s in logins:
    s.sendall(b'*2\r\n$4\r\nAUTH\r\n$1000\r\n')
sockets = free + logins + lines + silent
opened = time.monotonic()
poller, next_byte = select.poll(), opened + seconds / 3
byfd = {s.fileno(): s for s in sockets}
for fd in byfd:
    poller.register(fd, select.POLLIN | select.POLLHUP | select.POLLERR)
dropped = []
while byfd and time.monotonic() < opened + 2 * seconds + 10:
    for fd, _ in poller.poll(200):
        try:
            data = byfd[fd].recv(100)
        except OSError:
            data = b''
        assert data == b''
        dropped.append(time.monotonic())
        poller.unregister(fd)
        byfd.pop(fd).close()
    if time.monotonic() >= next_byte:  # which is no progress
        next_byte += seconds / 3
        for s in set(byfd.values()) - set(silent):
            try:
                s.send(b'x')
            except OSError:
                pass
assert not byfd, len(byfd)
assert dropped[0] - began >= seconds * 0.9 and dropped[-1] - opened < seconds * 1.1 + 1.5, (
    dropped[0] - began, dropped[-1] - opened)
assert admin.info('everything')['request_timeouts'] >= 500 * factor
finish()
"""

# Replies that nobody reads: each client is stopped at about a megabyte, all of them at maxmemory-clients. Every other
# one asks for few.
UNREAD = COMMON + r"""
long = factor > 1
clients, requests, size, read = (64, 1000000, 10 << 20, 5) if long else (16, 20000, 1 << 10, 2000)
value = bytes(range(256)) * (size // 256)
admin.config_set('maxmemory-clients', 1 << 40)
admin.set('k', value)
reply = b'$%d\r\n' % size + value + b'\r\n'
def sizes():
    return {c['addr']: int(c['tot-mem']) for c in admin.client_list() if c['addr'] in ours}
def settled():
    # What each of them holds, once it stays so.
    seen = [None, sizes()]
    def stays():
        time.sleep(0.5)
        seen.append(sizes())
        return seen[-1] == seen[-2]
    wait_for(stays)
    return seen[-1]
before = used()
sockets = open_many(clients, 16384)
ours = {'%s:%d' % s.getsockname() for s in sockets}
for number, s in enumerate(sockets):
    s.setblocking(False)
    many = number % 2 == 0
    left = b'GET k\r\n' * (requests if many else requests // 100)
    while left:
        _, ready, _ = select.select([], [s], [], 0.5)
        if not ready:
            break
        left = left[s.send(left[:65536]):]
    assert left or not (many and long), 'all requests were taken'
    s.setblocking(True)
settled()
grown = used() - before
assert grown < clients * (4 << 20), grown
unread = [c for c in admin.client_list() if c['omem'] != '0']
assert unread and all(int(c['omem']) < (1 << 20) + max(1 << 20, len(reply)) for c in unread), unread
# Whoever reads after all gets every reply whole.
for s in sockets[:4:2]:
    for _ in range(read):
        assert read_exactly(s, len(reply)) == reply
# Half of what they hold is allowed: the largest go, until it is enough.
before, limit = settled(), held() // 2
admin.config_set('maxmemory-clients', limit)
def is_enough():
    # While one is on its way out less seems to be held than is.
    evicted = admin.info('stats')['evicted_clients']
    time.sleep(0.5)
    return held() <= limit and admin.info('stats')['evicted_clients'] == evicted
wait_for(is_enough)
left = sizes()
gone = [size for address, size in before.items() if address not in left]
assert len(gone) == admin.info('stats')['evicted_clients'] and 0 < len(gone) < clients, (len(gone), before)
assert min(gone) + (64 << 10) >= max(left.values()), (gone, left)
finish()
"""

# While the replies wait, their keys are overwritten and deleted: each reply is one version, whole.
CHANGED = COMMON + r"""
import random
sizes = [100, 5000, 20000, 300000]
def make(version, size):
    return (b'%08d' % version) * (size // 8)
for version, size in enumerate(sizes):
    admin.set('k%d' % size, make(version, size))
sockets = open_many(32, 32768)
for s in sockets:
    s.sendall(b''.join(b'GET k%d\r\n' % size for size in sizes * 2))
end, version = time.monotonic() + seconds, 100
while time.monotonic() < end:
    for size in sizes:
        if version % 3 == 0:
            admin.delete('k%d' % size)
        admin.set('k%d' % size, make(version, size))
        version += 1
for s in sockets:
    for size in sizes * 2:
        header = b''
        while not header.endswith(b'\r\n'):
            header += read_exactly(s, 1)
        assert header in (b'$%d\r\n' % (size // 8 * 8), b'$-1\r\n'), header
        if header != b'$-1\r\n':
            text = read_exactly(s, size // 8 * 8 + 2)
            assert text == text[:8] * (size // 8) + b'\r\n', 'two versions in one reply'
    s.close()
finish()
"""

# Values that are announced and never come, each larger than what came before: the largest client goes, not the memory.
FLOOD = COMMON + r"""
clients, sockets = 8 * factor, []
def large():
    return [c for c in admin.client_list() if int(c['tot-mem']) > 500 << 20]
def one_stays(gone):
    return admin.info('stats')['evicted_clients'] == gone and 500 << 20 <= held() <= 1 << 30 and len(large()) == 1
admin.config_set('maxmemory-clients', 1 << 30)
kept = open_many(1)[0]
kept.sendall(b'*3\r\n$3\r\nSET\r\n$4\r\nkept\r\n$%d\r\n' % (64 << 20))
before = used()
for i in range(clients):
    s = open_many(1)[0]
    try:
        s.sendall(b'*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$%d\r\n' % (512 << 20) + bytes(1 << 20))
    except OSError:
        pass  # of several workers the one that sees it first drops its largest: this client, perhaps
    wait_for(lambda: one_stays(gone=i))
    sockets.append(s)
assert int(large()[0]['argv-mem']) >= 512 << 20, large()
assert used() - before < 700 << 20, used() - before
value = bytes(1 << 20)
for _ in range(64):
    kept.sendall(value)
kept.sendall(b'\r\n')
assert read_exactly(kept, 5) == b'+OK\r\n' and admin.strlen('kept') == 64 << 20
finish()
"""

# Each client holds a version of its own of one value: the largest go, not the memory.
VERSIONS = COMMON + r"""
clients, size = 16 * factor, 10 << 20
admin.execute_command('CLIENT', 'NO-EVICT', 'ON')  # what it sends is as large
admin.config_set('maxmemory-clients', 4 * size)
sockets = []
for i in range(clients):
    admin.set('k', b'%08d' % i * (size // 8))
    s = open_many(1, 16384)[0]
    s.sendall(b'GET k\r\n')
    sockets.append(s)
    try:
        assert s.recv(3) in (b'$10', b'')
    except ConnectionResetError:
        pass  # it is the largest, where its worker looks only now
def kept():
    return admin.info('everything')['store_kept_bytes']
admin.delete('k')
wait_for(lambda: 2 * size <= kept() <= 4 * size)
assert clients - 4 <= admin.info('stats')['evicted_clients'] <= clients - 2
admin.config_set('maxmemory-clients', 0)
wait_for(lambda: len(admin.client_list()) < 8)
whole = 0
for s in sockets:
    try:
        text = read_exactly(s, len('485760\r\n') + size + 2)
    except (AssertionError, ConnectionResetError):
        continue
    assert text[8:-2] == text[8:16] * (size // 8)
    whole += 1
assert 2 <= whole <= 4, whole
wait_for(lambda: kept() == 0)
finish()
"""

# One reply too many, one that is too long for too long, and a limit that comes later.
OUTPUT = COMMON + r"""
def ended():
    return admin.info('stats')['client_output_buffer_limit_disconnections']
def ask(command=b'GET k\r\n', receive_buffer=16384):
    s = open_many(1, receive_buffer)[0]
    s.sendall(command)
    return s
def is_closed(s, most=(32 << 20) - 1):
    try:
        while piece := len(s.recv(1 << 20)):
            most -= piece
    except ConnectionResetError:
        pass
    return most >= 0
limit = 'normal %d %d %d slave 268435456 67108864 60 pubsub 33554432 8388608 60'
assert admin.config_get('client-output-buffer-limit') == {
    'client-output-buffer-limit': limit % (256 << 20, 64 << 20, 60)}
admin.setrange('k', (32 << 20) - 1, 'x')
reply = b'$%d\r\n' % (32 << 20)
# At once, and nothing of it is sent; who asks for less is served.
admin.config_set('client-output-buffer-limit', 'normal 32mb 0 0')
before = ended()
hard = ask(b'GET k\r\nSET never 1\r\n')
assert is_closed(hard, 0)
assert ended() == before + 1 and admin.exists('never') == 0 and admin.strlen('k') == 32 << 20
# Too long: who reads in time goes on.
admin.config_set('client-output-buffer-limit', 'normal 0 8mb 3')
slow, steady = ask(), ask(receive_buffer=4 << 20)
assert read_exactly(steady, len(reply) + (32 << 20) + 2).startswith(reply)
began = time.monotonic()
wait_for(lambda: ended() == before + 2)
assert time.monotonic() - began < 10
assert is_closed(slow)
steady.sendall(b'PING\r\n')
assert steady.recv(100) == b'+PONG\r\n'
# A new limit holds for what waits already.
admin.config_set('client-output-buffer-limit', 'normal 0 0 0')
slow = ask()
wait_for(lambda: any(int(c['omem']) > 8 << 20 for c in admin.client_list()))
admin.config_set('client-output-buffer-limit', 'normal 8mb 0 0')
wait_for(lambda: ended() == before + 3)
assert is_closed(slow)
finish()
"""


def run(fleet, driver, script, *directives):
    appliance = fleet.start(driver, *directives)
    # The process behind `ip netns exec` is the same one: it executes in place.
    done = appliance.client(script, FACTOR, SECONDS, appliance.process.pid)
    assert done.strip() == "ok", done
    return appliance


@pytest.mark.parametrize("driver", DRIVERS)
def test_half_requests_are_dropped(fleet, driver):  # R12
    run(fleet, driver, HALF_REQUESTS, "--maxclients 12000")


@pytest.mark.parametrize("driver", DRIVERS)
def test_replies_that_nobody_reads(fleet, driver):  # R12, R25
    run(fleet, driver, UNREAD)


@pytest.mark.parametrize("driver", DRIVERS)
def test_values_change_while_replies_wait(fleet, driver):  # R53
    run(fleet, driver, CHANGED)


@pytest.mark.parametrize("driver, workers", [("socket", 1), ("tap", 2)])
def test_announced_values(fleet, driver, workers):
    run(fleet, driver, FLOOD, f"--workers {workers}")


@pytest.mark.parametrize("driver, workers", [("socket", 1), ("tap", 2)])
def test_versions_of_a_value(fleet, driver, workers):  # R12, R53
    run(fleet, driver, VERSIONS, f"--workers {workers}")


@pytest.mark.parametrize("driver, workers", [("socket", 1), ("tap", 2)])
def test_limits_on_output(fleet, driver, workers):  # R25
    appliance = run(fleet, driver, OUTPUT, f"--workers {workers}")
    lines = [line for line in appliance.output().splitlines() if "overcoming of output buffer limits" in line]
    assert 1 <= len(lines) <= 3 and "cmd=get" in lines[0] and "omem=33554" in lines[0], lines
