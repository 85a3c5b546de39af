"""Large values across a slow and lossy link, to and from the kernel's TCP: tests/bench/link_relay.c
between two namespaces. The long form, with figures, is tests/bench/tcp_goodput.py."""
import argparse
import importlib.util

import pytest

from conftest import BINARY, IS_ROOT, ROOT

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="needs root")


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


goodput = load(ROOT / "tests/bench/tcp_goodput.py")


@pytest.fixture
def link(request):
    """A bench with loss both ways and nicached running behind it."""
    control, loss = request.param
    arguments = argparse.Namespace(build=BINARY.parents[1], rate=50, delay=2, queue=60000,
                                   bytes=1500000, verbose=False)
    bench = goodput.Bench(arguments, loss, 1)
    try:
        bench.start_server(control)
        yield bench
    finally:
        bench.close()


def counters(bench):
    reply = bench.inside(bench.names[1], "redis-cli", "-p", goodput.PORT, "INFO", "net")
    return {name: int(value) for name, value in
            (line.split(":") for line in reply.splitlines() if line.startswith("tcp_"))}


@pytest.mark.parametrize("link", [("ours", 2), ("newreno", 2)], indirect=True)
def test_value_is_read_across_loss(link):
    link.write(link.names[1], "127.0.0.1")
    link.read(link.names[0], goodput.SERVER)
    seen = counters(link)
    assert seen["tcp_fast_recoveries"] > 0
    assert seen["tcp_retransmits"] > 0
    assert seen["tcp_timeouts"] <= seen["tcp_fast_recoveries"], seen


@pytest.mark.parametrize("link", [("ours", 2)], indirect=True)
def test_value_is_written_across_loss(link):
    link.write(link.names[0], goodput.SERVER)
    link.read(link.names[1], "127.0.0.1")
    assert counters(link)["tcp_out_of_order"] > 0
