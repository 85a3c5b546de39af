"""IPv6 on our own stack, against the Linux kernel: clients, ping, fragments, path MTU, and packets that
should not be."""

import json
import subprocess

import pytest

from conftest import BENCH, HOST_ADDRESS_IPV6, STACK_ADDRESS, STACK_ADDRESS_IPV6

PORTS = ["tap", "af_packet", "af_xdp"]

TALK = """
import random, socket, struct, sys, redis
from pymemcache.client.base import Client
host = sys.argv[1]
client = redis.Redis(host=host, socket_timeout=60)
for size in (0, 1, 1000, 1428, 1429, 20_000, 3_000_000):
    value = random.Random(size).randbytes(size)
    assert client.set(f'k{size}', value)
    assert client.get(f'k{size}') == value, size
pipe = client.pipeline(transaction=False)
for i in range(2000):
    pipe.set(f'p{i}', i)
    pipe.get(f'p{i}')
assert pipe.execute()[1::2] == [str(i).encode() for i in range(2000)]
assert host + ']:6379' in client.client_list()[0]['laddr']
memcached = Client((host, 11211), timeout=60)
assert memcached.set('m', b'v' * 4000)
assert memcached.get('m') == b'v' * 4000

# A reply in several datagrams, none of them larger than every path lets pass.
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.settimeout(10)
udp.sendto(struct.pack('!HHHH', 7, 0, 1, 0) + b'get m\\r\\n', (host, 11211))
parts = {}
while len(parts) < 4:
    data = udp.recv(65536)
    request, number, count, _ = struct.unpack('!HHHH', data[:8])
    assert request == 7 and count == 4 and len(data) <= 1232, (request, count, len(data))
    parts[number] = data[8:]
reply = b''.join(parts[i] for i in range(4))
assert reply == b'VALUE m 0 4000\\r\\n' + b'v' * 4000 + b'\\r\\nEND\\r\\n'
print('ok')
"""


def start(fleet, driver, *directives, **more):
    return fleet.start(driver, "--memcache-port 11211", "--memcache-udp-port 11211",
                       "--memcache-udp-allow fd00::/8", *directives,
                       ipv6=True, **more)


@pytest.mark.parametrize("driver", PORTS)
def test_clients(fleet, driver):
    appliance = start(fleet, driver)
    assert appliance.client(TALK).strip() == "ok"
    # IPv4 beside it.
    done = appliance.namespace.run("redis-cli", "-h", STACK_ADDRESS, "strlen", "k1000", check=False)
    assert done.returncode == 0 and done.stdout.strip() == "1000"
    listening = appliance.output()
    assert f"[{STACK_ADDRESS_IPV6}]:6379" in listening and f"{STACK_ADDRESS}:6379" in listening


def test_several_workers(fleet):
    appliance = start(fleet, "tap", "--workers 3")
    assert appliance.client(TALK).strip() == "ok"
    done = appliance.namespace.run("redis-benchmark", "-h", STACK_ADDRESS_IPV6, "-c", 50, "-n", 20000,
                                   "-t", "set,get", "-r", 1000, "-q", check=False)
    assert done.returncode == 0 and done.stdout.count("requests per second") == 2, done.stdout


PING = """
import os, socket, struct, sys
host, sizes = sys.argv[1], [int(word) for word in sys.argv[2:]]
icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
icmp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
icmp.settimeout(10)
to = socket.getaddrinfo(host, None, socket.AF_INET6)[0][4]
for number, size in enumerate(sizes):
    data = struct.pack('!HH', os.getpid() & 0xffff, number) + os.urandom(size)
    icmp.sendto(bytes((128, 0, 0, 0)) + data, to)
    while True:
        got, source = icmp.recvfrom(1 << 17)
        if got[0] == 129 and source[0].split('%')[0] == host.split('%')[0]:
            assert got[4:] == data, (size, len(got))
            break
print('ok')
"""


@pytest.mark.parametrize("driver", ["tap", "af_packet"])
def test_ping(fleet, driver):
    """Small, and in fragments both ways; to the address we were given and to the one of the link."""
    appliance = start(fleet, driver)
    device = "tap0" if driver == "tap" else "veth0"
    assert appliance.client(PING, 0, 56, 1452, 1453, 4000, 60000).strip() == "ok"
    neighbours = appliance.namespace.run("ip", "-6", "-j", "neigh", "show", STACK_ADDRESS_IPV6).stdout
    octets = [int(part, 16) for part in json.loads(neighbours)[0]["lladdr"].split(":")]
    link_local = f"fe80::{octets[0] << 8 | octets[1]:x}:{octets[2]:x}ff:fe{octets[3]:02x}:" \
                 f"{octets[4] << 8 | octets[5]:x}"
    done = appliance.namespace.run("/usr/bin/python3", "-c", PING, f"{link_local}%{device}", 56, 3000,
                                   check=False)
    assert done.stdout.strip() == "ok", done.stdout


LARGE = """
import random, sys, redis
client = redis.Redis(host=sys.argv[1], socket_timeout=60)
value = random.Random(1).randbytes(2_000_000)
assert client.set('large', value)
for _ in range(3):
    assert client.get('large') == value
print(client.info('net')['net_icmp_errors_received'])
"""


def test_path_mtu_behind_a_router(fleet):
    """The client is behind a router whose next link takes 1280 bytes; it does not know that, and we
    learn it from the router."""
    router, beyond = fleet.namespace(), fleet.namespace()
    router.run("ip", "link", "add", "far0", "type", "veth", "peer", "name", "far1", "netns",
               beyond.name)
    beyond.run("ip", "link", "set", "far1", "up")
    for end, namespace in (("far0", router), ("far1", beyond)):
        namespace.run("ethtool", "-K", end, "tx", "off", "gso", "off", "tso", "off", "gro", "off",
                      check=False)
    router.run("ip", "link", "set", "far0", "up")
    router.run("ip", "addr", "add", "fd01::1/64", "dev", "far0", "nodad")
    beyond.run("ip", "addr", "add", "fd01::2/64", "dev", "far1", "nodad")
    beyond.run("ip", "route", "add", "default", "via", "fd01::1")
    router.run("ip", "-6", "route", "add", "fd01::2/128", "dev", "far0", "mtu", "lock", 1280)
    router.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    appliance = start(fleet, "tap", namespace=router)
    # Without a gateway: the answers go to the station that the segments come from.
    words = beyond.run("/usr/bin/python3", "-c", LARGE, STACK_ADDRESS_IPV6, check=False,
                       timeout=120)
    assert words.returncode == 0, words.stdout
    assert int(words.stdout) >= 1
    words = beyond.run("/usr/bin/python3", "-c", PING, STACK_ADDRESS_IPV6, 3000, check=False)
    assert words.stdout.strip() == "ok", words.stdout
    assert appliance.process.poll() is None


def test_active_open(fleet):
    """nicached-bench on its own stack finds the server by neighbour discovery."""
    appliance = start(fleet, "memif")
    done = subprocess.run(
        appliance.namespace.command(
            BENCH, "--json", "-h", STACK_ADDRESS_IPV6, "--hugepages", "no", "-c", 20, "-n", 20000, "-t",
            "set,get", "-d", 100, "-r", 1000, "--interface",
            f"m0 memif:{fleet.directory}/m0.sock {HOST_ADDRESS_IPV6}/64 client"),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for test in json.loads(done.stdout)["tests"]:
        assert test["errors"] == 0 and test["unanswered"] == 0


PROBES = r"""
import random, sys, time
from scapy.all import (Ether, IPv6, TCP, UDP, Raw, conf, sniff, AsyncSniffer, ICMPv6EchoRequest,
                       ICMPv6ParamProblem, ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6NDOptDstLLAddr,
                       ICMPv6NDOptSrcLLAddr, IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting,
                       IPv6ExtHdrFragment, HBHOptUnknown, RouterAlert, PadN)
import redis
host = sys.argv[1]
client = redis.Redis(host=host)
client.set('witness', 'unharmed')
mac = open('/sys/class/net/veth1/address').read().strip()
ours = open('/sys/class/net/veth0/address').read().strip()
link = conf.L2socket(iface='veth0')

def counters():
    return client.info('net')

def send(*packets):
    before = counters()
    for packet in packets:
        link.send(packet)
    time.sleep(0.1)
    after = counters()
    return {name: after[name] - before[name] for name in after
            if isinstance(after[name], int) and after[name] != before[name] and name.startswith('net_')}

def ip(**fields):
    return Ether(src=ours, dst=mac) / IPv6(src='fd00::1', dst=host, **fields)

echo = ICMPv6EchoRequest(id=1, seq=1, data=b'x' * 20)
udp = UDP(sport=5, dport=9) / Raw(b'y' * 20)
answered = [
    ip() / echo,
    ip() / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / echo,
    ip() / IPv6ExtHdrDestOpt(options=[PadN(optdata=b'\0' * 2)]) / echo,
    ip() / IPv6ExtHdrFragment(offset=0, m=0, id=3) / echo,
    ip() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / echo,
]
for packet in answered:
    changed = send(packet)
    assert changed.get('net_icmp_echo_replies') == 1, (packet.summary(), changed)
dropped = [
    ('net_drop_ipv6_routing', ip() / IPv6ExtHdrRouting(type=0, segleft=1, addresses=['fd00::3']) / echo),
    ('net_drop_ipv6_routing', ip() / IPv6ExtHdrRouting(type=0, segleft=0, addresses=['fd00::3']) / echo),
    ('net_drop_ipv6_option', ip() / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x40 | 30, optdata=b'ab')]) / echo),
    ('net_drop_ipv6_option', ip() / IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=0x80 | 30, optdata=b'ab')]) / echo),
    ('net_drop_ipv6_extension', ip() / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / echo),
    ('net_drop_ipv6_extension', ip(nh=60) / (bytes(IPv6ExtHdrDestOpt(nh=60)) * 9) / Raw(b'z' * 40)),
    ('net_drop_ipv6_extension', ip(nh=60) / Raw(b'\x3a\xff' + b'\0' * 6)),
    ('net_drop_ipv6_protocol', ip(nh=132) / Raw(b'z' * 40)),
    ('net_drop_ipv6_source', Ether(src=ours, dst=mac) / IPv6(src='ff02::1', dst=host) / echo),
    ('net_drop_ipv6_land', Ether(src=ours, dst=mac) / IPv6(src=host, dst=host) / udp),
    ('net_drop_ipv6_not_ours', Ether(src=ours, dst=mac) / IPv6(src='fd00::1', dst='fd00::77') / udp),
    ('net_drop_udp_no_listener', ip() / udp),
    ('net_drop_udp_checksum', ip() / UDP(sport=5, dport=11211, chksum=0) / Raw(b'y' * 20)),
    ('net_drop_nd_router', Ether(src=ours, dst='33:33:00:00:00:01') / IPv6(src='fe80::9', dst='ff02::1', hlim=255) / ICMPv6ND_RA()),
    ('net_drop_nd_hop_limit', ip(hlim=64) / ICMPv6ND_NS(tgt=host) / ICMPv6NDOptSrcLLAddr(lladdr=ours)),
    ('net_drop_nd_unsolicited', ip(hlim=255) / ICMPv6ND_NA(tgt='fd00::99', S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=ours)),
    ('net_nd_conflicts', ip(hlim=255) / ICMPv6ND_NA(tgt=host, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=ours)),
]
for name, packet in dropped:
    changed = send(packet)
    assert changed.get(name) == 1, (name, changed)

# Overlapping fragments, and a first one without its ports.
def fragment(offset, more, data, number):
    return ip() / IPv6ExtHdrFragment(nh=17, offset=offset // 8, m=more, id=number) / Raw(data)
changed = send(fragment(0, 1, b'\0\5\0\x09' + b'f' * 36, 1), fragment(32, 1, b'g' * 40, 1),
               fragment(72, 0, b'h' * 8, 1))
assert changed.get('net_drop_fragment_overlap') == 2 and 'net_datagrams_reassembled' not in changed, changed
assert send(ip() / IPv6ExtHdrFragment(nh=6, offset=0, m=1, id=2) / Raw(b'\0' * 8)).get('net_drop_fragment_tiny') == 1

# Noise.
rng = random.Random(1)
base = [bytes(packet) for packet in answered + [packet for _, packet in dropped]]
base += [bytes(ip() / TCP(dport=6379, flags=flags) / Raw(b'x' * 20)) for flags in ('S', 'A', 'FPU', '')]
base += [bytes(fragment(i * 40, 1, b'f' * 40, 9)) for i in range(4)]
for i in range(3000):
    frame = bytearray(rng.choice(base))
    for _ in range(rng.randrange(0, 4)):
        frame[rng.randrange(12, len(frame))] = rng.randrange(256)
    if rng.randrange(3) == 0:
        frame = frame[:rng.randrange(14, len(frame) + 1)]
    link.send(bytes(frame))
    if i % 500 == 0:
        assert client.get('witness') == b'unharmed'
assert client.get('witness') == b'unharmed'
print('ok')
"""


def test_packets_that_should_not_be(fleet):
    appliance = start(fleet, "af_packet")
    assert appliance.client(PROBES).strip().splitlines()[-1] == "ok"
