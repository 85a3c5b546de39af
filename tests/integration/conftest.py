"""Fixtures: nicached in a network namespace of its own, reached through one of its drivers.

Everything happens inside namespaces that a test makes itself, with addresses of 198.18.0.0/15,
127.0.0.0/8 and fd00::/8; they are gone when the test ends. Without root only the kernel-socket forms run.
"""

import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("NICACHED_BINARY", ROOT / "build-test/control/nicached"))
BENCH = BINARY.parents[1] / "tests/bench/nicached-bench"
FRAME_LOAD = BINARY.parents[1] / "tests/bench/frame_load"
DELAY_SERVER = BINARY.parents[1] / "tests/unit/bench/delay_server"
PYTHON = "/usr/bin/python3"
STACK_ADDRESS = "198.18.0.2"
HOST_ADDRESS = "198.18.0.1"
STACK_ADDRESS_IPV6 = "fd00::2"
HOST_ADDRESS_IPV6 = "fd00::1"
IS_ROOT = os.geteuid() == 0
# For a BINARY built with a sanitizer: what libraries leak, and what TSan cannot see into.
os.environ.setdefault("TSAN_OPTIONS", f"suppressions={ROOT}/tests/support/tsan.supp")
os.environ.setdefault("LSAN_OPTIONS", f"suppressions={ROOT}/tests/support/lsan.supp:print_suppressions=0")

_numbers = itertools.count(1)
_bad_ends = []  # what was wrong with each nicached that did not end well


def pytest_runtest_setup(item):
    """Marks a test that failed and is run once more (--reruns), for ./test to count. Late is forgiven; a nicached that crashed
    is not."""
    if getattr(item, "execution_count", 1) > 1:
        item.user_properties.append(("repeated", "failed before"))
        if _bad_ends:
            pytest.fail(f"not run once more, for nicached ended with {_bad_ends[-1]}")


def pytest_terminal_summary(terminalreporter):
    """What failed before it was run once more: the plugin names those tests and says no more."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("_", f"{report.nodeid}, before it was run once more")
        terminalreporter.write_line(report.longreprtext)


def run(*command, check=True, timeout=120, **more):
    """Runs a command to its end and returns it, its output as text."""
    return subprocess.run([str(word) for word in command], check=check, text=True, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)


class Namespace:
    """A network namespace, with helpers to run things inside it."""

    def __init__(self):
        self.name = f"nicached-{os.getpid()}-{next(_numbers)}"
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *[str(word) for word in words]]

    def run(self, *words, **more):
        return run(*self.command(*words), **more)

    def popen(self, *words, **more):
        return subprocess.Popen(self.command(*words), **more)

    def close(self):
        run("ip", "netns", "del", self.name, check=False)


class NoNamespace(Namespace):
    """The test's own network, for those who are not root: kernel sockets only."""

    def __init__(self):
        self.name = None

    def command(self, *words):
        return [str(word) for word in words]

    def close(self):
        pass


class Appliance:
    """A running nicached. `address` is where its clients find it, from inside `namespace`. `prefix`: words of a
    program that executes it."""

    def __init__(self, namespace, address, directives, log_path, prefix=()):
        self.namespace = namespace
        self.address = address
        self.log_path = log_path
        self.log = open(log_path, "wb")
        words = [word for line in directives for word in line.split(" ")]
        self.process = namespace.popen(*prefix, BINARY, *words, stdout=self.log, stderr=self.log)
        self.wait_until_ready()

    def output(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def wait_until_ready(self, timeout=30):
        deadline = time.monotonic() + timeout
        while "Ready to accept connections" not in self.output():
            if self.process.poll() is not None:
                _bad_ends.append(f"exit code {self.process.returncode}:\n{self.output()}")
                raise RuntimeError(f"nicached ended with {_bad_ends[-1]}")
            if time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"nicached is not ready:\n{self.output()}")
            time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        """Ends it as an operator would, and sees that it ended well."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = f"{self.process.wait()} after 30 s without an end"
        self.log.close()
        text = self.output()
        troubles = [word for word in ("Sanitizer", "runtime error", "CHECK(") if word in text]
        if code or troubles:
            _bad_ends.append(f"exit code {code}, {troubles}:\n{text[-8000:]}")
            pytest.fail(_bad_ends[-1])

    def client(self, source, *words, timeout=300, check=True):
        """Runs a Python client script (its text) inside the namespace; `words` are its arguments."""
        done = self.namespace.run(PYTHON, "-c", source, self.address, *words, timeout=timeout,
                                  check=False)
        assert done.returncode == 0 or not check, done.stdout[-4000:]
        return done.stdout


def make_veth(namespace, mtu=1500, peer=None):
    """veth0 for the kernel's client (in `peer`), veth1 for nicached. The kernel leaves checksums unfinished on a
    veth unless it is told not to; a wire would never see such packets."""
    peer = peer or namespace
    namespace.run("ip", "link", "add", "veth1", "mtu", mtu, "type", "veth", "peer", "name", "veth0",
                  "mtu", mtu, *(["netns", peer.name] if peer is not namespace else []))
    for owner, end in ((peer, "veth0"), (namespace, "veth1")):
        owner.run("ethtool", "-K", end, "tx", "off", "gso", "off", "tso", "off", "gro", "off", check=False)
        owner.run("ip", "link", "set", end, "up")
    peer.run("ip", "addr", "add", f"{HOST_ADDRESS}/24", "dev", "veth0")
    peer.run("ip", "addr", "add", f"{HOST_ADDRESS_IPV6}/64", "dev", "veth0", "nodad")
    namespace.run("sysctl", "-qw", "net.ipv6.conf.veth1.disable_ipv6=1", check=False)


def stack_mac(appliance):
    """The MAC that our stack answers ARP with, on a TAP."""
    with_port = f"socket.create_connection(('{appliance.address}', 6379), timeout=5).close()"
    appliance.namespace.run(PYTHON, "-c", f"import socket; {with_port}")
    neighbours = appliance.namespace.run("ip", "neigh", "show", appliance.address).stdout.split()
    return neighbours[neighbours.index("lladdr") + 1]


def processor_seconds(process):
    """CPU time of all its threads."""
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def peer_server(namespace, *words, port, **more):
    """Somebody else's server, for the block; it listens on the port of the namespace's 127.0.0.1."""
    process = namespace.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    knock = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
    try:
        deadline = time.monotonic() + 30
        while namespace.run(PYTHON, "-c", knock, check=False).returncode != 0:
            assert time.monotonic() < deadline and process.poll() is None, f"{words[0]} does not start"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


class Fleet:
    """Starts appliances over any driver, and ends all of them with the test."""

    def __init__(self, directory):
        self.directory = directory
        self.appliances = []
        self.namespaces = []

    def namespace(self):
        namespace = Namespace() if IS_ROOT else NoNamespace()
        self.namespaces.append(namespace)
        return namespace

    def start(self, driver="socket", *directives, namespace=None, ipv6=False, keywords="", peer=None, prefix=(),
              mtu=None):
        """With `ipv6` an interface has an address of each family, and the IPv6 one is named. `keywords`
        stand at the end of the interface line, `mtu` as well, which a veth then has at both ends. `peer`: a namespace
        for veth0, else it is in the same."""
        keywords = f"{keywords} mtu {mtu}".strip() if mtu else keywords
        networks = f"{STACK_ADDRESS}/24" + (f" {STACK_ADDRESS_IPV6}/64" if ipv6 else "")
        if driver != "socket" and not IS_ROOT:
            pytest.skip("needs root")
        namespace = namespace or self.namespace()
        address = STACK_ADDRESS_IPV6 if ipv6 else STACK_ADDRESS
        if driver == "socket":
            lines, address = ["--interface lo0 socket 127.0.0.1"], "127.0.0.1"
        elif driver == "memif":
            lines = [f"--interface m0 memif:{self.directory}/m0.sock {networks}{keywords and ' ' + keywords}"]
        elif driver == "tap":
            lines = [f"--interface tap0 tap {networks}{keywords and ' ' + keywords}"]
        else:
            make_veth(namespace, mtu=mtu or 1500, peer=peer)
            lines = [f"--interface veth1 {driver} {networks}{keywords and ' ' + keywords}"]
        lines += ["--protected-mode no", "--hugepages no", *directives]
        log_path = self.directory / f"nicached-{len(self.appliances)}.log"
        appliance = Appliance(namespace, address, lines, log_path, prefix)
        self.appliances.append(appliance)
        return appliance

    def replay(self, source, answers, *directives, networks=f"{STACK_ADDRESS}/24"):
        """Plays a capture into a pcap port until all of it has come in; what leaves is then in `answers`."""
        from scapy.all import rdpcap

        if not IS_ROOT:
            pytest.skip("needs root")
        path = self.directory / "replay.sock"
        appliance = Appliance(self.namespace(), path, [
            f"--interface p0 pcap:{source},{answers} {networks}", f"--unixsocket {path}", "--protected-mode no",
            "--hugepages no", *directives], self.directory / "replay.log")
        self.appliances.append(appliance)
        come, deadline = f"net_rx_packets:{len(rdpcap(str(source)))}\n", time.monotonic() + 20
        while come not in (net := run("redis-cli", "-s", path, "info", "net").stdout):
            assert time.monotonic() < deadline, net
            time.sleep(0.02)
        appliance.stop(signal.SIGINT)

    def close(self):
        problems = []
        for appliance in self.appliances:
            try:
                appliance.stop()
            except Exception as problem:  # all must be ended before the first is reported
                appliance.process.kill()
                problems.append(problem)
        for namespace in self.namespaces:
            namespace.close()
        if problems:
            raise problems[0]


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.close()


DRIVERS = ["socket", "tap", "af_packet", "af_xdp"]


@pytest.fixture(params=DRIVERS)
def appliance(request, fleet):
    """One appliance over each driver in turn."""
    return fleet.start(request.param)
