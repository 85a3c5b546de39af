"""Our TCP beside the Linux kernel's, one odd segment at a time: the same probes, outcome classes compared.

The T-rows and the file of each behaviour: docs/tcp_conformance.md.
"""
import json
import subprocess
import sys
import time

import conftest
import pytest

ORACLE = conftest.ROOT / "tests/oracle"
sys.path.insert(0, str(ORACLE))
from differences import DIFFERENCES  # noqa: E402  (beside the probes)

ADDRESSES = {"ipv4": conftest.STACK_ADDRESS, "ipv6": conftest.STACK_ADDRESS_IPV6}


def names(family):
    listing = conftest.run(conftest.PYTHON, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import probes\n"
                           "print('\\n'.join(name for name, _ in probes.PROBES\n"
                           "    if sys.argv[2] == 'ipv4' or name not in probes.IPV4_ONLY))", ORACLE, family)
    return listing.stdout.splitlines()


def start_probes(namespace, interface, address, target_mac):
    return namespace.popen(conftest.PYTHON, ORACLE / "probes.py", interface, address, target_mac,
                           stdout=subprocess.PIPE, text=True)


def mac_of(namespace, interface):
    return namespace.run("cat", f"/sys/class/net/{interface}/address").stdout.strip()


class Reference:
    """redis-server on the kernel's stack, across a veth; the probes' addresses are known to it beforehand."""

    def __init__(self, near, far):
        conftest.make_veth(near)
        near.run("ip", "link", "set", "veth1", "netns", far.name)
        far.run("ip", "addr", "add", f"{conftest.STACK_ADDRESS}/24", "dev", "veth1")
        far.run("ip", "link", "set", "veth1", "up")
        far.run("ethtool", "-K", "veth1", "tx", "off", "gso", "off", "tso", "off", "gro", "off", check=False)
        far.run("sysctl", "-qw", "net.ipv6.conf.veth1.disable_ipv6=0")
        far.run("ip", "addr", "add", f"{conftest.STACK_ADDRESS_IPV6}/64", "dev", "veth1", "nodad")
        for own in ("198.18.0.77", "fd00::77"):
            far.run("ip", "neigh", "add", own, "lladdr", mac_of(near, "veth0"), "dev", "veth1")
        self.mac = mac_of(far, "veth1")
        self.server = far.popen("redis-server", "--port", "6379", "--save", "", "--protected-mode", "no",
                                "--daemonize", "no", stdout=subprocess.DEVNULL)
        for _ in range(200):
            if "PONG" in far.run("redis-cli", "ping", check=False).stdout:
                return
            time.sleep(0.05)
        raise RuntimeError("redis-server is not ready")

    def close(self):
        self.server.terminate()
        self.server.wait(timeout=10)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """By family: ours and Linux's."""
    if not conftest.IS_ROOT:
        pytest.skip("needs root")
    fleet = conftest.Fleet(tmp_path_factory.mktemp("oracle"))
    near, far = fleet.namespace(), fleet.namespace()
    reference, found = None, {}
    try:
        appliance = fleet.start("tap", ipv6=True)  # AF_PACKET hides fragments
        appliance.address = conftest.STACK_ADDRESS
        mac = conftest.stack_mac(appliance)
        reference = Reference(near, far)
        for family, address in ADDRESSES.items():
            runs = [start_probes(appliance.namespace, "tap0", address, mac),
                    start_probes(near, "veth0", address, reference.mac)]
            found[family] = [json.loads(run.communicate(timeout=180)[0]) for run in runs]
        yield found
    finally:
        if reference is not None:
            reference.close()
        fleet.close()


@pytest.mark.parametrize("family, name", [(family, name) for family in ADDRESSES for name in names(family)])
def test_probe(outcomes, family, name):
    ours, theirs = outcomes[family]
    if name in DIFFERENCES:
        assert (ours[name], theirs[name]) == DIFFERENCES[name][:2]
    else:
        assert ours[name] == theirs[name]


def test_differences_name_probes():
    assert set(DIFFERENCES) <= set(names("ipv4"))
