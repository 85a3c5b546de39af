"""An interface that the host shares: the kernel's services and nicached at one address, by way of an exception TAP."""
import signal
import subprocess

import pytest
from conftest import HOST_ADDRESS, HOST_ADDRESS_IPV6, PYTHON, STACK_ADDRESS, STACK_ADDRESS_IPV6

# Something like sshd: greets, then echoes until the end, as many bytes as come.
ECHO = r"""
import socket, sys, threading
family = socket.AF_INET6
listener = socket.create_server(('::', 2222), family=family, dualstack_ipv6=True)
datagrams = socket.socket(family, socket.SOCK_DGRAM)
datagrams.bind(('::', 2222))

def answer_datagrams():
    while True:
        data, sender = datagrams.recvfrom(65536)
        datagrams.sendto(data, sender)

def serve(client):
    client.sendall(b'SSH-like\r\n')
    while data := client.recv(65536):
        client.sendall(data)
    client.close()

threading.Thread(target=answer_datagrams, daemon=True).start()
print('ready', flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

PING = r"""
import socket, struct, sys
host = sys.argv[1]
ipv6 = ':' in host
s = socket.socket(*((socket.AF_INET6, socket.SOCK_RAW, 58) if ipv6 else (socket.AF_INET, socket.SOCK_RAW, 1)))
s.settimeout(5)
for number in range(3):
    request = struct.pack('!BBHHH', 128 if ipv6 else 8, 0, 0, 77, number)
    total = 0x0800 + 77 + number
    s.sendto(request if ipv6 else request[:2] + struct.pack('!H', 0xffff - total) + request[4:], (host, 0))
    reply = b''
    while reply[:1] != bytes([129 if ipv6 else 0]) or reply[4:8] != request[4:]:
        reply = s.recv(1000)[0 if ipv6 else 20:]
print('3 received')
"""

# Both at one address at the same time: a megabyte through the kernel's service, requests through ours.
BOTH = r"""
import socket, sys, threading
import redis
host = sys.argv[1]
shell = socket.create_connection((host, 2222), timeout=20)
greeting = shell.recv(100)
assert greeting == b'SSH-like\r\n', greeting
sent = bytes(range(256)) * 4096
threading.Thread(target=shell.sendall, args=(sent,), daemon=True).start()
client = redis.Redis(host=host, socket_timeout=20)
got = b''
for i in range(200):
    assert client.set(f'k{i}', i) and client.get(f'k{i}') == b'%d' % i
while len(got) < len(sent):
    got += shell.recv(65536)
assert got == sent
datagram = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
datagram.settimeout(10)
for size in (1, 1400, 4000):  # the last one in fragments
    datagram.sendto(b'd' * size, (host, 2222))
    assert datagram.recv(65536) == b'd' * size
try:
    socket.create_connection((host, 2223), timeout=10)
    raise AssertionError('a port that nobody serves')
except ConnectionRefusedError:
    pass
net = client.info('net')
assert net['net_exception_port'] > 100 and net['net_exception_from_kernel'] > 100, net
assert net['net_drop_exception_tap'] == net['net_drop_exception_port'] == 0, net
print('ok')
"""


def share(fleet, *directives):
    """The client's namespace and the appliance, whose host has its addresses on the TAP."""
    peer, host = fleet.namespace(), fleet.namespace()
    appliance = fleet.start("af_xdp", *directives, namespace=host, peer=peer, ipv6=True,
                            keywords="exception-tap x0")
    host.run("ip", "addr", "add", f"{STACK_ADDRESS}/24", "dev", "x0")
    host.run("ip", "addr", "add", f"{STACK_ADDRESS_IPV6}/64", "dev", "x0", "nodad")
    return peer, appliance


def macs(namespace, *names):
    return {namespace.run("cat", f"/sys/class/net/{name}/address").stdout for name in names}


@pytest.mark.parametrize("workers", [1, 3])
def test_kernel_and_appliance_at_one_address(fleet, workers):
    peer, appliance = share(fleet, f"--workers {workers}")
    host = appliance.namespace
    assert len(macs(host, "x0", "veth1")) == 1
    shell = host.popen(PYTHON, "-c", ECHO, stdout=subprocess.PIPE, text=True)
    try:
        assert shell.stdout.readline() == "ready\n"
        for address in (STACK_ADDRESS, STACK_ADDRESS_IPV6):
            done = peer.run(PYTHON, "-c", BOTH, address, check=False)
            assert done.stdout.strip() == "ok", done.stdout
            # We answer pings, the kernel gets the answers to its own.
            assert "3 received" in peer.run(PYTHON, "-c", PING, address, check=False).stdout
        assert "3 received" in host.run(PYTHON, "-c", PING, HOST_ADDRESS, check=False).stdout
        assert "3 received" in host.run(PYTHON, "-c", PING, HOST_ADDRESS_IPV6, check=False).stdout
    finally:
        shell.send_signal(signal.SIGKILL)
        shell.wait()


TAGGED = b"\x81\x00\x00\x09\x88\xb5of another VLAN" + bytes(46)

HEAR = r"""
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('x0', 0))
s.settimeout(20)
print('ready', flush=True)
while b'of another VLAN' not in s.recv(2000):
    pass
print('heard', flush=True)
"""

SEND = r"""
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('veth0', 0))
s.send(b'\xff' * 6 + s.getsockname()[4] + bytes.fromhex(sys.argv[1]))
"""


def test_other_vlans_are_the_hosts(fleet):
    peer, appliance = share(fleet)
    hear = appliance.namespace.popen(PYTHON, "-c", HEAR, stdout=subprocess.PIPE, text=True)
    try:
        assert hear.stdout.readline() == "ready\n"
        peer.run(PYTHON, "-c", SEND, TAGGED.hex())
        assert hear.stdout.readline() == "heard\n"
    finally:
        hear.send_signal(signal.SIGKILL)
        hear.wait()
    count = peer.run("redis-cli", "-h", STACK_ADDRESS, "info", "net").stdout
    assert int(count.split("net_exception_vlan:")[1].split()[0]) == 1


def test_the_tap_goes_with_the_process(fleet):
    peer, appliance = share(fleet)
    assert peer.run("redis-cli", "-h", STACK_ADDRESS, "ping").stdout.strip() == "PONG"
    appliance.stop()
    assert "x0" not in appliance.namespace.run("ip", "link").stdout
