"""Two VLANs on one port, each with an address of its own, and the kernel's clients in both.

Kernels without 802.1Q are served, too: a relay of ours tags what the client sends on a TAP for the second VLAN."""
import subprocess

import pytest
from conftest import HOST_ADDRESS, PYTHON, STACK_ADDRESS

SECOND, SECOND_HOST = "198.19.0.2", "198.19.0.1"

RELAY = r"""
import fcntl, select, socket, struct
tap = open('/dev/net/tun', 'r+b', buffering=0)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'v20', 0x1002))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(('veth0', 0))
wire.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the kernel takes the tag out of the frame
print('ready', flush=True)
while True:
    for ready in select.select([tap, wire], [], [])[0]:
        if ready is tap:
            frame = tap.read(2000)
            wire.send(frame[:12] + b'\x81\x00\x00\x14' + frame[12:])
            continue
        frame, auxiliary, _, sender = wire.recvmsg(2000, 100)
        for level, kind, data in auxiliary:
            status, tag = struct.unpack_from('I', data)[0], struct.unpack_from('H', data, 16)[0]
            if level == 263 and kind == 8 and status & 0x10 and tag & 0xfff == 20 and sender[2] != 4:
                tap.write(frame)
"""


@pytest.mark.parametrize("driver", ["af_packet", "af_xdp"])
@pytest.mark.parametrize("workers", [1, 2])
def test_two_vlans(fleet, driver, workers):
    appliance = fleet.start(driver, f"--interface v20 vlan:veth1 {SECOND}/24 vlan 20", f"--workers {workers}")
    namespace = appliance.namespace
    relay = namespace.popen(PYTHON, "-c", RELAY, stdout=subprocess.PIPE, text=True)
    try:
        assert relay.stdout.readline() == "ready\n"
        mac = namespace.run("cat", "/sys/class/net/veth0/address").stdout.strip()
        namespace.run("ip", "link", "set", "v20", "address", mac, "up")
        namespace.run("ip", "addr", "add", f"{SECOND_HOST}/24", "dev", "v20")
        for address, host in ((STACK_ADDRESS, HOST_ADDRESS), (SECOND, SECOND_HOST)):
            ask = ["redis-cli", "-h", address]
            assert namespace.run(*ask, "set", "key", address).stdout.strip() == "OK"
            assert f"addr={host}:" in namespace.run(*ask, "client", "list").stdout
            done = namespace.run("redis-benchmark", "-h", address, "-n", 500, "-c", 5, "-d", 3000, "-t", "set,get",
                                 "--csv", check=False)
            assert done.returncode == 0 and done.stdout.count("\n") == 3, done.stdout
        assert namespace.run("redis-cli", "-h", STACK_ADDRESS, "get", "key").stdout.strip() == SECOND
    finally:
        relay.kill()
        relay.wait()
