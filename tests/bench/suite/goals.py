"""The goals of PERFORMANCE.md, section 8, as ratios, and what peers that Debian lacks were measured at there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    what: str
    against: str
    floor: float = None
    stretch: float = None
    at_most: bool = False   # the ratio is to be small


GOALS = {
    "G1": Goal("UDP memcached GET over memif, 16 B keys, 64 B values, all hits",
               "testpmd 5tswap, same memif, frames as large as the request", 0.35, 0.55),
    "G2": Goal("busy cycles per request of G1", "MICA's 560 to 660 cycles, network included", 1.3, 1.0, at_most=True),
    "G3": Goal("TCP GET -P 1, 1000 connections", "the best of memcached, redis, valkey, pogocache", 12, 20),
    "G4": Goal("TCP GET and SET -P 16, RESP", "the best of redis and pogocache", 3, 5),
    "G5": Goal("TCP GET -P 64, RESP", "the best of redis and pogocache", 3, 4),
    "G6": Goal("memcached get of 50 keys, keys", "memcached", 8, 15),
    "G7": Goal("look-up in bulk with the item, store only", "single rte_hash look-up with an item, same keys", 3, 4),
    "G8": Goal("look-up in bulk, 8 B keys and values, 4 M items", "MICA2's store", 1.0, 1.8),
    "G9": Goal("SET overwriting, store only, time", "the look-up in bulk", 2.5, 1.6, at_most=True),
    "G10": Goal("50:50 mix over UDP", "95:5 mix over UDP", 0.7, 0.85),
    "G11": Goal("two workers, the second on the generator's CPU: requests for each second that one is busy",
                "one worker", 0.9),
    "G12": Goal("99th percentile of residence at half load, receive to transmit", "its median", 4, 2.5, at_most=True),
    "G13": Goal("unloaded round trip over memif", "the best of redis and memcached on loopback", 0.4, 0.2,
                at_most=True),
    "G14": Goal("memory beyond key and value, TTL set", "valkey 8.0.1 with TTL, 89 to 97 B", 0.65, 0.4, at_most=True),
    "G15": Goal("miss ratio at a cache of 10 %", "LRU, same trace", 0.90, 0.87, at_most=True),
    "G16": Goal("idle CPU, tap port", "one core", 0.03, 0.01, at_most=True),
    "G17": Goal("throughput while persisting or replicating", "the same without", 0.85, 0.95),
    "G18": Goal("GET of 16 KB values over memif, bytes", "testpmd 5tswap with frames of 1400 B, bytes", 0.6, 0.85),
    "budgets": Goal("busy cycles per request", "what the design allows for it", 1.0, 1.0, at_most=True),
    "sockets": Goal("kernel sockets: GET -P 1 and -P 16, RESP and memcached text", "redis-server, memcached -t 1"),
    "latency": Goal("latency unloaded and at 50 % and 80 % of what each carries", "redis-server, memcached -t 1",
                    at_most=True),
    "same load": Goal("99.9th percentile over memif at 50 % and 80 % of what the best peer carries",
                      "redis-server, memcached -t 1 at the same load over the loopback", 0.2, 0.2, at_most=True),
    "af_xdp": Goal("99.9th percentile over af_xdp on a veth, the client in the kernel at its other end",
                   "redis-server at the same load over a veth", 0.2, 0.2, at_most=True),
    "values": Goal("GET of values from 16 B to 1 MB over memif, RESP", "redis-server over the loopback"),
    "index": Goal("`store-index buckets`", "`store-index rte_hash`, the default"),
    "connections": Goal("100,000 connections over memif that ask in turn, GET -P 1",
                        "50 connections of the same server whose ACKs come in the same way", 0.8),
    "connection memory": Goal("resident memory of an idle connection, beyond the first 10,000 of 100,000", "1 KiB", 1.0, at_most=True),
    "eviction": Goal("99.9th percentile at half of capacity while every write evicts", "the same with memory half full",
                     1.5, 1.5, at_most=True),
}

# What cannot run yet, and what it waits for.
WAITS = {
    "G8": "MICA2, which Debian does not have; G7 has our side at 1 M items",
    "G17": "persistence and replication",
}

# Operations per server CPU second, published or measured on a machine like ours (PERFORMANCE.md, section 4.4).
BARS = {
    "G3": {"pogocache": 105e3, "valkey 8.0.1": 88e3},
    "G4 GET": {"pogocache": 717e3},
    "G4 SET": {"pogocache": 746e3},
    "G5": {"pogocache": 917e3},
}
# Cycles per request on one core that the design allows, with a link whose copies the device makes.
BUDGETS = {"UDP GET": 400, "TCP GET -P 1, 1,000 connections": 800, "TCP GET -P 16": 250,
           "TCP SET -P 1, 1,000 connections": 1000}
HOP_BUDGET = 150                # there and back, of a batch's request
MICA_CYCLES = 610.0             # the middle of 560 to 660
VALKEY_BYTES = {8: 89.0, 64: 97.0}


def verdict(goal, ratio):
    if ratio is None or goal.floor is None:
        return "measured"
    def met(bar):
        return bar is not None and (ratio <= bar if goal.at_most else ratio >= bar)
    if met(goal.stretch):
        return "met stretch"
    return "met floor" if met(goal.floor) else "below"
