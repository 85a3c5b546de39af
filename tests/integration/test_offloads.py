"""Checksums and cutting (TSO) left to the port: a TAP with `offloads all`, whose driver does in software what a
NIC does. The kernel's TCP behind it takes no segment that is wrong, and says of what length they were."""
import pytest

from conftest import IS_ROOT

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="needs root")

CLIENT = r"""
import re, socket, sys
value = bytes(i * 7 & 255 for i in range(1000)) * 700
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family)
s.settimeout(30)
s.connect((sys.argv[1], 6379))
file = s.makefile('rwb')

def ask(*words):
    file.write(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words))
    file.flush()
    line = file.readline()
    return file.read(int(line[1:]) + 2)[:-2] if line[:1] == b'$' else line

assert ask(b'SET', b'large', value) == b'+OK\r\n'
for size in (1, 100, 1400, 20000, 100000):
    assert ask(b'SET', b'some', value[:size]) == b'+OK\r\n'
    assert ask(b'GET', b'some') == value[:size]
for i in range(20):
    assert ask(b'GET', b'large') == value
print(ask(b'INFO', b'net').decode())
"""


def figures(text):
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("mode,offloads", [("all", "rx_cksum+ipv4_cksum+tcp_cksum+udp_cksum+tso+zero_copy"),
                                           ("none", "zero_copy")])
def test_kernel_takes_what_the_port_cuts(fleet, ipv6, mode, offloads):
    appliance = fleet.start("tap", ipv6=ipv6, keywords=f"offloads {mode}")
    net = figures(appliance.client(CLIENT))
    mtu = 1482 if mode == "all" else 1500  # net_tap counts the link's header
    assert net["port0"] == f"name=tap0,mtu={mtu},offloads={offloads},link=up,link_changes=0"
    cut = int(net["tcp_segments_cut"])
    assert cut > 5000 if mode == "all" and not ipv6 else cut == 0, net  # it cuts IPv4 only
    assert int(net["tcp_segments_external"]) > 100
    again = int(net["tcp_retransmits"]) - int(net["tcp_tail_probes"])  # a probe says that the machine is loaded
    assert again < int(net["tcp_segments_out"]) / 100, net
    for reason in ("port_full", "ip_too_big", "no_buffer", "tx_headroom", "tx_queue_full"):
        assert net[f"net_drop_{reason}"] == "0", net
