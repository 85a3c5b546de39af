"""What has 32 bits wraps, and clocks that jump (R40): a connection that carries more than sequence numbers can count, a
monotonic clock that passes 2^31 and 2^32 milliseconds, a wall clock that is set by a day. TIME=long makes it as large as
the risk table says (tests/stress/run.sh). The wraps of our own numbers and timestamps: tests/model/tcp_wrap_test.c."""
import json
import os
import threading
import time

import conftest
import pytest

LONG = os.environ.get("TIME") == "long"
SHIM = conftest.BINARY.parents[1] / "tests/support/libwall_clock_shift.so"

# ECHO of a million bytes of a pattern, again and again, each from another place; two requests are under way. A prime
# length: no shift by a whole request or window goes unnoticed.
CARRY = r"""
import random, socket, sys, threading
host, total, size, period = sys.argv[1], int(sys.argv[2]) << 20, 1000000, 1000003
pattern = random.Random(1).randbytes(period) * 2
s = socket.create_connection((host, 6379), timeout=60)
count, slots = -(-total // size), threading.Semaphore(2)

def piece(number):
    at = number * size % period
    return pattern[at:at + size]

def ask():
    for number in range(count):
        slots.acquire()
        s.sendall(b'*2\r\n$4\r\nECHO\r\n$%d\r\n' % size)
        s.sendall(piece(number))
        s.sendall(b'\r\n')

threading.Thread(target=ask, daemon=True).start()
reply, head = bytearray(size + 12), b'$%d\r\n' % size
for number in range(count):
    view, got = memoryview(reply)[:len(head) + size + 2], 0
    while got < len(view):
        more = s.recv_into(view[got:])
        assert more, 'ended after %d of %d' % (number, count)
        got += more
    assert bytes(view) == head + piece(number) + b'\r\n', 'other bytes in reply %d' % number
    slots.release()
print(count * size)
"""


@pytest.mark.skipif(not conftest.IS_ROOT, reason="needs root")
def test_one_connection_carries_much(fleet):
    appliance, megabytes, began = fleet.start("tap"), 5120 if LONG else 64, time.monotonic()
    carried = int(appliance.client(CARRY, megabytes, timeout=3600))
    print(f"{carried} bytes each way in {time.monotonic() - began:.1f} s")
    assert carried >= megabytes << 20
    assert carried > 1 << 32 or not LONG


# Connections that ask all the time, and new ones as well, and the slowest answer. With `life`, keys live for 300 ms. It
# ends after some seconds, or when there is a file of the last name.
WATCH = r"""
import json, os, socket, sys, threading, time
host, seconds, life, errors, slowest, served = sys.argv[1], float(sys.argv[2]), sys.argv[3], [], [], [0, 0]
request = b'SET k%d v' + (b' PX 300' if life else b'') + b'\r\nGET k%d\r\nPTTL k%d\r\n'
began = time.monotonic()

def goes_on():
    return time.monotonic() - began < seconds and not os.path.exists(sys.argv[4])

def talk(number, connection):
    try:
        with connection, connection.makefile('rwb') as stream:
            while goes_on():
                asked = time.monotonic()
                stream.write(request % ((number,) * 3))
                stream.flush()
                got = [stream.readline() for _ in range(4)]
                assert got[:3] == [b'+OK\r\n', b'$1\r\n', b'v\r\n'], got
                assert 0 < int(got[3][1:]) <= 300 if life else got[3] == b':-1\r\n', got
                slowest.append(time.monotonic() - asked)
                served[0] += 1
                time.sleep(0.005)
            time.sleep(0.4)
            stream.write(b'EXISTS k%d\r\n' % number)
            stream.flush()
            assert stream.readline() == (b':0\r\n' if life else b':1\r\n')
    except Exception as error:
        errors.append(repr(error))

threads = [threading.Thread(target=talk, args=(i, socket.create_connection((host, 6379), timeout=10))) for i in range(4)]
for thread in threads:
    thread.start()
while goes_on():
    asked = time.monotonic()
    with socket.create_connection((host, 6379), timeout=10) as new:
        new.sendall(b'PING\r\n')
        assert new.recv(100) == b'+PONG\r\n'
    slowest.append(time.monotonic() - asked)
    served[1] += 1
    time.sleep(0.005)
for thread in threads:
    thread.join()
assert not errors, errors
print(json.dumps({'requests': served[0], 'connections': served[1], 'slowest_ms': round(1000 * max(slowest))}))
"""


def busy_share(process, seconds=1):
    used = conftest.processor_seconds(process)
    time.sleep(seconds)
    return (conftest.processor_seconds(process) - used) / seconds


MOMENTS = {"2^31 us": 2**31 / 1e6, "2^32 us": 2**32 / 1e6, "2^31 ms": 2**31 / 1e3, "2^32 ms": 2**32 / 1e3}


@pytest.mark.skipif(not conftest.IS_ROOT, reason="needs root")
@pytest.mark.parametrize("driver", ["tap", "socket"] if LONG else ["tap"])
@pytest.mark.parametrize("moment", MOMENTS if LONG else ["2^32 ms"])
def test_monotonic_clock_passes(fleet, driver, moment):
    """The program starts in a time namespace whose clock is three seconds before the moment."""
    offset = int(MOMENTS[moment] - 3 - time.monotonic())
    appliance = fleet.start(driver, prefix=["unshare", "--time", "--monotonic", offset])
    with open(f"/proc/{appliance.process.pid}/timens_offsets") as file:
        assert f"{offset}" in file.readline()
    assert time.monotonic() + offset < MOMENTS[moment]
    seconds = MOMENTS[moment] - time.monotonic() - offset + 1.5
    print(driver, moment, appliance.client(WATCH, seconds, "life", "never").strip())
    assert time.monotonic() + offset > MOMENTS[moment] + 1
    assert busy_share(appliance.process) < 0.3


JUMP = r"""
import sys, time
import redis
from pymemcache.client.base import Client
host, path, day = sys.argv[1], sys.argv[2], 86400
r, m = redis.Redis(host=host, socket_timeout=10), Client((host, 11211), timeout=10, default_noreply=False)

def shift(seconds):
    with open(path, 'r+b', buffering=0) as file:
        file.write(seconds.to_bytes(8, sys.byteorder, signed=True))
    time.sleep(0.3)  # workers that sleep look at the clock again when they wake

def ahead():
    return r.time()[0] - time.time()

def fill(suffix):
    with r.pipeline(transaction=False) as pipeline:
        for i in range(5000):
            pipeline.set('short%d' % i, 'v', ex=1000)
        pipeline.execute()
    r.set('long' + suffix, 'v', ex=3 * day)
    r.set('ever' + suffix, 'v')
    m.set('short_m' + suffix, 'v', expire=1000)
    m.set('ever_m' + suffix, 'v')

assert abs(ahead()) < 5
fill('1')
shift(day)
assert abs(ahead() - day) < 5
# What should have gone by then has gone; what lives longer has a day less.
assert r.get('short1') is None and r.mget('short77', 'short4999') == [None, None] and m.get('short_m1') is None
assert abs(r.ttl('long1') - 2 * day) < 5 and r.get('ever1') == b'v' and m.get('ever_m1') == b'v'
fill('2')
assert abs(r.ttl('short5') - 1000) < 5
shift(-day)
assert abs(ahead() + day) < 5
# Two days back: everything lives two days longer.
assert abs(r.ttl('short5') - 1000 - 2 * day) < 5 and abs(r.ttl('long2') - 5 * day) < 5
assert m.get('short_m2') == b'v' and r.get('ever2') == b'v' and r.info('server')['uptime_in_seconds'] == 0
fill('3')
assert abs(r.ttl('short5') - 1000) < 5
shift(0)
assert abs(ahead()) < 5
assert r.get('short5') is None and m.get('short_m3') is None and abs(r.ttl('long3') - 2 * day) < 5
print('ok')
"""


@pytest.mark.parametrize("driver, workers", [("tap", 1), ("socket", 2)])
def test_wall_clock_jumps(fleet, tmp_path, driver, workers):
    """A day forth, two back, one forth: times to live follow the wall clock, timers and connections do not."""
    shift = tmp_path / "shift"
    shift.write_bytes(bytes(8))
    appliance = fleet.start(driver, "--timeout 20", f"--workers {workers}",
                            prefix=["env", f"LD_PRELOAD={SHIM}", f"WALL_CLOCK_SHIFT={shift}"])
    said, over = [], tmp_path / "over"
    watch = threading.Thread(target=lambda: said.append(appliance.client(WATCH, 60, "", over, check=False)))
    watch.start()
    try:
        assert appliance.client(JUMP, shift).strip() == "ok"
    finally:
        over.touch()
        watch.join()
    print(driver, said[0].strip())
    watched = json.loads(said[0])
    assert watched["requests"] > 100 and watched["connections"] > 20 and watched["slowest_ms"] < 1000
    assert busy_share(appliance.process) < 0.3
