"""The servers that are measured: nicached, redis-server, memcached, and testpmd, which only echoes.

Each can be paused (SIGSTOP), so that all keep their data while one of them is measured, and says in a snapshot
what it has done and used so far.
"""

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

from processes import Process, Trouble, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from free_ports import free_ports  # noqa: E402

READY_S = 30
CONNECTIONS_MAX = 4096
MAXMEMORY = "1gb"     # with hugepages nicached reserves all of it at its start, and its index by it
OWN_ADDRESS, CLIENT_ADDRESS = "198.18.2.2", "198.18.2.1"

socket_numbers = itertools.count()  # in the names of Unix sockets


@dataclass
class Snapshot:
    time: float
    requests: int
    cpu_s: float            # of the whole process, user and system
    counters: dict = field(default_factory=dict)
    worker_waited_s: float = 0.0   # the polling threads were ready to run and had no CPU
    helpers_cpu_s: float = 0.0     # of all threads but those
    workers: int = 1


class Server:
    """One on kernel sockets; subclasses say how it is started and asked."""

    name = ""
    worker_threads = ()     # by name

    def __init__(self, settings):
        self.settings = settings
        self.port, = free_ports(1)
        self.asked = 0          # questions of ours that it counts as requests
        self.control = None
        self.process = Process(self.name, self.words(), self.cpus(), settings.directory)
        try:
            wait_until(self.is_ready, READY_S, f"{self.name} is ready")
        except BaseException:
            self.process.end()
            raise

    def words(self):
        raise NotImplementedError

    def cpus(self):
        return {self.settings.server_cpu}

    def is_ready(self):
        if not self.process.is_running():
            raise Trouble(f"{self.name} ended at its start; {self.process.last_words()}")
        with contextlib.suppress(OSError):
            self._connect(1).close()
            return True
        return False

    def _connect(self, timeout_s):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def close(self):
        self._hang_up()
        self.process.end()

    def pause(self):
        time.sleep(0.05)  # it sees the generator's connections go
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        if not self.process.is_running():
            raise Trouble(f"{self.name} has ended ({self.process.popen.returncode}); {self.process.last_words()}")
        self.process.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def _asking(self, request):
        """Sends a question; what reads the answer stands within. After a failure the next question gets a new
        connection: an answer that comes late must not be taken for the next one's."""
        try:
            if self.control is None:
                self.control = self._connect(20)
            self.control.sendall(request)
            yield self.control
        except (OSError, ValueError) as problem:
            self._hang_up()
            raise Trouble(f"{self.name} does not answer ({problem}); {self.process.last_words()}") from None

    def _hang_up(self):
        if self.control:
            self.control.close()
        self.control = None

    def ask(self, request, end):
        """Sends text, returns what comes until `end`."""
        answer = b""
        with self._asking(request) as control:
            while not answer.endswith(end):
                piece = control.recv(1 << 16)
                if not piece:
                    raise OSError("it hung up")
                answer += piece
        return answer.decode(errors="replace")

    def info(self, section):
        """Redis's INFO."""
        self.asked += 1
        request = b"*2\r\n$4\r\nINFO\r\n$%d\r\n%s\r\n" % (len(section), section.encode())
        with self._asking(request) as control, control.makefile("rb") as stream:
            text = stream.read(int(stream.readline()[1:]) + 2).decode(errors="replace")
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def counters(self):
        raise NotImplementedError

    def snapshot(self, keys_a_get=1):
        counters = self.counters()
        threads = self.process.threads()
        worker = [thread for thread in threads if thread[0] in self.worker_threads]
        cpu_s = sum(on_cpu for _, on_cpu, _ in threads)
        return Snapshot(time.monotonic(), self.requests(counters, keys_a_get) - self.asked, cpu_s, counters,
                        sum(waited for _, _, waited in worker),
                        cpu_s - sum(on_cpu for _, on_cpu, _ in worker), len(worker))

    def requests(self, counters, keys_a_get):
        raise NotImplementedError


class Nicached(Server):
    """Over memif, and over kernel sockets, which the suite also asks it through."""

    name = "nicached"
    worker_threads = ("nicached-w0",)

    def __init__(self, settings, extra_words=()):
        self.extra_words = extra_words
        self.memif_path = settings.directory / f"n{next(socket_numbers)}.sock"
        [self.memcache_port], [self.udp_port] = free_ports(1), free_ports(1, socket.SOCK_DGRAM)
        super().__init__(settings)

    def words(self):
        return [self.settings.server_path,
                "--interface", "m0", f"memif:{self.memif_path}", f"{OWN_ADDRESS}/24",
                "--interface", "lo0", "socket", "127.0.0.1",
                "--port", self.port, "--memcache-port", self.memcache_port, "--memcache-udp-port", self.udp_port,
                "--memcache-udp-allow", "198.18.0.0/15",
                "--protected-mode", "no", "--hugepages", self.settings.hugepages,
                "--worker-cpus", self.worker_cpus(), "--maxmemory", MAXMEMORY, *self.extra_words]

    def worker_cpus(self):
        return self.settings.server_cpu

    def cpus(self):
        """The other threads share the generator's CPU; what they use counts, too."""
        return {self.settings.server_cpu, self.settings.client_cpu}

    def close(self):
        super().close()
        self.memif_path.unlink(missing_ok=True)

    def is_ready(self):
        return super().is_ready() and "Ready to accept connections" in self.process.log()

    def interface_words(self):
        return ["--interface", f"m0 memif:{self.memif_path} {CLIENT_ADDRESS}/24 client",
                "--hugepages", self.settings.hugepages, "-h", OWN_ADDRESS]

    def set_poll_mode(self, mode):
        """While it is paused."""
        self.resume()
        self.asked += 1
        answer = self.ask(b"CONFIG SET poll-mode %s\r\n" % mode.encode(), b"\r\n")
        self.pause()
        if answer != "+OK\r\n":
            raise Trouble(f"CONFIG SET poll-mode {mode}: {answer}")

    def counters(self):
        return {name: int(value) for name, value in self.info("stages").items() if value.strip().isdigit()}

    def requests(self, counters, keys_a_get):
        try:
            return counters["loop_requests"]
        except KeyError:
            raise Trouble("INFO stages has no loop_requests: not a nicached of today?") from None


class TwinNicached(Nicached):
    """Two workers. There is no third CPU: the second one shares the generator's."""

    worker_threads = ("nicached-w0", "nicached-w1")

    def __init__(self, settings):
        super().__init__(settings, ["--workers", 2])

    def worker_cpus(self):
        return f"{self.settings.server_cpu},{self.settings.client_cpu}"


class CrowdedNicached(Nicached):
    """For more connections than one address has ports: 28,232."""

    CLIENT_ADDRESSES = [CLIENT_ADDRESS, *(f"198.18.2.{last}" for last in range(11, 17))]

    def __init__(self, settings):
        super().__init__(settings, ["--maxclients", 2 * settings.crowd + 100])

    def interface_words(self):
        addresses = " ".join(f"{address}/24" for address in self.CLIENT_ADDRESSES)
        return ["--interface", f"m0 memif:{self.memif_path} {addresses} client",
                "--hugepages", self.settings.hugepages, "-h", OWN_ADDRESS]

    def connections(self):
        return int(self.info("clients")["connected_clients"]) - 1

    def connection_bytes(self):
        """Resident memory, and what it counts for its connections."""
        return self.process.resident_bytes(), int(self.info("loop")["connection_bytes"])


class Redis(Server):
    name = "redis-server"

    def words(self):
        return ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", self.settings.directory]

    def counters(self):
        return {name: int(value) for name, value in self.info("stats").items() if value.strip().isdigit()}

    def requests(self, counters, keys_a_get):
        return counters["total_commands_processed"]


class LeastServer(Server):
    """Reads, and sends what it has ready: what it takes is the kernel's share of everybody's requests."""

    name = "least-server"

    def __init__(self, settings, request_bytes, value_bytes):
        self.request_bytes, self.value_bytes = request_bytes, value_bytes
        super().__init__(settings)

    def words(self):
        return [self.settings.least_path, self.port, self.request_bytes, self.value_bytes]

    def counters(self):
        return {"answered": int(self.info("all")["answered"])}

    def requests(self, counters, keys_a_get):
        return counters["answered"] + self.asked   # which it does not count


class Memcached(Server):
    name = "memcached"

    def words(self):
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        return ["memcached", "-l", "127.0.0.1", "-p", self.port, "-U", 0, "-t", 1, "-m", 8192, "-c",
                CONNECTIONS_MAX, *user]

    def counters(self):
        text = self.ask(b"stats\r\n", b"END\r\n")
        return {name: int(value) for name, value in re.findall(r"STAT (\S+) (\d+)\r", text)}

    def requests(self, counters, keys_a_get):
        # memcached counts keys; `stats` itself is in neither.
        return counters["cmd_get"] // keys_a_get + counters["cmd_set"] + self.asked


# ---- at one end of a veth pair --------------------------------------------------------------------


class Namespaces:
    """Two network namespaces, the servers' and the generator's. Two veth pairs join them: one end of the first is left to
    nicached, the second is the kernel's on both sides."""

    OURS, KERNEL, CLIENT = "198.18.3.2", "198.18.4.2", "198.18.{}.1"

    def __init__(self):
        self.server, self.client = (f"nicached-suite-{os.getpid()}-{end}" for end in ("s", "c"))
        try:
            for name in (self.server, self.client):
                self._ip("netns", "add", name)
                self._ip("-n", name, "link", "set", "lo", "up")
            for number, pair in ((3, "xdp"), (4, "sock")):
                self._ip("link", "add", f"{pair}0", "netns", self.server, "type", "veth", "peer", "name", f"{pair}1",
                         "netns", self.client)
                self._ip("-n", self.client, "addr", "add", f"{self.CLIENT.format(number)}/24", "dev", f"{pair}1")
                self._ip("-n", self.server, "link", "set", f"{pair}0", "up")
                self._ip("-n", self.client, "link", "set", f"{pair}1", "up")
            self._ip("-n", self.server, "addr", "add", f"{self.KERNEL}/24", "dev", "sock0")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _ip(*words):
        done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
        if done.returncode != 0:
            raise Trouble(f"ip {' '.join(words)} (it takes root): {done.stderr.strip()}")

    def in_server(self, words):
        return ["ip", "netns", "exec", self.server, *words]

    def in_client(self, words):
        return ["ip", "netns", "exec", self.client, *words]

    def close(self):
        for name in (self.server, self.client):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20, check=False)


class _Namespaced:
    """In the servers' namespace; the suite asks it through a Unix socket."""

    def __init__(self, settings, namespaces):
        self.namespaces = namespaces
        self.socket_path = settings.directory / f"u{next(socket_numbers)}.sock"
        super().__init__(settings)

    def _connect(self, timeout_s):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout_s)
            connection.connect(str(self.socket_path))
        except BaseException:
            connection.close()
            raise
        return connection


class XdpNicached(_Namespaced, Nicached):
    address = Namespaces.OURS

    def words(self):
        return self.namespaces.in_server([
            self.settings.server_path, "--interface", "xdp0", "af_xdp", f"{self.address}/24", "--unixsocket",
            self.socket_path, "--port", self.port, "--memcache-port", self.memcache_port, "--protected-mode", "no",
            "--hugepages", self.settings.hugepages, "--worker-cpus", self.settings.server_cpu, "--maxmemory", MAXMEMORY])


class KernelRedis(_Namespaced, Redis):
    address = Namespaces.KERNEL

    def words(self):
        return self.namespaces.in_server([*super().words(), "--bind", self.address, "--protected-mode", "no",
                                          "--unixsocket", self.socket_path])


class Testpmd:
    """dpdk-testpmd, 5tswap, on a memif as nicached's: rings of 1024, buffers of 2 KiB, bursts of 32."""

    name = "testpmd"
    worker_threads = ("rte-worker-1",)

    def __init__(self, settings):
        if not shutil.which("dpdk-testpmd"):
            raise Trouble("dpdk-testpmd is not there: `./test bench` installs it (Debian's dpdk-dev)")
        self.settings = settings
        self.memif_path = settings.directory / f"t{next(socket_numbers)}.sock"
        memory = ["--in-memory"] if settings.hugepages == "yes" else ["--no-huge", "--no-shconf"]
        self.process = Process(self.name, [
            "stdbuf", "-oL", "dpdk-testpmd", "--lcores", f"0@{settings.client_cpu},1@{settings.server_cpu}", *memory,
            "-m", 256, "--no-pci", "--no-telemetry", "--file-prefix", f"nicached-suite-{os.getpid()}", "--vdev",
            f"net_memif0,role=server,socket={self.memif_path},socket-abstract=no,rsize=10,bsize=2048", "--",
            "-i", "--forward-mode=5tswap", "--rxd=1024", "--txd=1024", "--burst=32", "--nb-cores=1", "--auto-start",
            "--record-core-cycles", "--total-num-mbufs=16384"], None, settings.directory, stdin=subprocess.PIPE)
        try:
            wait_until(lambda: self._says("Start automatic packet forwarding"), READY_S, "testpmd is ready")
        except BaseException:
            self.process.end()
            raise

    def _says(self, text):
        if not self.process.is_running():
            raise Trouble(f"testpmd ended at its start; {self.process.last_words()}")
        return text in self.process.log()

    def _type(self, text):
        try:
            self.process.popen.stdin.write(text.encode() + b"\n")
            self.process.popen.stdin.flush()
        except OSError:
            raise Trouble(f"testpmd is gone; {self.process.last_words()}") from None

    def close(self):
        self.process.end()
        self.memif_path.unlink(missing_ok=True)

    pause = Server.pause
    resume = Server.resume

    def interface_words(self):
        return ["--interface", f"m0 memif:{self.memif_path} {CLIENT_ADDRESS}/24 client",
                "--hugepages", self.settings.hugepages, "-h", OWN_ADDRESS]

    def snapshot(self, keys_a_get=1):
        """Packets forwarded and the cycles of bursts that were not empty, since the generator connected."""
        del keys_a_get
        pattern = r"CPU cycles/packet=\S+ \(total cycles=(\d+) / total \S+ packets=(\d+)\) at (\d+) MHz"
        offset = len(self.process.log())
        self._type("show fwd stats all")
        wait_until(lambda: "testpmd>" in self.process.log()[offset:].partition("Accumulated")[2], 10,
                   "testpmd shows its statistics", 0.005)
        found = re.search(pattern, self.process.log()[offset:])
        cycles, packets, mhz = (int(text) for text in found.groups()) if found else (0, 0, 1)
        threads = self.process.threads()
        return Snapshot(time.monotonic(), packets, sum(on_cpu for _, on_cpu, _ in threads),
                        {"loop_busy_cycles": cycles, "tsc_hz": mhz * 1000000, "loop_requests": packets,
                         "loop_long_requests": 0},
                        sum(waited for name, _, waited in threads if name in self.worker_threads), 0.0)
