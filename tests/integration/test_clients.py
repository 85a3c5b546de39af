"""Ordinary clients with their defaults, over every driver: they must not notice whom they talk to."""

import pathlib

import pytest

from link_capture import LinkCapture

NODE_FOLDER = pathlib.Path(__file__).parent / "node"


def test_redis_cli(appliance):
    def cli(*words):
        return appliance.namespace.run("redis-cli", "-h", appliance.address, *words).stdout.strip()

    assert cli("ping") == "PONG"
    assert cli("set", "greeting", "hello") == "OK"
    assert cli("get", "greeting") == "hello"
    assert cli("-3", "hello").splitlines()[0].startswith("1# ") or "server" in cli("-3", "hello")
    assert cli("incr", "n") == "1"
    assert "WRONGTYPE" not in cli("type", "greeting")
    assert cli("nonsense").startswith("ERR unknown command")


REDIS_PY = """
import sys, redis, time
host = sys.argv[1]
for protocol in (2, 3):
    try:
        client = redis.Redis(host=host, protocol=protocol, client_name='me')
    except TypeError:
        client = redis.Redis(host=host, client_name='me')   # older redis-py speaks RESP2 only
    assert client.ping()
    client.flushall()
    assert client.set('k', b'v' * 1000) and client.get('k') == b'v' * 1000
    assert client.set('t', 1, ex=100) and 99 <= client.ttl('t') <= 100
    pipe = client.pipeline(transaction=False)
    for i in range(1000):
        pipe.set(f'key:{i}', i)
        pipe.get(f'key:{i}')
    replies = pipe.execute()
    assert replies[0::2] == [True] * 1000
    assert replies[1::2] == [str(i).encode() for i in range(1000)]
    assert client.mget('key:1', 'none', 'key:3') == [b'1', None, b'3']
    assert client.dbsize() == 1002
    assert sorted(client.scan_iter('key:*', count=50)) == sorted(f'key:{i}'.encode() for i in range(1000))
    assert client.client_getname() in ('me', b'me')
    assert [c for c in client.client_list() if c['name'] == 'me']
    assert client.config_get('maxmemory')['maxmemory'] == '0'
    assert client.info()['loading'] == 0
    try:
        client.incr('k')
        raise SystemExit('INCR of text went through')
    except redis.ResponseError as error:
        assert 'not an integer' in str(error)
    client.connection_pool.disconnect()      # and reconnects on its own
    assert client.ping()
    client.close()
print('ok')
"""


def test_redis_py(appliance):
    assert appliance.client(REDIS_PY).strip() == "ok"


PYMEMCACHE = """
import sys
from pymemcache.client.base import Client
client = Client((sys.argv[1], 11211))
assert client.set('a', b'1', noreply=False) and client.get('a') == b'1'
assert client.set_many({f'k{i}': str(i) for i in range(500)}, noreply=False) == []
assert client.get_many([f'k{i}' for i in range(500)]) == {f'k{i}': str(i).encode() for i in range(500)}
value, cas = client.gets('a')
assert client.cas('a', b'2', cas, noreply=False) is True
assert client.cas('a', b'3', cas, noreply=False) is False
assert client.cas('none', b'3', cas, noreply=False) is None
assert client.incr('a', 5, noreply=False) == 7 and client.decr('a', 10, noreply=False) == 0
assert client.append('a', b'x', noreply=False) and client.prepend('a', b'y', noreply=False)
assert client.add('a', b'', noreply=False) is False and client.replace('b', b'', noreply=False) is False
assert client.touch('a', 100, noreply=False) and client.delete('a', noreply=False)
assert client.get('a') is None
for i in range(1000):
    client.set('quiet', str(i), noreply=True)
assert client.get('quiet') == b'999'
assert int(client.stats()[b'curr_items']) >= 500
assert client.version()
client.flush_all(noreply=False)
assert client.get('k1') is None
client.quit()
print('ok')
"""


def test_pymemcache(appliance):
    assert appliance.client(PYMEMCACHE).strip() == "ok"


BOTH = """
import sys, redis
from pymemcache.client.base import Client
r, m = redis.Redis(host=sys.argv[1]), Client((sys.argv[1], 11211))
m.set('from-memcached', b'abc', noreply=False)
assert r.get('from-memcached') == b'abc'
r.set('from-redis', 12345)
assert m.get('from-redis') == b'12345'
assert m.incr('from-redis', 1, noreply=False) == 12346 and r.get('from-redis') == b'12346'
r.set('large', b'x' * 300000)
assert m.get('large') == b'x' * 300000
m.delete('from-redis', noreply=False)
assert r.exists('from-redis') == 0
print('ok')
"""


def test_one_key_space(appliance):
    assert appliance.client(BOTH).strip() == "ok"


@pytest.fixture(scope="session")
def node_modules():
    if not (NODE_FOLDER / "node_modules").is_dir():
        pytest.fail(f"'./test install', or 'npm ci' in {NODE_FOLDER}, brings the clients")
    return NODE_FOLDER


def test_node_clients(appliance, node_modules):
    output = appliance.namespace.run("node", "--throw-deprecation", "clients.js", appliance.address,
                                     cwd=node_modules).stdout
    assert output.strip() == "ok", output


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark(appliance, pipeline):
    requests = 50000 if pipeline == 1 else 200000
    output = appliance.namespace.run(
        "redis-benchmark", "-h", appliance.address, "-t", "ping,set,get,incr,mset", "-n", requests,
        "-c", 50, "-P", pipeline, "-q", timeout=300).stdout
    assert "rror" not in output, output
    assert output.count("requests per second") >= 6, output


def test_a_clean_link_shows_no_trouble(fleet, tmp_path):
    """tshark must find nothing malformed, retransmitted or reset between us and the kernel."""
    appliance = fleet.start("tap")
    with LinkCapture(appliance.namespace, "tap0", tmp_path / "link.pcapng") as link:
        appliance.namespace.run("redis-benchmark", "-h", appliance.address, "-t", "set,get", "-n", 5000,
                                "-c", 20, "-q")
        assert appliance.client(PYMEMCACHE).strip() == "ok"
        assert appliance.client(REDIS_PY).strip() == "ok"
    link.assert_no_trouble()
