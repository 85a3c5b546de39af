"""Several workers behind every kind of port: each serves some of the connections, none is lost, and
the network does not show how many there are."""

import os
import pathlib
import re

import pytest

from conftest import BENCH, DRIVERS, HOST_ADDRESS, STACK_ADDRESS, run
from link_capture import LinkCapture

WORKERS = [2, 4]  # the machines of CI have two cores

MANY_CONNECTIONS = """
import socket, sys
host, count = sys.argv[1], 200
if host.startswith('/'):
    def connect():
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(host)
        return client
else:
    def connect():
        return socket.create_connection((host, 6379), timeout=10)
clients = [connect() for _ in range(count)]
for turn in range(5):
    for number, client in enumerate(clients):
        client.sendall(b'PING\\r\\n*2\\r\\n$4\\r\\nECHO\\r\\n$7\\r\\n%03d-%03d\\r\\n' % (turn, number))
    for number, client in enumerate(clients):
        wanted, reply = b'+PONG\\r\\n$7\\r\\n%03d-%03d\\r\\n' % (turn, number), b''
        while len(reply) < len(wanted):
            piece = client.recv(1000)
            assert piece, 'closed'
            reply += piece
        assert reply == wanted, reply
clients[0].sendall(b'INFO workers\\r\\n')
reply = b''
while not reply.endswith(b'\\r\\n\\r\\n') :
    reply += clients[0].recv(65536)
print(reply.decode())
"""

DATAGRAMS = """
import socket, sys
for number in range(100):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(5)
    client.connect((sys.argv[1], 11211))
    for request in range(5):
        header = (number * 5 + request).to_bytes(2, 'big') + b'\\0\\0\\0\\1\\0\\0'
        client.send(header + b'version\\r\\n')
        reply = client.recv(2000)
        assert reply.startswith(header + b'VERSION '), reply
print('ok')
"""

FRAGMENTS = """
import socket, sys
# More than one MTU, so that they come in fragments: to the owner of the addresses, who answers.
for number in range(20):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(5)
    client.connect((sys.argv[1], 11211))
    client.send(b'\\0\\1\\0\\0\\0\\1\\0\\0' + b'get ' + b' '.join([b'k' * 200] * 20) + b'\\r\\n')
    assert client.recv(2000) == b'\\0\\1\\0\\0\\0\\1\\0\\0' + b'END\\r\\n'
print('ok')
"""


def figures(text, name):
    return [int(number) for number in re.findall(rf"worker\d+:.*\b{name}=(\d+)", text)]


def info(appliance, *words):
    return appliance.namespace.run("redis-cli", "-h", appliance.address, "info", *words).stdout


def check_spread(text, workers, name="connections", total=200):
    shares = figures(text, name)
    assert len(shares) == workers and sum(shares) == total, text
    # Of 200 draws, each worker gets fewer than a quarter of its share once in 10^9 runs.
    assert min(shares) >= total // workers // 4, shares


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_connections_are_spread(fleet, driver, workers):
    appliance = fleet.start(driver, f"--workers {workers}")
    check_spread(appliance.client(MANY_CONNECTIONS), workers)
    output = appliance.namespace.run("redis-benchmark", "-h", appliance.address, "-t", "ping", "-n",
                                     20000, "-c", 50, "-P", 4, "-q", timeout=300).stdout
    assert "rror" not in output and output.count("requests per second") == 2, output
    drops = re.findall(r"(net_drop_(?:hand_on_full|output_ring_full|tcp_unconnected)):(\d+)",
                       info(appliance, "net"))
    assert len(drops) == 3 and all(number == "0" for _, number in drops), drops


@pytest.mark.parametrize("workers", WORKERS)
def test_unix_connections_take_turns(fleet, tmp_path, workers):
    path = tmp_path / "redis.sock"
    appliance = fleet.start("socket", f"--workers {workers}", f"--unixsocket {path}")
    appliance.address = str(path)
    shares = figures(appliance.client(MANY_CONNECTIONS), "connections")
    assert shares == [200 // workers] * workers


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_datagrams(fleet, driver, workers):
    appliance = fleet.start(driver, f"--workers {workers}", "--memcache-udp-port 11211",
                            "--memcache-udp-allow 198.18.0.0/15")
    assert appliance.client(DATAGRAMS).strip() == "ok"
    commands = figures(info(appliance, "workers"), "commands")
    assert len(commands) == workers and min(commands) > 0, commands
    if driver in ("socket", "tap", "af_xdp"):
        assert appliance.client(FRAGMENTS).strip() == "ok"


def allowed_cpus(process):
    """By the thread's name."""
    tasks = [pathlib.Path(f"/proc/{process.pid}/task/{task}") for task in os.listdir(f"/proc/{process.pid}/task")]
    return {(task / "comm").read_text().strip(): os.sched_getaffinity(int(task.name)) for task in tasks}


def test_other_threads_leave_the_cpus_of_workers(fleet):
    """The control thread, the reclaimer and EAL's; where the workers have all CPUs, they share them."""
    cpus = os.sched_getaffinity(0)
    first = min(cpus)
    appliance = fleet.start("socket", f"--worker-cpus {first}")
    for name, allowed in allowed_cpus(appliance.process).items():
        assert allowed == ({first} if name == "nicached-w0" else cpus - {first} or cpus), name
    second = fleet.start("socket", f"--workers {len(cpus)}", f"--worker-cpus {','.join(map(str, sorted(cpus)))}")
    assert allowed_cpus(second.process)["reclaimer"] == cpus


@pytest.mark.parametrize("workers", WORKERS)
def test_maxclients_counts_all_workers(fleet, workers):
    appliance = fleet.start("socket", f"--workers {workers}", "--maxclients 20")
    source = """
import socket, sys
clients = [socket.create_connection((sys.argv[1], 6379), timeout=10) for _ in range(20)]
for client in clients:
    client.sendall(b'PING\\r\\n')
    assert client.recv(100) == b'+PONG\\r\\n'
for _ in range(20):
    late = socket.create_connection((sys.argv[1], 6379), timeout=10)
    assert late.recv(100) == b'-ERR max number of clients reached\\r\\n'
clients.pop().close()
import time
for _ in range(100):
    late = socket.create_connection((sys.argv[1], 6379), timeout=10)
    late.sendall(b'PING\\r\\n')
    if late.recv(100) == b'+PONG\\r\\n':
        print('ok')
        break
    time.sleep(0.05)
"""
    assert appliance.client(source).strip() == "ok"


@pytest.mark.parametrize("workers", WORKERS)
def test_memif_has_one_queue_for_all(fleet, tmp_path, workers):
    """The load generator is the peer; a Unix socket beside it tells who did the work. 40 ports in sequence have 16 in
    them that differ in the lowest bits alone: at least 4 for each of four workers."""
    appliance = fleet.start("memif", f"--workers {workers}", f"--unixsocket {tmp_path}/redis.sock")
    output = appliance.namespace.run(
        BENCH, "-h", STACK_ADDRESS, "--hugepages", "no", "-c", 40, "--duration", 1, "--warmup", 0.5,
        "-t", "set", "--interface", f"m0 memif:{tmp_path}/m0.sock {HOST_ADDRESS}/24 client").stdout
    text = run("redis-cli", "-s", f"{tmp_path}/redis.sock", "info", "workers").stdout
    served, handed_on = figures(text, "connections_received"), figures(text, "handed_on")
    assert min(served) >= 4 and sum(served) >= 40, (text, output)
    assert handed_on[0] > 0 and sum(handed_on[1:]) == 0, text


@pytest.mark.parametrize("driver", ["tap", "af_xdp"])
def test_a_clean_link_shows_no_trouble(fleet, tmp_path, driver):
    appliance = fleet.start(driver, "--workers 4")
    interface = "tap0" if driver == "tap" else "veth0"
    with LinkCapture(appliance.namespace, interface, tmp_path / "link.pcapng") as link:
        check_spread(appliance.client(MANY_CONNECTIONS), 4)
        appliance.namespace.run("redis-benchmark", "-h", appliance.address, "-t", "ping", "-n", 2000,
                                "-c", 20, "-q")
    link.assert_no_trouble()
    announced = link.find(f"arp.opcode == 2 && arp.src.proto_ipv4 == {STACK_ADDRESS}")
    asked = link.find(f"arp.opcode == 1 && arp.dst.proto_ipv4 == {STACK_ADDRESS} && "
                      f"arp.src.proto_ipv4 == {HOST_ADDRESS}")
    assert len(announced) == len(asked), (announced, asked)


LARGE_VALUES = """
import random, redis, sys
client = redis.Redis(host=sys.argv[1], socket_timeout=30)
for i in range(400):
    value = random.Random(i).randbytes(17000 + 31 * i)
    assert client.set(f"k{i}", value)
    assert client.get(f"k{i}") == value, i
print("ok")
"""


def test_large_values_for_other_workers(fleet):
    """All of a value may arrive before its owner has given it room: that answer must not be taken for the next one's."""
    appliance = fleet.start("tap", "--workers 3")
    assert appliance.client(LARGE_VALUES).strip() == "ok"
