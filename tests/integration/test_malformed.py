"""Frames that nobody should take (R39): every one is dropped, and counted once under its reason. MALFORMED=COUNT sends as
many with a random byte wrong (tests/stress/run.sh); libFuzzer's share of the row is tests/fuzz/fuzz_frame.c."""
import json
import os

import conftest
import pytest


@pytest.mark.skipif(not conftest.IS_ROOT, reason="needs root")
def test_drops_are_the_bad_frames(fleet):
    appliance = fleet.start("tap", ipv6=True)
    appliance.address = conftest.STACK_ADDRESS
    # The host's kernel says nothing of its own by IPv6.
    appliance.namespace.run("sysctl", "-qw", "net.ipv6.conf.tap0.disable_ipv6=1")
    done = appliance.namespace.run(conftest.PYTHON, conftest.ROOT / "tests/oracle/malformed.py", "tap0",
                                   conftest.STACK_ADDRESS, conftest.stack_mac(appliance), conftest.STACK_ADDRESS_IPV6,
                                   os.environ.get("MALFORMED", "3000"), check=False, timeout=3600)
    assert done.returncode == 0, done.stdout[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["link_drops"] == 0
    wrong = [(name, sent, drops) for name, sent, drops in result["named"] if drops != {name: sent}]
    assert not wrong
    assert len(result["named"]) > 40 and all(sent > 0 for _, sent, _ in result["named"])
    for kind in ("bits", "bytes"):
        sent, drops = result[kind]
        print(kind, sent, drops)
        assert sum(drops.values()) == sent > 1000, (kind, sent, drops)
    assert appliance.namespace.run("redis-cli", "-h", appliance.address, "ping").stdout.strip() == "PONG"
