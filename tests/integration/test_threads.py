"""All threads busy at once: worker, reclaimer, control. Made for a binary built with ThreadSanitizer
(NICACHED_BINARY=build-tsan/control/nicached), whose findings end the process with an exit code that
the fixture does not accept; with any other it is a short stress."""

import pytest

BUSY = """
import sys, threading, time, redis
from pymemcache.client.base import Client
host = sys.argv[1]
problems = []

def work(number):
    redis_client, memcache_client = redis.Redis(host=host), Client((host, 11211), timeout=30)
    for i in range(40):
        key = f'{number}:{i}'
        redis_client.set(key, 'v' * (i * 1000))
        value = redis_client.get(key)          # None: another thread's FLUSHALL
        assert value is None or len(value) == i * 1000
        redis_client.append(key, 'x' * i)
        redis_client.expire(key, 1)
        memcache_client.set(f'm{key}', 'v' * (i * 500))
        memcache_client.get(f'm{key}')
        if i % 5 == 0:
            redis_client.config_set('maxmemory', 1_000_000_000 + i)
            redis_client.config_set('loglevel', ['notice', 'verbose'][i % 2])
            redis_client.info('all')
            memcache_client.stats()
        if i % 20 == 0:
            redis_client.flushall()
        if i % 10 == 0:
            pipeline = redis_client.pipeline(transaction=False)
            for j in range(2000):
                pipeline.set(f'{key}:{j}', j)
            pipeline.execute()
            redis_client.execute_command('DEBUG', 'SLEEP', '0.01')
            time.sleep(0.12)                     # longer than the worker stays awake

def guarded(number):
    try:
        work(number)
    except Exception as problem:
        problems.append(repr(problem))

threads = [threading.Thread(target=guarded, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not problems, problems
client = redis.Redis(host=host)
client.config_resetstat()
assert client.config_get('maxmemory')['maxmemory'].startswith('10000000')
if sys.argv[2] == 'shutdown':
    client.shutdown()
print('ok')
"""


@pytest.mark.parametrize("how", ["shutdown", "signal"])
def test_all_threads_busy(fleet, how):
    appliance = fleet.start("socket", "--enable-debug-command yes")
    assert appliance.client(BUSY, how).strip() == "ok"
    if how == "shutdown":
        assert appliance.process.wait(timeout=30) == 0
