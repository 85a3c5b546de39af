"""The rows of the report: what is run for each goal in one round.

A row is a function of the laboratory that returns its lines: our figure, the peers' of the same round, and their
ratio. The laboratory starts servers when they are first needed, has them verified, fills them, and keeps them.
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass, field

import servers
from goals import BARS, BUDGETS, HOP_BUDGET, MICA_CYCLES, VALKEY_BYTES
from measure import Sample, finish, measure, run, spawn
from processes import Process, Trouble, wait_until

KEY_BYTES, VALUE_BYTES = 16, 64
GET_BYTES = 36            # a RESP GET of such a key
WINDOW = 512              # frames under way: enough for full bursts, less than a ring
LARGE_BYTES = 16384
ECHO_LARGE_BYTES = 1400
VALUES_BYTES = 256 << 20  # that many bytes of values, whatever the size of one
HELD = 0.97               # of the rate that it was asked at: then a server holds the load
FEW = 50                  # connections, beside very many; and requests under way with either
MANY_UNDER_WAY = 512      # and with very many alone: as many as they have where they are used
RIDING = ["--ack-delay", 499]  # the ACK of a reply waits for the next request; after 40 ms it comes by itself
ALONE = ["--ack-delay", 0]     # it comes by itself however soon the next request is
CONNECTION_BYTES = 1024
CROWD_S = 60              # for all connections to open
IDLE_RATE = 20            # requests/s on all of them: they are idle
EVICTION_ITEM_BYTES = 150 # key, value and what an item takes besides, roughly: it only says what is half and what is full
GET_FRAME_BYTES = 72      # a UDP GET of a 16 byte key: what testpmd echoes for G1
TESTPMD_DRIFT_MAX = 0.25
PRELOAD_S = 180
BUSY_CORE = "per busy core second"
SOCKETS = "per CPU second"


@dataclass
class Line:
    """One comparison of a round."""

    name: str
    unit: str
    ours: float
    peers: dict                # measured in the same round
    ratio: float = None
    bars: dict = field(default_factory=dict)   # measured elsewhere, published
    counted: bool = True       # for the verdict
    sample: Sample = None
    spread: dict = field(default_factory=dict)  # more of ours, for the report
    curves: dict = field(default_factory=dict)
    disturbed: str = ""        # why the round is not to be trusted
    note: str = ""             # where the cycles or bytes go, when it is not INFO stages that says so


class Laboratory:
    def __init__(self, settings):
        self.settings = settings
        self.servers = {}

    def close(self):
        while self.servers:
            self.servers.popitem()[1].close()

    def drop_ended(self):
        """Servers that are gone are started again when they are needed."""
        for name, server in list(self.servers.items()):
            if not server.process.is_running():
                server.close()
                del self.servers[name]

    def _get(self, name, create, prepare=None):
        if name not in self.servers:
            server = create()
            self.servers[name] = server
            try:
                if prepare:
                    prepare(server)
            except Exception:
                del self.servers[name]
                server.close()
                raise
            server.pause()
        return self.servers[name]

    # ---- generators' command lines --------------------------------------------------------------

    def common(self):
        return ["--cpu", self.settings.client_cpu, "-r", self.settings.keys, "--key-size", KEY_BYTES, "-d",
                VALUE_BYTES]

    def sockets_of(self, server, text):
        port = server.memcache_port if text and isinstance(server, servers.Nicached) else server.port
        return [self.settings.bench_path, "--json", "-p", port, *(["-m"] if text else [])]

    def _memif(self, server, text):
        port = server.memcache_port if text else server.port
        return [self.settings.bench_path, "--json", *server.interface_words(), "-p", port,
                *(["-m"] if text else [])]

    def bench(self, server, *words, memif=False, text=False, seconds=None):
        prefix = self._memif(server, text) if memif else self.sockets_of(server, text)
        return [*prefix, *self.common(), "--duration", seconds or self.settings.seconds, *words]

    def frames(self, server, *words, port=None):
        return [self.settings.frames_path, *server.interface_words(), *self.common(), "-p", port or 11211,
                "--duration", self.settings.seconds, "-P", WINDOW, *words]

    # ---- servers ---------------------------------------------------------------------------------

    def _verify(self, server, *words, memif=False, text=False):
        prefix = self._memif(server, text) if memif else self.sockets_of(server, text)
        run(self.settings, [*prefix, "--cpu", self.settings.client_cpu, "-r", 2000, "-d", "20-200", "--verify",
                            "--mix", "50:50", "-n", 20000, *words], 60)

    def preload(self, server, *words, memif=False, text=False):
        """Writes every key, and reads some: the generator's document."""
        prefix = self._memif(server, text) if memif else self.sockets_of(server, text)
        return run(self.settings, [*prefix, *self.common(), "--preload", "-t", "get", "-n", 100, "-c", 32, "-P", 16,
                                   *words], PRELOAD_S)

    def fill(self, server, *words, memif=False, text=False):
        """The same, and every key has to be there."""
        document = self.preload(server, *words, memif=memif, text=text)
        if document["misses"] or document["errors"]:
            raise Trouble(f"{server.name}: {document['misses']} misses, {document['errors']} errors after the preload")

    def _prepare_nicached(self, server):
        for text in (False, True):
            self._verify(server, "-c", 20, "-P", 4, text=text)
            self._verify(server, "-c", 20, "-P", 4, memif=True, text=text)
        run(self.settings, [self.settings.bench_path, "--json", *server.interface_words(), "-p", server.udp_port, "-u",
                            "-c", 4, "-P", 8, "-r", 2000, "-d", "20-200", "--verify", "--mix", "50:50", "-n", 20000],
            60)
        self.fill(server, memif=True)

    @property
    def nicached(self):
        return self._get("nicached", lambda: servers.Nicached(self.settings), self._prepare_nicached)

    @property
    def nicached_large(self):
        def prepare(server):
            self._verify(server, "-d", LARGE_BYTES, "-r", 200, "-n", 1000, "-c", 8, memif=True)
            self.fill(server, "-d", LARGE_BYTES, "-r", self.settings.large_keys, memif=True)
        return self._get("nicached, 16 KB", lambda: servers.Nicached(self.settings), prepare)

    @property
    def nicached_buckets(self):
        return self._get("nicached, buckets", lambda: servers.Nicached(self.settings, ["--store-index", "buckets"]),
                         self._prepare_nicached)

    @property
    def redis(self):
        def prepare(server):
            self._verify(server, "-c", 20, "-P", 4)
            self.fill(server)
        return self._get("redis", lambda: servers.Redis(self.settings), prepare)

    @property
    def least(self):
        return self._get("least", lambda: servers.LeastServer(self.settings, GET_BYTES, VALUE_BYTES))

    @property
    def memcached(self):
        def prepare(server):
            self._verify(server, "-c", 20, "-P", 4, text=True)
            self.fill(server, text=True)
        return self._get("memcached", lambda: servers.Memcached(self.settings), prepare)

    # ---- one measurement each --------------------------------------------------------------------

    def over_memif(self, *words, text=False, server=None, keys_a_get=1, may_miss=False):
        server = server or self.nicached
        return measure(self.settings, server, self.bench(server, *words, memif=True, text=text), False, keys_a_get,
                       may_miss)

    def over_sockets(self, server, *words, keys_a_get=1, text=False):
        return measure(self.settings, server, self.bench(server, *words, text=text), True, keys_a_get)

    def of_frames(self, *words, server=None):
        server = server or self.nicached
        return measure(self.settings, server, self.frames(server, *words, port=server.udp_port), False)

    def echo(self, frame_bytes, *words):
        """By a testpmd of its own: DPDK 22.11's memif does not always survive a peer that goes while it polls."""
        server = servers.Testpmd(self.settings)
        try:
            return measure(self.settings, server, self.frames(server, "--echo", frame_bytes, *words), False)
        finally:
            server.close()


def _best(line):
    return max([*line.peers.values(), *line.bars.values()])


def _rates(name, ours, peers, unit, bars=None, counted=True):
    """Our requests per busy core second against the best of the peers'."""
    line = Line(name, unit, ours.per_core_second, {peer.server: peer.per_core_second for peer in peers},
                bars=bars or {}, counted=counted, sample=ours,
                spread={"requests/s": ours.rate, "core busy": ours.busy})
    line.ratio = line.ours / _best(line)
    return line


# ---- over UDP ------------------------------------------------------------------------------------


def udp_get(lab):
    """Ours between two of testpmd, which must not differ much."""
    before = lab.echo(GET_FRAME_BYTES)
    ours = lab.of_frames("-t", "get")
    after = lab.echo(GET_FRAME_BYTES)
    drift = abs(after.per_core_second / before.per_core_second - 1)
    disturbed = f"testpmd moved by {100 * drift:.0f} %" if drift > TESTPMD_DRIFT_MAX else ""
    echo = (before.per_core_second + after.per_core_second) / 2
    wall = (before.rate + after.rate) / 2
    return {
        "G1": [Line("GET", f"packets {BUSY_CORE}", ours.per_core_second, {"testpmd 5tswap": echo},
                    ours.per_core_second / echo, sample=ours, spread={"core busy": ours.busy}, disturbed=disturbed),
               Line("GET, by the clock", "packets/s", ours.rate, {"testpmd 5tswap": wall}, ours.rate / wall,
                    counted=False, spread={"core busy": ours.busy})],
        "G2": [Line("GET", "busy cycles per request", ours.cycles, {}, ours.cycles / MICA_CYCLES,
                    {"MICA": MICA_CYCLES}, sample=ours)],
    }


def g10(lab):
    """50:50 between two of 95:5: the host moves the CPUs near each other and apart, within seconds."""
    before = lab.of_frames("--mix", "95:5")
    balanced = lab.of_frames("--mix", "50:50")
    after = lab.of_frames("--mix", "95:5")
    mostly_reads = (before.per_core_second + after.per_core_second) / 2
    return [Line("50:50", f"requests {BUSY_CORE}", balanced.per_core_second, {"95:5": mostly_reads},
                 balanced.per_core_second / mostly_reads, sample=balanced)]


def quantile_of_classes(counts, quantile):
    """From requests by upper bound: within a class they are taken to be spread evenly."""
    total, seen, low = sum(counts.values()), 0, 0.0
    for bound, count in counts.items():
        if count and seen + count >= quantile * total:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (quantile * total - seen) / count
        seen, low = seen + count, bound
    return low


def g12(lab):
    capacity = lab.of_frames("-t", "get")
    pace = ["--rate", int(capacity.rate / 2)]
    half = lab.of_frames("-t", "get", *pace)
    echo = lab.echo(GET_FRAME_BYTES, *pace)
    median, high = (quantile_of_classes(half.residence, quantile) / 1000 for quantile in (0.5, 0.99))
    if median <= 0:
        raise Trouble("INFO stages counted no residence")
    return [Line("UDP GET at half load", "us, 99th percentile", high, {"median": median}, high / median, sample=half,
                 spread={"requests/s": half.rate, "core busy": half.busy}),
            Line("the round trip meanwhile", "us, 99th percentile", half.at("p99"), {"testpmd 5tswap": echo.at("p99")},
                 half.at("p99") / echo.at("p99"), counted=False, spread={"us, median": half.at("p50")})]


# ---- over TCP ------------------------------------------------------------------------------------


def g3(lab):
    words = ["-t", "get", "-c", lab.settings.many, "-P", 1]
    return [_rates("GET -P 1", lab.over_memif(*words),
                   [lab.over_sockets(lab.redis, *words), lab.over_sockets(lab.memcached, *words, text=True)],
                   f"requests {BUSY_CORE}", BARS["G3"])]


def g4(lab):
    lines = []
    for kind in ("get", "set"):
        words = ["-t", kind, "-c", 50, "-P", 16]
        lines.append(_rates(f"{kind.upper()} -P 16", lab.over_memif(*words), [lab.over_sockets(lab.redis, *words)],
                            f"requests {BUSY_CORE}", BARS[f"G4 {kind.upper()}"]))
    return lines


def g5(lab):
    words = ["-t", "get", "-c", 50, "-P", 64]
    return [_rates("GET -P 64", lab.over_memif(*words), [lab.over_sockets(lab.redis, *words)],
                   f"requests {BUSY_CORE}", BARS["G5"])]


def g6(lab):
    words = ["-t", "get", "--keys-per-get", 50, "-c", 32, "-P", 1]
    return [_rates("get of 50 keys", lab.over_memif(*words, text=True, keys_a_get=50),
                   [lab.over_sockets(lab.memcached, *words, text=True, keys_a_get=50)], f"keys {BUSY_CORE}")]


def g13(lab):
    words = ["-t", "get", "-c", 1, "-P", 1]
    ours = lab.over_memif(*words)
    peers = {"redis-server": lab.over_sockets(lab.redis, *words, "--busy").at("p50"),
             "memcached": lab.over_sockets(lab.memcached, *words, "--busy", text=True).at("p50")}
    return [Line("GET, one connection", "us, median", ours.at("p50"), peers, ours.at("p50") / min(peers.values()),
                 sample=ours)]


def g18(lab):
    server = lab.nicached_large
    ours = lab.over_memif("-t", "get", "-c", 16, "-P", 4, "-d", LARGE_BYTES, "-r", lab.settings.large_keys,
                          server=server)
    echo = lab.echo(ECHO_LARGE_BYTES)
    our_bytes = ours.per_core_second * LARGE_BYTES
    echo_bytes = echo.per_core_second * ECHO_LARGE_BYTES
    return [
        Line("GET of 16 KB", f"bytes {BUSY_CORE}", our_bytes, {"testpmd 5tswap": echo_bytes}, our_bytes / echo_bytes,
             sample=ours, spread={"core busy": ours.busy}),
        Line("GET of 16 KB, by the clock", "bytes/s", ours.bytes_a_second,
             {"testpmd 5tswap": echo.bytes_a_second}, ours.bytes_a_second / echo.bytes_a_second, counted=False,
             spread={"core busy": ours.busy}),
    ]


# ---- growth and fullness -------------------------------------------------------------------------


def values(lab):
    """From small values to large ones, beside redis-server."""
    ours, redis = servers.Nicached(lab.settings), servers.Redis(lab.settings)
    lines = []
    try:
        for size in lab.settings.value_sizes:
            words = ["-d", size, "-r", min(lab.settings.keys, VALUES_BYTES // size)]
            asking = ["-t", "get", "-c", 16, "-P", 1, *words]  # more would be asked again while a large reply leaves
            found = []
            for server, memif in ((ours, True), (redis, False)):
                server.resume()
                server.ask(b"FLUSHALL\r\n", b"\r\n")
                server.asked += 1
                lab.fill(server, *words, memif=memif)
                server.pause()
                found.append(lab.over_memif(*asking, server=ours) if memif else lab.over_sockets(redis, *asking))
            line = _rates(f"GET of {size} B", found[0], found[1:], f"requests {BUSY_CORE}")
            line.curves = {"nicached": [(size, line.ours * size)],
                           "redis-server": [(size, line.peers["redis-server"] * size)]}
            lines.append(line)
    finally:
        ours.close()
        redis.close()
    return lines


def index(lab):
    """`store-index buckets` beside rte_hash, which is the default: the same server otherwise."""
    peer = "store-index rte_hash"

    def rates(name, ask):
        buckets, rte_hash = ask(lab.nicached_buckets), ask(lab.nicached)
        return Line(name, f"requests {BUSY_CORE}", buckets.per_core_second, {peer: rte_hash.per_core_second},
                    buckets.per_core_second / rte_hash.per_core_second, sample=buckets)
    lines = [rates("G1, UDP GET", lambda server: lab.of_frames("-t", "get", server=server)),
             rates("G3, TCP GET -P 1", lambda server: lab.over_memif("-t", "get", "-c", lab.settings.many, "-P", 1,
                                                                     server=server))]
    buckets, rte_hash = (_store_ns(lab, kind) for kind in ("buckets", "rte_hash"))
    for name in ("look-up + item, bulk of 32", "overwrite, bulk of 32"):
        lines.append(Line(f"G7 and G9, {name}", "ns", buckets[name], {peer: rte_hash[name]},
                          rte_hash[name] / buckets[name]))
    size = 64
    weights = [_memory_of(lab, lambda settings, kind=kind: _create_nicached_to_weigh(settings, kind), False, size)
               for kind in ("buckets", "rte_hash")]
    lines.append(Line(f"G14, values of {size} B", "bytes per item", weights[0][0], {peer: weights[1][0]},
                      weights[1][0] / weights[0][0], note=weights[0][1]))
    return lines


def g11(lab):
    """What a second worker costs each of them: frames that the first hands on, keys of the other's shard. That two do
    twice the work cannot be seen here, where the second has to share the generator's CPU."""
    asks = [("UDP GET", lambda server: lab.of_frames("-t", "get", server=server)),
            (f"TCP GET -P 1, {lab.settings.many} connections",
             lambda server: lab.over_memif("-t", "get", "-c", lab.settings.many, "-P", 1, server=server)),
            ("TCP GET -P 16", lambda server: lab.over_memif("-t", "get", "-c", 50, "-P", 16, server=server)),
            ("TCP SET -P 16", lambda server: lab.over_memif("-t", "set", "-c", 50, "-P", 16, server=server))]
    server = servers.TwinNicached(lab.settings)
    try:
        lab.fill(server, memif=True)
        server.pause()
        pairs = [(name, ask(server), ask(lab.nicached)) for name, ask in asks]
    finally:
        server.close()
    return [Line(name, f"requests {BUSY_CORE}", two.per_core_second, {"one worker": one.per_core_second},
                 two.per_core_second / one.per_core_second, sample=two, spread={"requests/s": two.rate})
            for name, two, one in pairs]


def eviction(lab):
    """The same mix at the same pace: while half of the memory is used, and while every new key takes another's place.
    In an open loop requests come one by one, as they do without a pipeline: so the capacity is asked for."""
    fitting = lab.settings.evicting_bytes // EVICTION_ITEM_BYTES
    mix = ["--mix", "50:50", "-c", 50]
    words = [*mix, "-P", 4]
    server = servers.Nicached(lab.settings, ["--maxmemory", lab.settings.evicting_bytes, "--maxmemory-policy",
                                             "allkeys-lru"])
    try:
        half, full = ["-r", fitting // 2], ["-r", fitting * 2]
        lab.fill(server, *half, memif=True)
        server.pause()
        pace = ["--rate", int(lab.over_memif(*mix, "-P", 1, *half, server=server).rate / 2)]
        calm = lab.over_memif(*words, *half, *pace, server=server)
        server.resume()
        lab.preload(server, *full, memif=True)
        server.pause()
        lab.over_memif(*words, *full, *pace, server=server, may_miss=True)  # takes what was kept free for faster writers
        server.resume()
        before = int(server.info("stats")["evicted_keys"])
        server.pause()
        evicting = lab.over_memif(*words, *full, *pace, server=server, may_miss=True)
        server.resume()
        evicted = int(server.info("stats")["evicted_keys"]) - before
    finally:
        server.close()
    if evicted < evicting.rate * lab.settings.seconds / 20:
        raise Trouble(f"only {evicted} keys were evicted: the memory was not full")
    return [Line("p99.9 while evicting", "us", evicting.at("p99.9"), {"memory half full": calm.at("p99.9")},
                 evicting.at("p99.9") / calm.at("p99.9"), sample=evicting,
                 spread={"requests/s": evicting.rate, "keys evicted/s": evicted / lab.settings.seconds}),
            Line("median while evicting", "us", evicting.at("p50"), {"memory half full": calm.at("p50")},
                 evicting.at("p50") / calm.at("p50"), counted=False)]


def _bytes_of_many(lab, server, count):
    """While so many connections are open and idle: resident memory, and what the server counts for them."""
    server.resume()
    process = spawn(lab.settings, lab.bench(server, "-t", "get", "-c", count, "--rate", IDLE_RATE, memif=True, seconds=2))
    try:
        wait_until(lambda: server.connections() >= count, CROWD_S, "all connections are open", 0.2)
        found = server.connection_bytes()
        finish(process, CROWD_S)
    finally:
        process.end()
        server.pause()
    return found


def _bytes_of_idle(lab, server):
    """Of each one beyond the first tenth, with which come the packet buffers that any burst takes."""
    first = lab.settings.crowd // 10
    before, after = (_bytes_of_many(lab, server, count) for count in (first, lab.settings.crowd))
    return tuple((late - early) / (lab.settings.crowd - first) for early, late in zip(before, after))


def connections(lab):
    """Very many connections beside few, as many requests under way, and more; and what each takes."""
    words, crowd = ["-t", "get", "-P", 1, "--in-flight"], lab.settings.crowd
    lab.close()  # the others hold the hugepages that it needs
    server = servers.CrowdedNicached(lab.settings)
    try:
        lab.fill(server, memif=True)
        server.pause()

        def ask(under_way, count, more=()):
            return lab.over_memif(*words, under_way, "-c", count, *more, server=server)

        def between_few(more_of_few, more_of_many):
            """Many between two of few: the host moves the CPUs near each other and apart, within seconds."""
            before = ask(FEW, FEW, more_of_few)
            many = ask(MANY_UNDER_WAY, crowd, more_of_many)
            after = ask(FEW, FEW, more_of_few)
            return many, (before.per_core_second + after.per_core_second) / 2
        resident, counted = _bytes_of_idle(lab, server)
        riding, few = between_few((), RIDING)
        at_once, few_at_once = between_few(ALONE, ALONE)
        late, few_late = between_few(ALONE, ())
        slow = ask(FEW, crowd)
    finally:
        server.close()
    peer = f"{FEW} connections"

    def line(acks, many, base, under_way=MANY_UNDER_WAY, like=True):
        return Line(f"{crowd:,} connections, {under_way} under way, {acks}", f"requests {BUSY_CORE}", many.per_core_second,
                    {peer: base}, many.per_core_second / base, sample=many, counted=like,
                    spread={"core busy": many.busy})
    return {
        "connections": [line("ACKs ride on the next request", riding, few),
                        line("each ACK by itself, at once", at_once, few_at_once),
                        line("each ACK by itself, after 40 ms; of the few at once", late, few_late, like=False),
                        line("each ACK by itself, after 40 ms; of the few none", late, few, like=False),
                        line("each ACK by itself, after 40 ms; of the few none", slow, few, under_way=FEW, like=False)],
        "connection memory": [Line("idle connection", "bytes", resident, {"1 KiB": CONNECTION_BYTES},
                                   resident / CONNECTION_BYTES,
                                   note=f"INFO loop counts {counted:.0f} B for each: TCP's record, session, client.")],
    }


# ---- the design's budgets ------------------------------------------------------------------------


def _budget_lines(name, sample, allowed):
    """All of it, and without what net_memif's copies take, which a device would make."""
    unit, bars = "busy cycles per request", {"budget": allowed}
    rest = sample.cycles - sample.stages["receive"] - sample.stages["transmit"]
    return [Line(name, unit, sample.cycles, {}, sample.cycles / allowed, bars, sample=sample),
            Line(f"{name}, without the link", unit, rest, {}, rest / allowed, bars, counted=False)]


def _guard_cycles(lab, case):
    """Of one process that is client and workers: the best tenth of its rounds."""
    process = Process("instruction_guard", [lab.settings.guard_path, "--keys", lab.settings.keys, case],
                      {lab.settings.server_cpu}, lab.settings.directory, stdout=subprocess.PIPE)
    code, text = process.finish(120)
    found = re.search(r"(\d+) in the best tenth", text)
    if code != 0 or not found:
        raise Trouble(f"instruction_guard: exit code {code}; {process.last_words()}")
    return float(found[1])


def budgets(lab):
    many = lab.settings.many
    samples = {"UDP GET": lab.of_frames("-t", "get"),
               "TCP GET -P 1, 1,000 connections": lab.over_memif("-t", "get", "-c", many, "-P", 1),
               "TCP GET -P 16": lab.over_memif("-t", "get", "-c", 50, "-P", 16),
               "TCP SET -P 1, 1,000 connections": lab.over_memif("-t", "set", "-c", many, "-P", 1)}
    own, other = (_guard_cycles(lab, f"pair_{whose}_set_pipelined") for whose in ("own", "foreign"))
    lines = [line for name, sample in samples.items() for line in _budget_lines(name, sample, BUDGETS[name])]
    return [*lines, Line("hop to another worker and back, of pipelined SETs", "cycles per request", other - own, {},
                         (other - own) / HOP_BUDGET, {"budget": HOP_BUDGET},
                         note=f"In one process, both workers in turn on one CPU: {own:.0f} cycles where the key is the "
                              f"worker's own, {other:.0f} where it is the other's. What goes from CPU to CPU is not in it.")]


# ---- kernel sockets ------------------------------------------------------------------------------


def _least(lab, pipeline, redis):
    """What is left of the distance when a server does nothing: nobody gets further on kernel sockets."""
    server = lab.least
    least = lab.over_sockets(server, "-t", "get", "-c", 50, "-P", pipeline)
    return Line(f"RESP GET -P {pipeline}, a server that only reads and answers", f"requests {SOCKETS}",
                least.per_core_second, {redis.server: redis.per_core_second},
                least.per_core_second / redis.per_core_second, counted=False)


def sockets(lab):
    lines = []
    for text in (False, True):
        for pipeline in (1, 16):
            words = ["-t", "get", "-c", 50, "-P", pipeline]
            peer = lab.memcached if text else lab.redis
            ours = lab.over_sockets(lab.nicached, *words, text=text)
            theirs = lab.over_sockets(peer, *words, text=text)
            lines.append(_rates(f"{'text' if text else 'RESP'} GET -P {pipeline}", ours, [theirs],
                                f"requests {SOCKETS}"))
            if not text:
                lines.append(_least(lab, pipeline, theirs))
    return lines


def _latencies(ask):
    """Unloaded, and at half and four fifths of what it carries itself, in an open loop."""
    capacity = ask("-t", "get", "-c", 50, "-P", 1).rate
    found = {"unloaded": ask("-t", "get", "-c", 1, "-P", 1)}
    for load, share in (("50 %", 0.5), ("80 %", 0.8)):
        found[load] = ask("-t", "get", "-c", 50, "-P", 4, "--rate", int(capacity * share))
    return found


def latency(lab):
    ours = _latencies(lab.over_memif)
    lab.nicached.set_poll_mode("busy")
    try:
        polling = _latencies(lab.over_memif)
    finally:
        lab.nicached.set_poll_mode("adaptive")
    peers = {"redis-server": _latencies(lambda *words: lab.over_sockets(lab.redis, *words, "--busy")),
             "memcached": _latencies(lambda *words: lab.over_sockets(lab.memcached, *words, "--busy", text=True))}
    lines = []
    for load, sample in ours.items():
        medians = {name: found[load].at("p50") for name, found in peers.items()}
        curves = {"nicached": sample.curve, "nicached, poll-mode busy": polling[load].curve,
                  **{name: found[load].curve for name, found in peers.items()}}
        lines.append(Line(load, "us, median", sample.at("p50"), medians, sample.at("p50") / min(medians.values()),
                          sample=sample, curves=curves, spread={
                              "requests/s": sample.rate, "us with `poll-mode busy`": polling[load].at("p50")}))
    return lines


def _at_the_same_load(ask_ours, peers, echo=None):
    """At a half and four fifths of what the best of the peers carries. `peers`: how to ask each, by name; `echo`: at a
    rate, who only sends frames back: what the machine and the generator are the cause of."""
    capacity = max(ask("-t", "get", "-c", 50, "-P", 1).rate for ask in peers.values())
    lines = []
    for text, share in (("50 %", 0.5), ("80 %", 0.8)):
        words = ["-t", "get", "-c", 50, "-P", 4, "--rate", int(capacity * share)]
        ours, theirs = ask_ours(*words), {}
        for name, ask in peers.items():
            found = ask(*words)
            if found.rate >= HELD * capacity * share:
                theirs[name] = found
        if not theirs:
            raise Trouble("no peer held the load")
        for figure, counted in (("p50", False), ("p99", False), ("p99.9", True)):
            value, others = ours.at(figure), {name: found.at(figure) for name, found in theirs.items()}
            lines.append(Line(f"{figure} at {text} of the best peer's", "us", value, others, value / min(others.values()),
                              counted=counted, spread={"requests/s": ours.rate} if counted else {}))
        if echo is not None:
            least, others = echo(int(capacity * share)).at("p99.9"), lines[-1].peers
            lines.append(Line(f"p99.9 of testpmd's echo at {text}", "us", least, others, least / min(others.values()),
                              counted=False))
    return lines


def same_load(lab):
    return _at_the_same_load(lab.over_memif, {
        "redis-server": lambda *words: lab.over_sockets(lab.redis, *words, "--busy"),
        "memcached": lambda *words: lab.over_sockets(lab.memcached, *words, "--busy", text=True)},
        echo=lambda rate: lab.echo(GET_FRAME_BYTES, "--rate", rate))


def af_xdp(lab):
    """The same over a veth pair, whose other end is the kernel's: redis-server has both ends of another one."""
    namespaces, opened = servers.Namespaces(), []

    def opening(create):
        server = create(lab.settings, namespaces)
        opened.append(server)
        words = [lab.settings.bench_path, "--json", "-h", server.address, "-p", server.port, *lab.common()]
        run(lab.settings, namespaces.in_client([*words, "--preload", "-t", "get", "-n", 100, "-c", 32, "-P", 16]),
            PRELOAD_S)
        server.pause()
        return lambda *more: measure(lab.settings, server, namespaces.in_client(
            [*words, "--duration", lab.settings.seconds, "--busy", *more]), True)
    try:
        ours, redis = opening(servers.XdpNicached), opening(servers.KernelRedis)
        return _at_the_same_load(ours, {"redis-server": redis})
    finally:
        for server in opened:
            server.close()
        namespaces.close()


# ---- without a load over the network -------------------------------------------------------------


def _store_ns(lab, kind="rte_hash"):
    """Nanoseconds by name, from store_bench."""
    process = Process("store_bench", ["env", f"STORE_INDEX={kind}", lab.settings.store_path, lab.settings.keys],
                      {lab.settings.server_cpu}, lab.settings.directory, stdout=subprocess.PIPE)
    code, text = process.finish(240)
    ns = {name.strip(): float(value) for name, value in re.findall(r"^(.{32}) +([\d.]+) ns", text, re.M)}
    if code != 0 or "look-up + item, bulk of 32" not in ns:
        raise Trouble(f"store_bench: exit code {code}; {process.last_words()}")
    return ns


def store(lab):
    ns = _store_ns(lab)
    reads, writes = ns["look-up + item, bulk of 32"], ns["overwrite, bulk of 32"]
    misses, lone = ns["miss, bulk of 32"], ns["look-up + item, single"]
    where = (f"A miss in bulk takes {misses:.0f} ns: so much is the index; the item, its comparison and its value are "
             f"the rest. One by one, without prefetches, a look-up takes {lone:.0f} ns. Memory alone, the same lines one "
             f"after the other and nothing else, takes {ns['memory alone, bulk of 32']:.0f} ns in bulk, "
             f"{ns['memory alone, single']:.0f} ns one by one.")
    more = (f"Of {writes:.0f} ns {reads:.0f} are what the look-up in bulk takes; the rest makes the new item, puts it "
            f"in place and hands the old one over. Deleting and adding takes {ns['delete + add, bulk of 32']:.0f} ns.")
    single, bulk = ns["rte_hash look-up + item, single"], ns["rte_hash look-up + item, bulk"]
    return {
        "G7": [Line("bulk of 32", "ns per look-up", reads, {"rte_hash, single": single}, single / reads,
                    note=where),
               Line("bulk of 32, against rte_hash's", "ns per look-up", reads, {"rte_hash, bulk": bulk}, bulk / reads,
                    counted=False)],
        "G9": [Line("overwrite, bulk of 32", "ns per SET", writes, {"look-up in bulk": reads}, writes / reads,
                    note=more)],
    }


def _fill_and_weigh(lab, server, text, value_bytes):
    """Bytes per item beyond key and value."""
    settings = lab.settings
    before = server.process.resident_bytes()
    run(settings, [*lab.sockets_of(server, text), "--cpu", settings.client_cpu, "-r", settings.keys, "--key-size",
                   KEY_BYTES, "-d", value_bytes, "--ttl", 86400, "--preload", "-t", "get", "-n", 100, "-c", 16, "-P",
                   16], PRELOAD_S)
    time.sleep(0.5)
    return (server.process.resident_bytes() - before) / settings.keys - KEY_BYTES - value_bytes


def _memory_of(lab, create, text, value_bytes):
    """The same, and of ours a sentence that says what they are. nicached puts memory behind its addresses before
    it is used, so its resident memory says nothing: its pages in use and its index do."""
    server = create(lab.settings)
    try:
        beyond = _fill_and_weigh(lab, server, text, value_bytes)
        if not isinstance(server, servers.Nicached):
            return beyond, ""
        info = server.info("memory")
    finally:
        server.close()
    index = int(info["used_memory_index"]) / lab.settings.keys
    item = int(info["used_memory_dataset"]) / lab.settings.keys - KEY_BYTES - value_bytes
    pages = int(info["allocator_active"]) / lab.settings.keys - KEY_BYTES - value_bytes
    return index + pages, (f"Of {index + pages:.0f} B per item {index:.0f} are the index, {item:.0f} the item's header "
                           f"and rounding, {pages - item:.1f} what its pages have besides (INFO memory).")


def _create_nicached_to_weigh(settings, index_kind="rte_hash"):
    return servers.Nicached(settings, ["--hugepages", "no", "--maxmemory", "2gb", "--store-index", index_kind])


def g14(lab):
    lines = []
    for value_bytes in (8, 64, 256, 1024):
        ours, note = _memory_of(lab, _create_nicached_to_weigh, False, value_bytes)
        peers = {"redis-server": _memory_of(lab, servers.Redis, False, value_bytes)[0],
                 "memcached": _memory_of(lab, servers.Memcached, True, value_bytes)[0]}
        bar = VALKEY_BYTES.get(value_bytes)
        lines.append(Line(f"values of {value_bytes} B", "bytes per item", ours, peers,
                          ours / (bar or min(peers.values())), {"valkey 8.0.1": bar} if bar else {},
                          counted=bar is not None, note=note))
    return lines


def g15(lab):
    """Our own code in simulated time, beside an exact LRU of as many objects: always the same figures."""
    policy, cache = "allkeys-s3fifo", 0.1
    process = Process("eviction_bench", [lab.settings.eviction_path, lab.settings.objects, 10 * lab.settings.objects,
                                         policy], {lab.settings.server_cpu}, lab.settings.directory,
                      stdout=subprocess.PIPE)
    code, text = process.finish(240)
    ratios = {(row[0], row[2]): float(row[3]) for row in (line.split(",") for line in text.splitlines()[1:])
              if float(row[1]) == cache}
    if code != 0:
        raise Trouble(f"eviction_bench: exit code {code}; {process.last_words()}")
    lines = []
    for trace in ("zipf-0.99", "zipf-0.9-one-hit"):
        ours, exact = ratios[trace, policy], ratios[trace, "exact LRU"]
        lines.append(Line(f"{policy}, {trace}", "misses per request", ours, {"exact LRU": exact}, ours / exact,
                          note="In simulation, without a server: [eviction](eviction.md) has every policy, trace and "
                               "size, and the servers beside each other."))
    return lines


class IdleNicached:
    """In a network namespace of its own, and nothing that talks to it."""

    def __init__(self, settings, line):
        self.namespace = f"nicached-suite-{os.getpid()}"
        self.process = None
        try:
            self._make_namespace()
            self.process = Process("nicached-idle", [
                "ip", "netns", "exec", self.namespace, settings.server_path, "--interface", *line, "--protected-mode",
                "no", "--hugepages", "no", "--worker-cpus", settings.server_cpu],
                {settings.server_cpu}, settings.directory)
            wait_until(self._is_ready, servers.READY_S, "nicached is ready")
        except BaseException:
            self.close()
            raise

    def _make_namespace(self):
        for words in (["add", self.namespace], ["exec", self.namespace, "ip", "link", "set", "lo", "up"]):
            done = subprocess.run(["ip", "netns", *words], capture_output=True, text=True, timeout=20, check=False)
            if done.returncode != 0:
                raise Trouble(f"no network namespace (it takes root): {done.stderr.strip()}")

    def _is_ready(self):
        if not self.process.is_running():
            raise Trouble(self.process.last_words())
        return "Ready to accept connections" in self.process.log()

    def close(self):
        if self.process:
            self.process.end()
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, timeout=20, check=False)


def _idle_line(lab, name, process):
    start, used, woken = time.monotonic(), process.cpu_seconds(), process.wake_ups()
    time.sleep(lab.settings.idle_seconds)
    elapsed = time.monotonic() - start
    share = (process.cpu_seconds() - used) / elapsed
    wakes = (process.wake_ups() - woken) / elapsed
    return Line(name, "share of a core", share, {"one core": 1.0}, share, counted=name == "tap",
                note=f"All its threads together sleep and wake {wakes:.0f} times a second.")


def g16(lab):
    lines = []
    for name, line in (("tap", ["tap0", "tap", "198.18.0.2/24"]), ("kernel sockets", ["lo0", "socket", "127.0.0.1"])):
        server = IdleNicached(lab.settings, line)
        try:
            time.sleep(1)
            lines += [_idle_line(lab, name, server.process) for _ in range(lab.settings.idle_samples)]
        finally:
            server.close()
    return lines


@dataclass(frozen=True)
class Experiment:
    """What is run together, and the rows that it gives."""

    rows: tuple
    function: object
    rounds_max: int = 1000      # more rounds would tell nothing more

    def run(self, lab):
        """Lines by row."""
        lines = self.function(lab)
        return lines if isinstance(lines, dict) else {self.rows[0]: lines}


EXPERIMENTS = [
    Experiment(("G1", "G2"), udp_get), Experiment(("G3",), g3), Experiment(("G4",), g4), Experiment(("G5",), g5),
    Experiment(("G6",), g6), Experiment(("G7", "G9"), store), Experiment(("G10",), g10), Experiment(("G11",), g11, 3),
    Experiment(("G12",), g12),
    Experiment(("G13",), g13), Experiment(("G14",), g14, 1), Experiment(("G15",), g15, 1), Experiment(("G16",), g16, 1),
    Experiment(("G18",), g18), Experiment(("budgets",), budgets), Experiment(("sockets",), sockets), Experiment(("latency",), latency, 3),
    Experiment(("same load",), same_load), Experiment(("af_xdp",), af_xdp, 3),
    Experiment(("values",), values, 2), Experiment(("index",), index, 3), Experiment(("eviction",), eviction),
    Experiment(("connections", "connection memory"), connections, 3),
]
