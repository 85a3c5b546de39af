"""nicached-bench: against nicached over memif and kernel sockets, against redis-server and memcached, and
against servers that are slow, stall, or mix up values on purpose."""

import json
import socketserver
import subprocess
import threading
import xml.dom.minidom

import pytest

from conftest import BENCH, DELAY_SERVER, FRAME_LOAD, HOST_ADDRESS, STACK_ADDRESS, NoNamespace, peer_server, run


def bench(namespace, *words, code=0, timeout=120):
    """Runs the generator inside the namespace and returns its JSON document."""
    done = subprocess.run(namespace.command(BENCH, "--json", *words), text=True, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == code, done.stderr + done.stdout[:2000]
    return json.loads(done.stdout)


def check_verified(document, requests):
    """One mixed, verified test: everything was answered, checked and right."""
    test, = document["tests"]
    assert test["replies"] == requests
    assert test["errors"] == test["lost"] == test["unanswered"] == test["values_wrong"] == 0
    assert test["values_checked"] == test["hits"] > 0
    assert test["misses"] == 0
    latency = test["latency_us"]["all"]
    assert latency["count"] == requests
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p99.999"] <= latency["max"]
    assert test["curve_us"][-1][1] == requests
    assert sum(second["replies"] for second in test["seconds"]) == requests
    return test


VERIFIED = ["--verify", "--mix", "50:50", "-n", "20000", "-r", "500", "--zipf", "0.99"]
FORMS = {
    "resp": ["-d", "1-3000", "-P", "4"],
    "resp-mget": ["-d", "1-3000", "--keys-per-get", "7", "-c", "10"],
    "memcache": ["-m", "-d", "1-3000", "-P", "4"],
    "memcache-multiget": ["-m", "-d", "1-3000", "--keys-per-get", "7", "-c", "10"],
    "meta": ["--meta", "-d", "1-3000", "-P", "4"],
    "meta-udp": ["--meta", "-u", "-d", "1-900", "-c", "3", "-P", "8"],
    "udp": ["-u", "-d", "1-900", "-c", "3", "-P", "8"],
    "large": ["-d", "100000-200000", "-n", "600", "-c", "4", "-r", "50"],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("driver", ["socket", "memif"])
def test_against_nicached(fleet, driver, form):
    appliance = fleet.start(driver, "--memcache-udp-port 11211", "--memcache-udp-allow 198.18.0.0/15")
    words = [*VERIFIED, *FORMS[form], "-h", appliance.address]
    if driver == "memif":
        words += ["--hugepages", "no", "--interface",
                  f"m0 memif:{fleet.directory}/m0.sock {HOST_ADDRESS}/24 client"]
    document = bench(appliance.namespace, *words)
    check_verified(document, 600 if form == "large" else 20000)


def net_figures(appliance, path):
    """INFO net, by the unix socket `path`."""
    net = appliance.namespace.run("redis-cli", "-s", path, "info", "net").stdout
    return dict(line.split(":") for line in net.split() if ":" in line)


@pytest.mark.parametrize("ours, theirs", [(9000, 9000), (9000, 1500), (1500, 9000)])
def test_memif_jumbo_frames(fleet, ours, theirs):
    path = fleet.directory / "unix.sock"
    appliance = fleet.start("memif", f"--unixsocket {path}", mtu=ours)
    document = bench(appliance.namespace, *VERIFIED, *FORMS["large"], "-h", appliance.address, "--hugepages", "no",
                     "--interface", f"m0 memif:{fleet.directory}/m0.sock {HOST_ADDRESS}/24 mtu {theirs} client")
    check_verified(document, 600)
    figures = net_figures(appliance, path)
    for way in ("rx", "tx"):
        average = int(figures[f"net_{way}_bytes"]) / int(figures[f"net_{way}_packets"])
        assert average > 1518 if ours == theirs else average < 1518, figures


@pytest.mark.parametrize("delay, packets", [(0, 2), (499, 1)])
def test_acks_alone_or_riding(fleet, delay, packets):
    """Packets that the server gets for a request: the request, and the ACK of the reply if that goes by itself."""
    path = f"{fleet.directory}/unix.sock"
    appliance = fleet.start("memif", f"--unixsocket {path}")
    before = net_figures(appliance, path)
    document = bench(appliance.namespace, "-h", STACK_ADDRESS, "--hugepages", "no", "-c", 8, "-n", 4000, "-t", "get",
                     "--ack-delay", delay, "--interface", f"m0 memif:{fleet.directory}/m0.sock {HOST_ADDRESS}/24 client")
    after = net_figures(appliance, path)
    assert document["tests"][0]["replies"] == 4000
    received = int(after["net_rx_packets"]) - int(before["net_rx_packets"])
    assert 4000 * packets <= received < 4000 * packets + 400, received


def test_memif_open_loop_and_many_connections(fleet):
    appliance = fleet.start("memif")
    document = bench(appliance.namespace, "-h", STACK_ADDRESS, "--hugepages", "no", "-c", 300,
                     "--rate", 2000, "--duration", 1, "--warmup", 0.5, "-t", "set,get", "--interface",
                     f"m0 memif:{fleet.directory}/m0.sock {HOST_ADDRESS}/24 client")
    for test in document["tests"]:
        assert 1700 < test["latency_us"]["all"]["count"] < 2300  # Poisson around 2000
        assert test["errors"] == test["unanswered"] == 0


@pytest.mark.parametrize("form", ["resp", "resp-mget", "large"])
def test_against_redis(fleet, form):
    namespace = fleet.namespace()
    with peer_server(namespace, "redis-server", "--port", 16379, "--save", "", "--bind", "127.0.0.1",
                     "--requirepass", "secret", port=16379):
        document = bench(namespace, *VERIFIED, *FORMS[form], "-p", 16379, "-a", "secret")
        check_verified(document, 600 if form == "large" else 20000)
        bench_code = subprocess.run(namespace.command(BENCH, "-p", 16379, "-a", "wrong"), text=True,
                                    stderr=subprocess.PIPE, timeout=30)
        assert bench_code.returncode == 1 and "password" in bench_code.stderr


@pytest.mark.parametrize("form", ["memcache", "memcache-multiget", "meta", "meta-udp", "udp"])
def test_against_memcached(fleet, form):
    namespace = fleet.namespace()
    with peer_server(namespace, "memcached", "-l", "127.0.0.1", "-p", 21211, "-U", 21211, "-t", 1, "-u",
                     "nobody", port=21211):
        check_verified(bench(namespace, *VERIFIED, *FORMS[form], "-p", 21211), 20000)


@pytest.mark.parametrize("preset", ["mica-small", "usr", "etc", "twitter-mid", "twitter-write", "valkey"])
def test_presets(fleet, preset, tmp_path):
    appliance = fleet.start("socket")
    plot = tmp_path / "curve.svg"
    document = bench(appliance.namespace, "--preset", preset, "-r", 1000, "-n", 3000, "-c", 20, "--verify",
                     "--plot", plot)
    test, = document["tests"]
    assert test["replies"] == 3000 and test["errors"] == 0 and test["values_wrong"] == 0
    assert document["options"]["preset"] == preset
    assert xml.dom.minidom.parse(str(plot)).getElementsByTagName("polyline")


def test_frame_load_against_nicached(fleet):
    """The suite's generator of composed frames: what it counts as hits, stored and missing."""
    appliance = fleet.start("memif", "--memcache-udp-port 11211", "--memcache-udp-allow 198.18.0.0/15")
    interface = ["-h", STACK_ADDRESS, "--hugepages", "no", "--interface",
                 f"m0 memif:{fleet.directory}/m0.sock {HOST_ADDRESS}/24 client"]

    def frames(*words):
        done = appliance.namespace.run(FRAME_LOAD, *interface, "-d", 64, "--duration", 0.5, "-P", 64, *words)
        return json.loads(done.stdout)

    bench(appliance.namespace, *interface, "--preload", "-r", 2000, "-d", 64, "-t", "get", "-n", 10)
    mixed = frames("-r", 2000, "--mix", "50:50")
    assert mixed["hits"] > 0 and mixed["stored"] > 0 and mixed["errors"] == 0
    assert mixed["hits"] + mixed["stored"] == mixed["replies"] == mixed["frames"] > 1000
    half_there = frames("-r", 4000, "-t", "get")
    assert half_there["hits"] == pytest.approx(half_there["errors"], rel=0.1)

    def check_paced():
        paced = frames("-r", 2000, "-t", "get", "--rate", 4000)
        assert paced["latency_us"]["count"] == paced["replies"] == pytest.approx(2000, rel=0.2)
        assert 0 < paced["latency_us"]["p50"] <= paced["latency_us"]["p99"] <= paced["latency_us"]["max"]

    # Half a second of a machine that others use: how many frames left in it is luck, at most three times.
    for last in (False, False, True):
        try:
            check_paced()
            break
        except AssertionError:
            if last:
                raise


def test_frame_load_refusals():
    for words, reason in [(["--echo", "50"], "--echo takes"), (["--duration", "1"], "--interface and an IPv4"),
                          (["-h", "198.18.0.2", "--interface", "m0 memif:/x 198.18.0.1/24 client"], "--duration"),
                          (["--nosuch"], "nosuch")]:
        done = run(FRAME_LOAD, *words, check=False)
        assert done.returncode == 2 and reason in done.stdout, done.stdout


# ---- the generator proven right ---------------------------------------------------------------------


class Prompt(NoNamespace):
    """What runs here goes before other work, where that is allowed: the runs are about a second long, and sleep
    most of the time."""

    allowed = run("chrt", "-r", "1", "true", check=False).returncode == 0

    def command(self, *words):
        return super().command(*(["chrt", "-r", "1"] if self.allowed else []), *words)


def ping_delay_server(server_words, *words):
    """One ping test against a delay server: the generator's latencies, and the delays that the server itself
    measured, sorted, both in us."""
    process = Prompt().popen(DELAY_SERVER, *server_words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        test, = bench(Prompt(), "-p", int(process.stdout.readline()), "-t", "ping", *words)["tests"]
        measured, _ = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    return test["latency_us"]["all"], sorted(int(line) / 1000 for line in measured.split())


QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9}
HISTOGRAM = 0.004  # its buckets' half width


def check_against_measured(loop):
    """No quantile may lie below the server's: every request took at least as long as its reply was held back.
    Returns how far they lie above, at most; that also has the two ways over the loopback in it."""
    latency, measured = ping_delay_server([50000], *loop)
    assert latency["count"] == len(measured) == 400 and measured[0] >= 50000
    excess = 0
    for name, share in {**QUANTILES, "p99": 0.99, "max": 1}.items():
        server_us = measured[min(int(share * 400), 399)] if share < 1 else measured[-1]
        below = measured[max(int(share * 400) - 1, 0)]
        assert latency[name] >= below * (1 - HISTOGRAM), name
        if name in QUANTILES:
            excess = max(excess, latency[name] / server_us - 1)
    return excess


@pytest.mark.parametrize("loop", [["-c", 20, "-n", 400], ["-c", 100, "--rate", 500, "-n", 400]])
def test_known_delay(loop):
    """Percentiles within 2 %, over real sockets. tests/unit/bench/load_test.c shows the same in virtual time,
    where nothing disturbs it. Here other work on the machine can hold up a packet on its way, which is no
    fault of the generator but does count in what it measures: hence three tries for the upper bound. The lower
    bound has to hold each time."""
    excesses = []
    while not excesses or (min(excesses) >= 0.02 and len(excesses) < 3):
        excesses.append(check_against_measured(loop))
    assert min(excesses) < 0.02, excesses


STALL = [300, 200]  # after 300 ms, for 200 ms


def test_stall_shows_in_open_loop():
    latency, _ = ping_delay_server([100, *STALL], "--rate", 1000, "--arrival", "constant", "-n", 1000, "-c", 20)
    # A fifth of the requests were meant to leave within the stall: they waited 0 to 200 ms. Other work on the
    # machine can only make it more.
    assert 190e3 < latency["p99.9"] <= latency["max"]
    assert 140e3 < latency["p95"]
    assert 80e3 < latency["p90"]
    assert latency["p50"] < 20e3


def test_stall_hides_in_closed_loop():
    """The contrast: one connection that waits for each reply sees the stall once."""
    latency, _ = ping_delay_server([100, *STALL], "-c", 1, "-n", 3000)
    assert latency["p99"] < 20e3 and latency["max"] > 190e3


class WrongServer(socketserver.ThreadingTCPServer):
    """RESP enough for the generator, with a fault that is switched on after the preload."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, fault, port=0):
        self.fault, self.values, self.first, self.writes = fault, {}, {}, 0
        super().__init__(("127.0.0.1", port), WrongHandler)

    def get(self, key):
        value = self.values.get(key)
        if self.fault == "swap" and self.writes > 100:
            a, b = sorted(self.values)[:2]
            value = self.values[{a: b, b: a}.get(key, key)]
        if self.fault == "stale":
            value = self.first.get(key)
        if self.fault == "damage" and self.writes > 100:
            value = value[:-1] + bytes([value[-1] ^ 1])
        return value

    def set(self, key, value):
        self.writes += 1
        self.first.setdefault(key, value)
        self.values[key] = value


class WrongHandler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2])
            if words[0] == b"SET":
                self.server.set(words[1], words[2])
                self.wfile.write(b"+OK\r\n")
            else:
                value = self.server.get(words[1])
                self.wfile.write(b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value))


@pytest.mark.parametrize("fault, name", [("swap", "value of another key"), ("stale", "stale"),
                                         ("damage", "damaged"), (None, "")])
def test_verification_catches(fault, name):
    with WrongServer(fault) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        document = bench(NoNamespace(), "-p", server.server_address[1], "-c", 3, "-n", 2000, "-r", 20, "-d",
                         "20-40", "--verify", "--mix", "50:50", code=3 if fault else 0)
        server.shutdown()
    test, = document["tests"]
    assert (test["values_wrong"] > 0) == bool(fault)
    assert test["first_fault"].startswith(name)


# ---- the command line ---------------------------------------------------------------------------------


def test_help_and_refusals():
    text = run(BENCH, "--help").stdout
    for word in ("-h, --host", "-p, --port", "-c CONNECTIONS", "-P, --pipeline", "-n REQUESTS", "-t TESTS"):
        assert word in text
    for words, reason in [(["-c", "0"], "-c must be"), (["-t", "nosuch"], "unknown test"),
                          (["--preset", "x"], "unknown preset"), (["extra"], "unknown word"),
                          (["--key-size", "2"], "cannot tell"), (["--mix", "0:0"], "GET:SET"),
                          (["-u", "-d", "5000"], "one packet"), (["-u", "-c", "65"], "at most 64"),
                          (["--interface", "m0 memif:x 198.18.0.1/24 client"], "path of a socket"),
                          (["--rate", "-1"], "--rate must"), (["--ttl", "9-2"], "--ttl takes"),
                          (["--ack-delay", "100"], "goes with --interface")]:
        done = run(BENCH, *words, check=False)
        assert done.returncode == 2 and reason in done.stdout, done.stdout


def test_nobody_there():
    done = run(BENCH, "-p", 1, check=False)
    assert done.returncode == 1 and "cannot connect to 127.0.0.1:1" in done.stdout
