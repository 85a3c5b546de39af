"""Our TCP and Linux clients with every choice of options that sysctl gives them (R42): redis-benchmark completes, and on a
clean link next to nothing is sent again. COMBINATIONS=all tries all 64 (tests/stress/run.sh)."""
import itertools
import os

import conftest
import pytest

# In order: a client without SACK, without timestamps, without window scaling; our own SYNs answered with cookies (and
# the client's always); a client that asks for ECN; small frames on its side or large ones, of each in turn those below.
CHOICES = ("sack", "timestamps", "window_scaling", "syncookies", "ecn", "mtu")
ALL = list(itertools.product((0, 1), repeat=len(CHOICES)))
# Every two choices meet in all four ways (an orthogonal array of eight rows).
FEW = [(a, b, c, a ^ b, a ^ c, b ^ c) for a, b, c in itertools.product((0, 1), repeat=3)]
REQUESTS = 1000
# What the port is told, and what the client's end has, by whether it is to be small.
MTUS = {"af_packet": (9000, ((9000, 1500, 4000), (576, 1280))), "af_xdp": (1700, ((1500, 1700), (576, 1280)))}


def table(client, path, prefix):
    lines = [line.split() for line in client.run("cat", path).stdout.splitlines() if line.startswith(prefix)]
    return {name: int(value) for name, value in zip(lines[0][1:], lines[1][1:])}


def counted(appliance, client):
    """Segments sent, sent again, and of these tail probes: by the client's kernel, by us."""
    kernel = table(client, "/proc/net/snmp", "Tcp:") | table(client, "/proc/net/netstat", "TcpExt:")
    text = client.run("redis-cli", "-h", appliance.address, "info", "net").stdout
    ours = dict(line.split(":") for line in text.split() if ":" in line)
    return ([kernel[name] for name in ("OutSegs", "RetransSegs", "TCPLossProbes")] +
            [int(ours["tcp_" + name]) for name in ("segments_out", "retransmits", "tail_probes")])


def assert_clean(segments, again, probes, named):
    """A tail probe says that the other side had no CPU for some milliseconds, nothing of the link."""
    assert segments > 3 * REQUESTS
    assert again - min(again, probes) <= segments / 100 and again <= segments / 20, (named, segments, again, probes)


def choose(client, sack, timestamps, window_scaling, syncookies, ecn, mtu):
    for name, value in (("sack", sack), ("timestamps", timestamps), ("window_scaling", window_scaling),
                        ("syncookies", 1 + syncookies), ("ecn", ecn)):
        client.run("sysctl", "-qw", f"net.ipv4.tcp_{name}={value}")
    client.run("ip", "link", "set", "veth0", "mtu", mtu)


@pytest.mark.parametrize("driver", ["af_packet", "af_xdp"])
def test_every_choice_of_options(fleet, driver):
    appliances, (port_mtu, mtus) = {}, MTUS[driver]
    mtus = [itertools.cycle(values) for values in mtus]
    for cookies in (0, 1):
        client = fleet.namespace()
        backlog = ["--tcp-max-syn-backlog 0"] if cookies else []
        appliances[cookies] = (fleet.start(driver, *backlog, peer=client, mtu=port_mtu), client)
    for choice in ALL if os.environ.get("COMBINATIONS") == "all" else FEW:
        appliance, client = appliances[choice[CHOICES.index("syncookies")]]
        choice = (*choice[:-1], next(mtus[choice[-1]]))
        choose(client, *choice)
        before = counted(appliance, client)
        done = client.run("redis-benchmark", "-h", appliance.address, "-n", REQUESTS, "-c", 10, "-d", 12000,
                          "-t", "set,get,mget", "--csv", check=False, timeout=60)
        named = dict(zip(CHOICES, choice))
        assert done.returncode == 0 and done.stdout.count("\n") == 3, (named, done.stdout)
        growth = [b - a for a, b in zip(before, counted(appliance, client))]
        print(driver, named, "client %d segments, %d again, %d probes; we %d, %d, %d" % tuple(growth))
        assert_clean(*growth[:3], named)
        assert_clean(*growth[3:], named)
