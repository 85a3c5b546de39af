"""nicached on the cards that QEMU emulates, driven by DPDK in a machine of their own (guest.py), and real clients.

    client            cable's namespace                the machine
    veth0 ---- veth1 == bridge == cable (TAP) ---- card, vfio-pci ---- nicached

veth1 has no offloads: what a card leaves to whoever carries its frames on (virtio) the kernel does there, and veth0
sees frames as they are on a wire.
"""

import functools
import os
import pathlib
import sys
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import guest  # noqa: E402
from conftest import BINARY, IS_ROOT, PYTHON, STACK_ADDRESS, STACK_ADDRESS_IPV6, Namespace, make_veth  # noqa: E402
from link_capture import LinkCapture  # noqa: E402

LINK_MTU = 9000  # of all but the card, which decides
FOLDER = pathlib.Path(os.environ.get("NICACHED_NIC_FOLDER", HERE.parents[1] / "build-nic"))
VIRTIO = ",disable-legacy=on,iommu_platform=on"  # as a real card: its addresses go through the IOMMU
QUEUES = 2  # of the cards that have several

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="needs root")

# QEMU's card, and what it does for us with DPDK's driver.
CARDS = {
    "e1000e": ("e1000e", "rx_cksum+ipv4_cksum+tcp_cksum+udp_cksum"),
    "virtio": (f"virtio-net-pci,mq=on,vectors={2 * QUEUES + 2},rss=on" + VIRTIO, "tcp_cksum+udp_cksum+tso+tso_ipv6"),
    "vmxnet3": ("vmxnet3", "tcp_cksum+udp_cksum+tso+tso_ipv6"),
}
INTERRUPTS = ["virtio", "vmxnet3"]  # DPDK sets up no vector of the 82574's for its queue
SPREADS = ["virtio"]  # it hashes as we ask it to; QEMU's vmxnet3 has many queues and uses the first


class Machine:
    """A guest with one card, and clients at the other end of its cable."""

    def __init__(self, name):
        self.name = name
        self.card, self.offloads = CARDS[name]
        self.guest = self.line = None
        self.inside, self.clients = Namespace(), Namespace()

    def lay_cable(self):
        make_veth(self.inside, mtu=LINK_MTU, peer=self.clients)
        self.inside.run("ip", "link", "add", "bridge", "type", "bridge")
        self.inside.run("ip", "tuntap", "add", "cable", "mode", "tap", *["multi_queue"] * (self.name in SPREADS))
        for end in ("veth1", "cable"):
            self.inside.run("ip", "link", "set", end, "mtu", LINK_MTU, "master", "bridge")
        for end in ("bridge", "cable"):
            self.inside.run("ip", "link", "set", end, "up")

    def boot(self, folder):
        self.lay_cable()
        kernel, archive = guest.build(FOLDER, BINARY)
        cable = f",queues={QUEUES}" if self.name in SPREADS else ""
        self.guest = guest.Guest(self.inside, folder, kernel, archive, self.card, cable)
        self.guest.wait_until_ready()
        self.guest.bind()

    def start(self, keywords, workers=1):
        """nicached with these words at the end of its interface line; one that has them already stays."""
        line = f"nic0 pci:{guest.CARD_ADDRESS} {STACK_ADDRESS}/24 {STACK_ADDRESS_IPV6}/64 {keywords} --workers {workers}"
        if self.line == line:
            return
        self.stop()
        self.guest.shell(f"(nicached --interface {line} --protected-mode no --maxmemory 128mb --hugepages yes "
                         "--memcache-udp-port 11211 --memcache-udp-allow 198.18.0.0/15,fd00::/8; "
                         "echo exit code $?) </dev/null >/tmp/log 2>&1 &")
        log = self.wait_for_log("Ready to accept connections|exit code")
        assert "exit code" not in log, log
        self.line = line

    def wait_for_log(self, pattern):
        self.guest.shell(f"while ! grep -q -E '{pattern}' /tmp/log; do usleep 500000; done", timeout=180)
        return self.guest.shell("cat /tmp/log")

    def stop(self):
        if self.line is not None:
            self.line = None
            self.guest.shell("kill $(pidof nicached)")
            log = self.wait_for_log("exit code")
            assert "exit code 0" in log, log

    def client(self, source, *words, address=STACK_ADDRESS, timeout=300):
        """Runs a Python script (its text) at the other end of the cable."""
        done = self.clients.run(PYTHON, "-c", source, address, *words, timeout=timeout, check=False)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    def info(self, section):
        text = self.clients.run("redis-cli", "-h", STACK_ADDRESS, "info", section).stdout
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def close(self):
        if self.guest is not None:
            self.guest.close()
        for namespace in (self.inside, self.clients):
            namespace.close()


@pytest.fixture(scope="module", params=CARDS)
def machine(request, tmp_path_factory):
    machine = Machine(request.param)
    try:
        machine.boot(tmp_path_factory.mktemp(request.param))
        yield machine
        machine.stop()
    finally:
        machine.close()


VALUES = r"""
import random, socket, sys, redis
from pymemcache.client.base import Client
host = sys.argv[1]
client = redis.Redis(host=host, socket_timeout=60)
assert client.ping()
for size in (1, 2, 100, 1400, 1447, 1448, 1449, 2896, 16383, 16384, 20_000, 65_536, 250_000, 1_000_000):
    value = random.Random(size).randbytes(size)
    assert client.set('value', value)
    assert client.get('value') == value, size
    assert client.getrange('value', 1, size) == value[1:], size
text = Client((host, 11211), timeout=60)
for size in (1, 1000, 100_000, 1_000_000):
    value = random.Random(size).randbytes(size)
    assert text.set(f'key{size}', value, noreply=False) and text.get(f'key{size}') == value, size
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
for size in (1, 1000):
    for number in range(20):
        s.sendto(bytes((0, number, 0, 0, 0, 1, 0, 0)) + b'get key%d\r\n' % size, (host, 11211))
        value = b'VALUE key%d 0 %d\r\n' % (size, size) + random.Random(size).randbytes(size) + b'\r\nEND\r\n'
        assert s.recv(2000) == bytes((0, number, 0, 0, 0, 1, 0, 0)) + value
"""


@pytest.mark.parametrize("offloads,address", [("auto", STACK_ADDRESS), ("auto", STACK_ADDRESS_IPV6),
                                              ("none", STACK_ADDRESS)])
def test_values_and_what_is_on_the_wire(machine, offloads, address, tmp_path):
    machine.start(f"offloads {offloads}")
    before = machine.info("net")
    used = f"{machine.offloads}+zero_copy" if offloads == "auto" else "zero_copy"
    assert f",offloads={used}," in before["port0"]
    with LinkCapture(machine.clients, "veth0", tmp_path / "wire.pcapng") as wire:
        machine.client(VALUES, address=address)
    sent = f"({'ipv6' if ':' in address else 'ip'}.src == {address})"
    for trouble in ("_ws.malformed", "ip.checksum.status == 0", "tcp.checksum.status == 0", "udp.checksum.status == 0",
                    "frame.len > 1514"):
        assert wire.find(f"{sent} && {trouble}") == [], trouble
    # All of them were looked at: of TCP full segments, of UDP the datagrams.
    assert len(wire.find(f"{sent} && tcp.checksum.status == 1 && frame.len == 1514")) > 2000
    assert len(wire.find(f"{sent} && udp.checksum.status == 1")) == 40
    cut = int(machine.info("net")["tcp_segments_cut"]) - int(before["tcp_segments_cut"])
    assert cut > 1000 if offloads == "auto" and "tso" in machine.offloads else cut == 0


REPLACED = r"""
import socket, sys, threading, time
host, rounds = sys.argv[1], int(sys.argv[2])
size_of = (16_384, 65_000, 300_000, 1_000_000)

class Client:
    def __init__(self, receive_bytes=None):
        self.socket = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(120)
        self.socket.connect((host, 6379))
        self.file = self.socket.makefile('rwb')

    def ask(self, *words):
        self.file.write(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words))
        self.file.flush()
        line = self.file.readline()
        if line[:1] != b'$' or line == b'$-1\r\n':
            return line
        return self.file.read(int(line[1:]) + 2)[:-2]

def read(number, wrong, there):
    client = Client(65536 if number % 2 else None)
    while not stopped.is_set():
        key = b'key%d' % (number % len(size_of))
        value = client.ask(b'GET', key)
        if value == b'$-1\r\n':
            continue
        there.append(1)
        if value != value[:1] * size_of[number % len(size_of)]:
            wrong.append((key, len(value), set(value)))

stopped, wrong, there = threading.Event(), [], []
readers = [threading.Thread(target=read, args=(i, wrong, there), daemon=True) for i in range(2 * len(size_of))]
for reader in readers:
    reader.start()
writer = Client()
for version in range(rounds):
    for number, size in enumerate(size_of):
        assert writer.ask(b'SET', b'key%d' % number, b'%c' % (65 + version % 26) * size) == b'+OK\r\n'
    if version % 4 == 3:
        assert writer.ask(b'DEL', *(b'key%d' % i for i in range(len(size_of)))) == b':%d\r\n' % len(size_of)
stopped.set()
for reader in readers:
    reader.join(120)
assert not wrong and len(there) > rounds, (wrong, len(there))
print(len(there))
"""


def figures(machine):
    return {**machine.info("net"), **machine.info("stats"), **machine.info("store")}


def test_values_stay_whole_while_they_are_replaced(machine):
    """The card reads them where they lie, and after they have been overwritten and deleted, too."""
    machine.start("offloads auto")
    before = figures(machine)
    print(machine.client(REPLACED, "24"))
    after = figures(machine)
    replies, shown = (int(after[name]) - int(before[name]) for name in ("total_net_output_bytes", "tcp_bytes_external"))
    print(f"{shown} of {replies} bytes not copied, {after['store_pages_mapped_bytes']} bytes mapped")
    assert shown > replies * 0.95
    assert int(after["store_pages_mapped_bytes"]) > 100 << 20


def test_memory_goes_and_comes_back_under_the_card(machine):
    machine.start("offloads auto")
    full = int(figures(machine)["store_pages_mapped_bytes"])
    for round in range(2):
        for limit, reached in (("32mb", lambda mapped: mapped < full / 2), ("128mb", lambda mapped: mapped > full / 2)):
            machine.clients.run("redis-cli", "-h", STACK_ADDRESS, "config", "set", "maxmemory", limit)
            machine.client(REPLACED, "4")
            machine.client("import redis, sys; redis.Redis(sys.argv[1]).flushall()")
            deadline = time.monotonic() + 60
            while not reached(int(figures(machine)["store_pages_mapped_bytes"])):
                assert time.monotonic() < deadline, figures(machine)
                time.sleep(0.5)


def test_what_cannot_be_mapped_is_copied(machine):
    """The kernel takes so many mappings: EAL's few, and then those of some of the store's chunks."""
    limit = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"
    machine.stop()
    usual = machine.guest.shell(f"cat {limit}").strip()
    machine.guest.shell(f"echo 30 >{limit}")
    try:
        machine.start("offloads auto")
        machine.client(REPLACED, "8")
        after = figures(machine)
        print(f"{after['tcp_bytes_external']} bytes not copied, {after['store_pages_mapped_bytes']} bytes mapped")
        assert 0 < int(after["store_pages_mapped_bytes"]) <= 30 * 2 << 20
        assert int(after["tcp_bytes_external"]) < int(after["total_net_output_bytes"]) * 0.9
        assert machine.guest.shell("grep -c 'cannot be mapped for the network cards: No space left' /tmp/log") == "1\n"
        machine.stop()
    finally:
        machine.guest.shell(f"echo {usual} >{limit}")


CONNECTIONS = r"""
import random, sys, redis
clients = [redis.Redis(host=sys.argv[1], socket_timeout=60) for i in range(500)]
for i, client in enumerate(clients):
    assert client.set(f'key{i}', i)
assert int(clients[0].info('clients')['connected_clients']) == 500
for i in random.Random(1).sample(range(500), 500):
    assert int(clients[i].get(f'key{i}')) == i
"""


def test_many_connections(machine):
    machine.start("offloads auto")
    machine.client(CONNECTIONS)


SPREAD = r"""
import socket, sys, redis
host = sys.argv[1]
clients = [redis.Redis(host=host, socket_timeout=60) for i in range(64)]
for i, client in enumerate(clients):
    assert client.set(f'key{i}', bytes([i]) * 20000)
for i, client in enumerate(clients):
    assert client.get(f'key{(i + 7) % 64}') == bytes([(i + 7) % 64]) * 20000
"""


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_the_card(machine, workers):
    """By its queues where it spreads and has enough of them, otherwise one hands on to the others."""
    machine.start("offloads auto", workers)
    machine.client(SPREAD)
    lines = [dict(word.split("=") for word in line.split(",")) for line in machine.info("workers").values()]
    print(lines)
    assert len(lines) == workers
    assert all(int(line["connections_received"]) > 8 and int(line["commands"]) > 16 for line in lines)
    handed_on = sum(int(line["handed_on"]) for line in lines)
    if machine.name in SPREADS and workers <= QUEUES:
        assert handed_on < 20  # ARP
    else:
        assert handed_on > 200


WRONG = r"""
import socket, subprocess, sys
from scapy.all import IP, UDP, Ether, Raw, sendp
host = sys.argv[1]
socket.create_connection((host, 6379), timeout=20).close()
neighbour = subprocess.run(['ip', 'neigh', 'show', host], text=True, stdout=subprocess.PIPE).stdout
mac = neighbour.split('lladdr ')[1].split()[0]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.connect((host, 11211))
port = s.getsockname()[1]
request = bytes((0, 1, 0, 0, 0, 1, 0, 0)) + b'version\r\n'
s.send(request)
assert s.recv(100)[8:].startswith(b'VERSION')
wrong = UDP(sport=port, dport=11211, chksum=0x1234)
sendp([Ether(dst=mac) / IP(src=s.getsockname()[0], dst=host) / wrong / Raw(request)] * 5, iface='veth0', verbose=False)
s.settimeout(3)
try:
    sys.exit(f'an answer to a wrong checksum: {s.recv(100)}')
except TimeoutError:
    pass
"""


def test_wrong_checksums_are_dropped(machine):
    """Where the card looks at them its word is taken; it must come in the form that we read."""
    machine.start("offloads auto")
    machine.client(WRONG)
    assert machine.info("net")["net_drop_udp_checksum"] == "5"


TALK = r"""
import socket, sys, time
s = socket.create_connection((sys.argv[1], 6379), timeout=60)
file = s.makefile('rwb')
longest = 0
end = time.monotonic() + 12
while time.monotonic() < end:
    start = time.monotonic()
    file.write(b'PING\r\n')
    file.flush()
    assert file.readline() == b'+PONG\r\n'
    longest = max(longest, time.monotonic() - start)
    time.sleep(0.01)
print(longest)
"""


def test_link_goes_and_comes_back(machine):
    """A connection that is there goes on, after as long a pause as the outage once more at most (TCP's timer), and a
    new one is served at once."""
    machine.start("offloads auto")
    longest = []
    talk = threading.Thread(target=lambda: longest.append(float(machine.client(TALK))))
    talk.start()
    time.sleep(3)
    machine.guest.set_link(False)
    time.sleep(2)
    machine.guest.set_link(True)
    start = time.monotonic()
    machine.info("server")
    served = time.monotonic() - start
    talk.join()
    assert longest and 2 <= longest[0] < 6, longest
    assert served < 3


PINGS = r"""
import socket, sys, time
s = socket.create_connection((sys.argv[1], 6379), timeout=60)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
times = []
for i in range(25):
    time.sleep(0.25)
    start = time.monotonic()
    s.sendall(b'PING\r\n')
    assert s.recv(100) == b'+PONG\r\n'
    times.append(time.monotonic() - start)
print(' '.join(f'{1000 * t:.1f}' for t in sorted(times[5:])))
"""


def test_idle_machine_sleeps(machine):
    """An interrupt ends the sleep, which may be long then; a card whose interrupts do not come is looked at every 10 ms.
    """
    machine.start("offloads auto")
    times = [float(word) for word in machine.client(PINGS).split()]
    print(f"a request after a pause takes {times[len(times) // 2]} ms, {times}")
    sleeps = int(machine.info("loop")["loop_sleeps"])
    time.sleep(5)
    sleeps = int(machine.info("loop")["loop_sleeps"]) - sleeps
    print(f"{sleeps / 5} sleeps a second")
    assert sleeps < 5 * 40 if machine.name in INTERRUPTS else sleeps > 5 * 50
    process = machine.guest.shell("pidof nicached").strip()
    read = functools.partial(machine.guest.shell, f"cut -d' ' -f14,15 /proc/{process}/stat; cut -d' ' -f1 /proc/uptime")
    time.sleep(2)
    before = [float(word) for word in read().split()]
    time.sleep(10)
    after = [float(word) for word in read().split()]
    ticks = after[0] + after[1] - before[0] - before[1]
    share = ticks / 100 / (after[2] - before[2])
    print(f"idle: {share:.3f} of a CPU")
    assert share < 0.3


def test_jumbo_frames(machine, tmp_path):
    machine.start("mtu 9000")
    with LinkCapture(machine.clients, "veth0", tmp_path / "wire.pcapng") as wire:
        machine.client(VALUES)
    for end in ("src", "dst"):
        assert len(wire.find(f"ip.{end} == {STACK_ADDRESS} && frame.len == 9014")) > 200
    assert wire.find("tcp.checksum.status == 0 || ip.checksum.status == 0 || frame.len > 9014") == []


def test_no_access_went_astray(machine):
    """The IOMMU has seen none that was not mapped. QEMU's vmxnet3 reads at 0 whenever it is started."""
    faults = [line for line in machine.guest.shell("dmesg").splitlines() if "DMAR" in line and "fault addr" in line]
    assert [line for line in faults if "vmxnet3" not in machine.name or "fault addr 0x0 " not in line] == []


def test_unbound_card_is_refused(machine):
    machine.stop()
    machine.guest.shell(f"echo {guest.CARD_ADDRESS} >/sys/bus/pci/devices/{guest.CARD_ADDRESS}/driver/unbind")
    log = machine.guest.shell(f"nicached --interface nic0 pci:{guest.CARD_ADDRESS} {STACK_ADDRESS}/24 "
                              "--maxmemory 128mb </dev/null 2>&1; echo exit code $?")
    assert "interface 'nic0': cannot create the device" in log and "Cannot find device" in log, log
    assert "exit code 2" in log
