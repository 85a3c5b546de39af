"""What a port can do to us: its link goes away and comes back, more comes in than its ring takes (R56); and a machine:
the process stands still (R41). OUTAGE_SECONDS makes the outages long (tests/stress/run.sh)."""
import json
import os
import re
import signal
import subprocess
import time

import conftest
import pytest

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "3"))

# Established connections with a request under way at any time, and new ones as often as one is served. A line of
# JSON for each time that its standard input says something.
LOAD = r"""
import json, select, socket, sys, threading, time
host, established = sys.argv[1], 8
done, errors, opened = [0] * established, [], []

def talk(number, connection):
    stream = connection.makefile('rwb')
    try:
        while True:
            value = b'%d:%d' % (number, done[number])
            stream.write(b'SET k%d %s\r\nGET k%d\r\n' % (number, value, number))
            stream.flush()
            got = stream.readline(), stream.readline(), stream.readline()
            assert got == (b'+OK\r\n', b'$%d\r\n' % len(value), value + b'\r\n'), got
            done[number] += 1
    except Exception as error:
        errors.append(repr(error))

def connect():
    while True:
        try:
            with socket.create_connection((host, 6379), timeout=0.4) as new:
                new.sendall(b'PING\r\n')
                assert new.recv(100) == b'+PONG\r\n'
                opened.append(time.monotonic())
        except OSError:
            pass
        time.sleep(0.02)

for number in range(established):
    threading.Thread(target=talk, args=(number, socket.create_connection((host, 6379))), daemon=True).start()
threading.Thread(target=connect, daemon=True).start()
for line in sys.stdin:
    print(json.dumps({'done': done, 'errors': errors, 'opened': opened[-1:], 'now': time.monotonic(),
                      'first': next((at for at in opened if at > float(line)), None)}), flush=True)
"""


class Load:
    def __init__(self, namespace, address):
        self.process = namespace.popen(conftest.PYTHON, "-c", LOAD, address, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)

    def ask(self, since=0):
        """`first`: when the first new connection after `since` was served."""
        self.process.stdin.write(f"{since}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def wait_for(self, condition, seconds, since=0):
        deadline = time.monotonic() + seconds
        while not condition(state := self.ask(since)):
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        return state

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_load():
    loads = []

    def start(namespace, address):
        loads.append(Load(namespace, address))
        loads[0].wait_for(lambda state: min(state["done"]) > 20 and state["opened"], 20)
        return loads[0]
    yield start
    for load in loads:
        load.close()


def net_text(namespace, address):
    return namespace.run("redis-cli", "-h", address, "info", "net").stdout


def link(namespace, address):
    state, changes = re.search(r"port0:.*,link=(\w+),link_changes=(\d+)", net_text(namespace, address)).groups()
    return state, int(changes)


def wait_for_link(namespace, address, patience_s=5):
    """A new veth is up, for its interface, when the kernel has looked at it: once a second."""
    end = time.monotonic() + patience_s
    while link(namespace, address)[0] != "up" and time.monotonic() < end:
        time.sleep(0.05)
    return link(namespace, address)


def info(namespace, address):
    text = net_text(namespace, address)
    return {name: int(value) for name, value in
            (line.split(":") for line in text.split() if ":" in line) if value.isdigit()}


# The near end is the one that nicached has opened; a TAP has only one.
@pytest.mark.parametrize("driver, end", [("tap", "tap0"), ("af_packet", "veth0"), ("af_packet", "veth1"),
                                         ("af_xdp", "veth0"), ("af_xdp", "veth1")])
def test_link_goes_and_comes_back(fleet, start_load, driver, end):
    peer = None if driver == "tap" else fleet.namespace()
    appliance = fleet.start(driver, peer=peer)
    client = peer or appliance.namespace
    owner = client if end == "veth0" else appliance.namespace
    near = "tap0" if driver == "tap" else "veth0"
    # An ARP request of the client's kernel that finds no link yet is repeated after a second, which is not ours to judge.
    client.run("sysctl", "-qw", f"net.ipv4.neigh.{near}.retrans_time_ms=100")
    load = start_load(client, appliance.address)
    port = "tap0" if driver == "tap" else "veth1"
    link_before = wait_for_link(client, appliance.address)
    assert link_before[0] == "up"
    told = appliance.output().count("link is ")
    owner.run("ip", "link", "set", end, "down")
    time.sleep(0.5)
    before, used = load.ask(), conftest.processor_seconds(appliance.process)
    time.sleep(SECONDS)
    away, used = load.ask(), (conftest.processor_seconds(appliance.process) - used) / SECONDS
    assert away["done"] == before["done"] and away["opened"] == before["opened"]
    assert f"interface '{port}': link is down" in appliance.output()
    owner.run("ip", "link", "set", end, "up")
    # The client's kernel looks at its link once a second at most.
    while client.run("cat", f"/sys/class/net/{near}/operstate").stdout.strip() == "down":
        time.sleep(0.01)
    back = time.monotonic()
    # New connections at once; a request that was under way when its sender tries again, which waits ever longer.
    new = load.wait_for(lambda state: state["first"], 10, since=back)
    state = load.wait_for(lambda state: all(a > b + 5 for a, b in zip(state["done"], away["done"])),
                          10 + 1.5 * SECONDS)
    print(driver, end, f"new after {new['first'] - back:.2f} s, all after {state['now'] - back:.2f} s, "
          f"{100 * used:.0f} % CPU meanwhile")
    assert not state["errors"]
    assert new["first"] - back < 1
    assert used < 0.3
    assert wait_for_link(client, appliance.address) == ("up", link_before[1] + 2)
    net = info(client, appliance.address)
    assert net["net_link_changes"] == link_before[1] + 2 and net["net_links_down"] == 0
    assert appliance.output().count(f"interface '{port}': link is ") == told + 2


@pytest.mark.parametrize("driver", ["tap", "af_packet", "socket"])
def test_process_stands_still(fleet, start_load, driver):  # R41
    appliance = fleet.start(driver)
    load = start_load(appliance.namespace, appliance.address)
    appliance.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    before = load.ask()
    time.sleep(SECONDS)
    stopped = load.ask()
    assert stopped["done"] == before["done"]
    appliance.process.send_signal(signal.SIGCONT)
    new = load.wait_for(lambda state: state["first"], 10, since=stopped["now"])
    state = load.wait_for(lambda state: all(a > b + 5 for a, b in zip(state["done"], stopped["done"])),
                          10 + 1.5 * SECONDS)
    print(driver, f"new after {new['first'] - stopped['now']:.2f} s, all after {state['now'] - stopped['now']:.2f} s")
    assert not state["errors"]


FLOOD = r"""
import socket, sys
frames = int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(frames):
    s.sendto(b'x' * 100, (sys.argv[1], 9))
"""


@pytest.mark.parametrize("driver", ["tap", "af_packet", "af_xdp"])
def test_ring_overflows(fleet, start_load, driver):
    """While the process stands still, far more comes in than its ring holds."""
    appliance = fleet.start(driver)
    namespace = appliance.namespace
    load = start_load(namespace, appliance.address)
    appliance.process.send_signal(signal.SIGSTOP)
    try:
        namespace.run(conftest.PYTHON, "-c", FLOOD, appliance.address, 8000)
    finally:
        away, back = load.ask(), time.monotonic()
        appliance.process.send_signal(signal.SIGCONT)
    new = load.wait_for(lambda state: state["first"], 10, since=back)
    state = load.wait_for(lambda state: all(a > b + 5 for a, b in zip(state["done"], away["done"])), 15)
    assert not state["errors"]
    assert new["first"] - back < 1
    if driver != "tap":  # of which the kernel counts it: ip -s link show tap0
        # Ports are asked for what they count once a second.
        deadline = time.monotonic() + 10
        while (missed := info(namespace, appliance.address)["net_drop_port_missed"]) <= 1000:
            assert time.monotonic() < deadline, missed
            time.sleep(0.1)
