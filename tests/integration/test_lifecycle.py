"""Starting, stopping, refusing: what an operator sees."""

import glob
import os
import pathlib
import signal
import subprocess
import time

import pytest

from conftest import BINARY, IS_ROOT, ROOT, STACK_ADDRESS, run


def nicached(*words, timeout=20):
    return run(BINARY, *words, check=False, timeout=timeout)


def test_help_and_version():
    text = nicached("--help")
    assert text.returncode == 0 and "--check" in text.stdout and "interface" in text.stdout
    assert nicached("--version").stdout.startswith("nicached")


def test_check_says_what_is_wrong(tmp_path):
    good = tmp_path / "good.conf"
    good.write_text("interface lo0 socket 127.0.0.1\nmaxmemory 100mb\n")
    assert nicached("--check", good).returncode == 0
    for line, words in (("prot 6379", "prot"), ("port 70000", "65535"), ("maxmemory 10zz", "maxmemory"),
                        ("interface x", "interface"), ("poll-mode fast", "adaptive")):
        bad = tmp_path / "bad.conf"
        bad.write_text("# a comment\n" + line + "\n")
        result = nicached("--check", bad)
        message = result.stdout.strip()
        assert result.returncode == 1, line
        assert len(message.splitlines()) == 1, message
        assert "bad.conf" in message and "2" in message and words in message, message


def test_a_wrong_command_line_ends_with_one_line():
    result = nicached("--prt", "1")
    assert result.returncode == 1 and len(result.stdout.strip().splitlines()) == 1, result.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("driver", ["socket", "tap", "af_packet"])
def test_stops_cleanly(fleet, driver, how):
    appliance = fleet.start(driver)
    namespace = appliance.namespace
    # Clients in the middle of something do not hold it up.
    idle = namespace.popen("/usr/bin/python3", "-c",
                           "import socket,sys,time\n"
                           f"s=socket.create_connection(('{appliance.address}',6379));"
                           "s.sendall(b'*2\\r\\n$3\\r\\nGET');print('up',flush=True);time.sleep(20)",
                           stdout=subprocess.PIPE, text=True)
    assert idle.stdout.readline() == "up\n"
    start = time.monotonic()
    appliance.stop(how)
    assert time.monotonic() - start < 5
    idle.kill()
    idle.wait()
    if IS_ROOT:
        assert "tap0" not in namespace.run("ip", "link").stdout
    # And can start again at once on the same addresses.
    if driver == "socket":
        fleet.start(driver, namespace=namespace)


def test_shutdown_command(fleet):
    appliance = fleet.start("socket")
    appliance.namespace.run("redis-cli", "-h", appliance.address, "shutdown", check=False)
    appliance.process.wait(timeout=10)
    assert appliance.process.returncode == 0


def test_leaves_nothing_behind(fleet):
    if not IS_ROOT:
        pytest.skip("needs root")
    def traces():
        # All instances share DPDK's folder, and each removes it when it ends: only what is in it is somebody's.
        places = ("/dev/hugepages/*", "/var/run/dpdk/*/*", "/tmp/nicached*", "/tmp/rte*", "/tmp/dpdk*", "/dev/shm/*",
                  "/run/nicached/*")
        return {path for place in places for path in glob.glob(place)}

    before = traces()
    fleet.start("tap").stop()
    assert traces() <= before


def test_config_set_takes_effect_and_rewrite_keeps_it(fleet, tmp_path):
    appliance = fleet.start("socket")
    cli = lambda *words: appliance.namespace.run("redis-cli", "-h", appliance.address, *words).stdout.strip()
    assert cli("config", "set", "maxmemory", "100mb", "timeout", "7") == "OK"
    assert cli("config", "get", "maxmemory").split() == ["maxmemory", str(100 << 20)]
    assert cli("config", "get", "timeout").split() == ["timeout", "7"]
    assert cli("config", "set", "maxmemory", "1mb", "timeout", "x").startswith("ERR CONFIG SET failed")
    assert cli("config", "get", "maxmemory").split() == ["maxmemory", str(100 << 20)]
    assert cli("config", "rewrite").startswith("ERR The server is running without a config file")
    assert cli("config", "set", "requirepass", "secret") == "OK"
    assert "NOAUTH" in cli("get", "k") or cli("get", "k") == ""
    assert cli("-a", "secret", "--no-auth-warning", "ping") == "PONG"


FILL_AND_WALK = """
import redis, sys
client = redis.Redis(host=sys.argv[1])
pipeline = client.pipeline(transaction=False)
for number in range(20000):
    pipeline.set("key:%08d" % number, number)
pipeline.execute()
assert len(set(client.scan_iter(count=1000))) == 20000
print(client.info("store")["store_index"], client.info("memory")["used_memory_index"])
"""


def test_the_index_is_chosen_at_the_start(fleet):
    """Either index serves; the smaller one shows in what twenty thousand keys cost."""
    sizes = {}
    for index in ("rte_hash", "buckets"):
        appliance = fleet.start("socket", f"--store-index {index}")
        cli = lambda *words: appliance.namespace.run("redis-cli", "-h", appliance.address, *words).stdout.strip()
        assert cli("config", "get", "store-index").split() == ["store-index", index]
        assert "immutable" in cli("config", "set", "store-index", "buckets")
        used, size = appliance.client(FILL_AND_WALK).split()
        assert used == index
        sizes[index] = int(size)
        appliance.stop()
    assert sizes["buckets"] < sizes["rte_hash"] / 2


def test_debug_sleep_delays_only_its_client(fleet):
    appliance = fleet.start("socket", "--enable-debug-command yes")
    source = """
import sys, time, redis
host = sys.argv[1]
a, b = redis.Redis(host=host), redis.Redis(host=host)
a.ping(), b.ping()
start = time.monotonic()
connection = a.connection_pool.get_connection('x')
connection.send_command('DEBUG', 'SLEEP', '2')
connection.send_command('PING')
assert b.ping() and not connection.can_read(timeout=0)
assert connection.read_response() == b'OK' and 1.95 < time.monotonic() - start < 4
assert connection.read_response() == b'PONG'
print('ok')
"""
    assert appliance.client(source).strip() == "ok"


def test_an_idle_appliance_sleeps(fleet):
    appliance = fleet.start("tap")
    pid = appliance.process.pid
    time.sleep(1)

    def cpu_ticks():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = cpu_ticks()
    time.sleep(2)
    used = (cpu_ticks() - before) / os.sysconf("SC_CLK_TCK") / 2
    assert used < 0.25, f"{used:.0%} of a core while idle"
    assert appliance.client("import redis,sys; print(redis.Redis(host=sys.argv[1]).ping())").strip() == "True"
