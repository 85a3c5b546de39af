"""Large values, whole and by many clients at once."""

import pytest

LARGE = """
import hashlib, random, sys, threading, redis
host, size, clients = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
problems = []

def work(number):
    try:
        value = random.Random(number).randbytes(size)
        client = redis.Redis(host=host, socket_timeout=240)
        key = f'large:{number}'
        assert client.set(key, value)
        assert client.strlen(key) == size
        got = client.get(key)
        assert got == value, f'{len(got)} bytes came back, not {size} the same'
        assert client.getrange(key, size - 100, -1) == value[-100:]
        assert client.delete(key) == 1
        client.close()
    except BaseException as problem:
        problems.append(f'{number}: {problem!r}'[:300])

threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
[t.start() for t in threads]
[t.join() for t in threads]
print(problems or 'ok')
"""


@pytest.mark.parametrize("driver", ["socket", "tap", "af_packet", "af_xdp"])
def test_ten_megabytes(fleet, driver):
    appliance = fleet.start(driver)
    assert appliance.client(LARGE, 10_000_000, 3).strip() == "ok"


def test_a_hundred_megabytes_by_ten_clients_over_tap(fleet):
    appliance = fleet.start("tap")
    assert appliance.client(LARGE, 100_000_000, 10, timeout=600).strip() == "ok"


OVER = """
import sys, time, redis
host = sys.argv[1]
client = redis.Redis(host=host)
client.set('kept', 'value')
for size in (100_000_000, 1_000_000):
    refused = 0
    for i in range(80_000_000 // size + 1):
        try:
            client.set(f'k{size}:{i}', b'x' * size)
        except redis.ResponseError as error:
            assert str(error).startswith('command not allowed when used memory') or 'OOM' in str(error), error
            refused += 1
    assert refused > 0, size
    assert client.get('kept') == b'value'
    assert client.info('memory')['used_memory'] <= 64 << 20
client.flushall()
assert client.set('again', b'x' * 1_000_000)
client.flushall()
# Overwriting needs room for the old and the new value for a moment: it waits, it does not fail.
for i in range(58):
    assert client.set(f'steady:{i}', b'a' * 1_000_000)
for i in range(400):
    assert client.set(f'steady:{i % 58}', b'b' * 1_000_000)
pipe = client.pipeline(transaction=False)
for i in range(200000):
    pipe.set('small', i)
assert all(pipe.execute())
assert client.info('memory')['used_memory'] <= 64 << 20
print('ok')
"""


def test_maxmemory_is_a_limit_not_an_end(fleet):
    appliance = fleet.start("socket", "--maxmemory 64mb")
    assert appliance.client(OVER).strip() == "ok"


SLOW_READER = """
import socket, sys, time
host = sys.argv[1]
s = socket.create_connection((host, 6379))
s.sendall(b'SET big ' + b'x' * 60000 + b'\\r\\n')
assert s.recv(100) == b'+OK\\r\\n'
s.settimeout(5)
request, asked = b'GET big\\r\\n' * 1000, 0
try:
    while asked < 400:            # 24 GB of replies, were they all queued
        s.sendall(request)
        asked += 1
except socket.timeout:
    pass
assert asked < 400, 'nothing stopped us'
other = socket.create_connection((host, 6379))
other.sendall(b'INFO memory\\r\\nPING\\r\\n')
text = ''
while not text.endswith('+PONG\\r\\n'):
    text += other.recv(65536).decode()
used = int(text.split('used_memory_rss:')[1].split()[0])
assert used < 3 << 30, used
s.settimeout(60)
expected = b'$60000\\r\\n' + b'x' * 60000 + b'\\r\\n'
buffer = b''
for i in range(2000):
    while len(buffer) < len(expected):
        buffer += s.recv(1 << 20)
    assert buffer[:len(expected)] == expected, i
    buffer = buffer[len(expected):]
print('ok')
"""


@pytest.mark.parametrize("driver", ["socket", "tap"])
def test_a_slow_reader_is_not_served_further(fleet, driver):
    appliance = fleet.start(driver)
    assert appliance.client(SLOW_READER).strip() == "ok"
