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
        time.sleep(0.01)
    results.put(times)

stopping, results = multiprocessing.Event(), multiprocessing.Queue()
prober = multiprocessing.Process(target=probe, args=(stopping, results), daemon=True)
prober.start()

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

HALF_REQUESTS = COMMON + r"""
admin.config_set('request-timeout', seconds)
began, sockets = time.monotonic(), open_many(500 * factor)
for s in sockets:
    s.send(b'*2\r\n$4\r\nECHO\r\n$1000\r\n')
poller, ended = select.poll(), 0
byfd = {s.fileno(): s for s in sockets}
for fd in byfd:
    poller.register(fd, select.POLLIN | select.POLLHUP | select.POLLERR)
dropped_first = None
while byfd and time.monotonic() - began < 3 * seconds + 30:
    for fd, _ in poller.poll(200):
        try:
            data = byfd[fd].recv(100)
        except OSError:
            data = b''
        assert data == b''
        dropped_first = dropped_first or time.monotonic()
        poller.unregister(fd)
        byfd.pop(fd).close()
    for s in byfd.values():  # a byte now and then is no progress
        try:
            s.send(b'x')
        except OSError:
            pass
assert not byfd, len(byfd)
assert dropped_first - began >= seconds * 0.9
assert admin.info('everything')['request_timeouts'] >= 500 * factor
finish()
"""

# Replies that nobody reads: each client is stopped at about a megabyte, all of them at maxmemory-clients.
UNREAD = COMMON + r"""
long = factor > 1
clients, requests, size, read = (64, 1000000, 1 << 20, 50) if long else (16, 20000, 1 << 10, 2000)
value = bytes(range(256)) * (size // 256)
admin.config_set('maxmemory-clients', 1 << 40)
admin.set('k', value)
reply = b'$%d\r\n' % size + value + b'\r\n'
def used():
    for line in open('/proc/%s/status' % sys.argv[4]):
        if line.startswith('VmRSS'):
            return int(line.split()[1]) * 1024
before = used()
sockets = open_many(clients, 16384)
for s in sockets:
    s.setblocking(False)
    left = b'GET k\r\n' * requests
    while left:
        _, ready, _ = select.select([], [s], [], 0.5)
        if not ready:
            break
        left = left[s.send(left[:65536]):]
    assert left or not long, 'all requests were taken'
    s.setblocking(True)
grown = used() - before
assert grown < clients * (4 << 20), grown
unread = [c for c in admin.client_list() if c['omem'] != '0']
assert unread and all(int(c['omem']) < (1 << 20) + max(1 << 20, len(reply)) for c in unread), unread
# Whoever reads after all gets every reply whole.
for s in sockets[:2]:
    for _ in range(read):
        assert read_exactly(s, len(reply)) == reply
before = admin.info('stats')['evicted_clients']
admin.config_set('maxmemory-clients', 4 << 20)
deadline = time.monotonic() + 20
while admin.info('stats')['evicted_clients'] - before < 4 and time.monotonic() < deadline:
    time.sleep(0.05)
assert 4 <= admin.info('stats')['evicted_clients'] - before <= clients
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

def run(fleet, driver, script, *directives):
    appliance = fleet.start(driver, *directives)
    # The process behind `ip netns exec` is the same one: it executes in place.
    done = appliance.client(script, FACTOR, SECONDS, appliance.process.pid)
    assert done.strip() == "ok", done


@pytest.mark.parametrize("driver", DRIVERS)
def test_half_requests_are_dropped(fleet, driver):  # R12
    run(fleet, driver, HALF_REQUESTS, "--maxclients 12000")


@pytest.mark.parametrize("driver", DRIVERS)
def test_replies_that_nobody_reads(fleet, driver):  # R12, R25
    run(fleet, driver, UNREAD)


@pytest.mark.parametrize("driver", DRIVERS)
def test_values_change_while_replies_wait(fleet, driver):  # R53
    run(fleet, driver, CHANGED)
