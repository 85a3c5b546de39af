#!/usr/bin/python3
"""What a TCP stack answers to one odd segment at a time, as a class that another stack's answer can be compared to.

    probes.py INTERFACE TARGET TARGET_MAC     prints one JSON object: probe -> outcome

Behind port 6379 of the target there is a server that knows PING and ECHO; nobody listens on port 6380. Each probe
has a connection of its own; several run at a time. The T-rows are those of docs/tcp_conformance.md.
"""
import concurrent.futures
import json
import sys
import time

from scapy.all import Raw

from wire import Peer, Wire, names_of

PING, PONG = b"PING\r\n", b"+PONG\r\n"
QUIET = 0.4  # seconds in which an answer would have come
PROBES = []
IPV4_ONLY = set()  # names


def probe(*rows, ipv4_only=False):
    def add(function):
        name = "%s %s" % ("+".join(rows), function.__name__.replace("_", " "))
        PROBES.append((name, function))
        if ipv4_only:
            IPV4_ONLY.add(name)
        return function
    return add


def describe(heard):
    """Runs of equal kinds, in order: "ACK", "2 ACK", "text, FIN"."""
    kinds = ["text" if s.data else names_of(s.flags) for s in heard]
    runs = []
    for kind in kinds:
        if runs and runs[-1][0] == kind:
            runs[-1][1] += 1
        else:
            runs.append([kind, 1])
    return ", ".join(kind if count == 1 else "%d %s" % (count, kind) for kind, count in runs) or "nothing"


def opened(wire, **how):
    peer = wire.peer(**how)
    peer.open()
    assert peer.fate() == "lives"
    peer.hear(0.1)
    return peer


def answer_and_fate(peer):
    heard = peer.hear(QUIET)
    peer.take(heard)
    return "%s; %s" % (describe(heard), peer.fate())


# ---- opening ---------------------------------------------------------------------------------------


@probe("T16", "T17", "T18")
def syn_with_all_options(wire):
    peer = wire.peer(options=Peer.ALL)
    answer = peer.open()
    names = {2: "MSS", 3: "window scale", 4: "SACK", 8: "timestamps"}
    said = [names[kind] for kind in sorted(answer.options) if kind in names]
    return "SYN,ACK with %s; MSS %d; %s" % (", ".join(said), int.from_bytes(answer.options[2], "big"), peer.fate())


@probe("T16", "T17", "T18")
def syn_without_options(wire):
    peer = wire.peer(options=())
    answer = peer.open()
    return "SYN,ACK with options %s; %s" % (sorted(answer.options), peer.fate())


@probe("T02")
def syn_with_options_that_overrun(wire):
    peer = wire.peer()
    segment = bytes(peer.segment("S", options=[("NOP", None), ("NOP", None), ("NOP", None), ("NOP", None)]))
    segment = fix_checksum(segment[:20] + bytes([2, 40, 5, 0xB4]), wire)
    wire.send(wire.frame(Raw(segment), proto=6))
    return describe(peer.hear(QUIET)[:1])


def fix_checksum(segment, wire):
    """The checksum of a segment as it stands."""
    zeroed = segment[:16] + b"\0\0" + segment[18:]
    pseudo = (wire.packed(wire.own) + wire.packed(wire.target) + len(segment).to_bytes(4, "big") +
              (6).to_bytes(4, "big"))
    data = pseudo + zeroed + b"\0" * (len(zeroed) % 2)
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return segment[:16] + total.to_bytes(2, "big") + segment[18:]


@probe("T04")
def numbers_of_two_connections(wire):
    """One pair in 2048 is near each other by chance; two of three are not."""
    numbers = [wire.peer().open().seq for _ in range(4)]
    apart = [1 << 20 < (other - one) % 2**32 < 2**32 - (1 << 20) for one, other in zip(numbers, numbers[1:])]
    return "apart" if apart.count(True) >= 2 else "near each other"


@probe("T04", ipv4_only=True)
def identification_of_the_answer_to_a_syn(wire):
    answer = wire.peer().open()
    return "IP ID %d%s" % (answer.ip_id, ", do not fragment" if answer.dont_fragment else "")


@probe("T36")
def text_on_a_syn(wire):
    peer = wire.peer()
    peer.send("S", PING, options=peer.options)
    heard = peer.hear(QUIET)[:1]
    return "%s of %d" % (describe(heard), (heard[0].ack - peer.seq) % 2**32)


@probe("T06")
def handshake_ack_with_text(wire):
    peer = wire.peer()
    peer.send("S", options=peer.options)
    answer = peer.hear_until(len, 2)[0]
    peer.seq, peer.ack = (peer.seq + 1) % 2**32, (answer.seq + 1) % 2**32
    return "lives" if peer.ask(PING, PONG) == PONG else "gone"


@probe("T06")
def handshake_ack_of_something_else(wire):
    peer = wire.peer()
    peer.send("S", options=peer.options)
    answer = peer.hear_until(len, 2)[0]
    peer.seq = (peer.seq + 1) % 2**32
    peer.send("A", ack=answer.seq + 1000)
    heard = peer.hear(QUIET)
    peer.ack = (answer.seq + 1) % 2**32
    peer.send("A")
    return "%s; %s" % (describe(heard), peer.fate())


def to_port(port, flags):
    def run(wire):
        peer = wire.peer(port=port)
        peer.send(flags, ack=77 if "A" in flags else 0, options=peer.options if "S" in flags else [])
        return describe(peer.hear(QUIET))
    return run


for label, port, flags in (("SYN to a closed port", 6380, "S"), ("ACK to a closed port", 6380, "A"),
                           ("FIN to a closed port", 6380, "F"), ("RST to a closed port", 6380, "R"),
                           ("ACK to a listener", 6379, "A"), ("RST to a listener", 6379, "R")):
    PROBES.append(("T05 " + label, to_port(port, flags)))
for label, flags in (("SYN and FIN", "SF"), ("no flags", ""), ("FIN PSH URG", "FPU"), ("SYN and RST", "SR"),
                     ("FIN", "F"), ("SYN and ACK", "SA")):
    PROBES.append(("T29 %s to a listener" % label, to_port(6379, flags)))


@probe("T05")
def syn_from_the_target_itself(wire):
    peer = wire.peer()
    wire.send(wire.frame(peer.segment("S", options=peer.options), source=wire.target))
    return describe(peer.hear(QUIET))


@probe("T05")
def syn_from_a_multicast_address(wire):
    peer = wire.peer()
    wire.send(wire.frame(peer.segment("S", options=peer.options), source=wire.group))
    return describe(peer.hear(QUIET))


# ---- blind attacks ---------------------------------------------------------------------------------


@probe("T07")
def reset_in_the_window(wire):
    peer = opened(wire)
    peer.send("R", seq=peer.seq + 10)
    return answer_and_fate(peer)


@probe("T07")
def reset_below_the_window(wire):
    peer = opened(wire)
    peer.send("R", seq=peer.seq - 10)
    return answer_and_fate(peer)


@probe("T07")
def reset_beyond_the_window(wire):
    peer = opened(wire)
    peer.send("R", seq=peer.seq + 10000000)
    return answer_and_fate(peer)


@probe("T07")
def exact_reset(wire):
    peer = opened(wire)
    peer.send("R")
    heard = peer.hear(QUIET)
    peer.say(PING)
    return "%s; text gets %s" % (describe(heard), describe(peer.hear(QUIET)))


@probe("T08")
def syn_in_the_window(wire):
    peer = opened(wire)
    peer.send("S", seq=peer.seq + 10)
    return answer_and_fate(peer)


@probe("T08")
def syn_outside_the_window(wire):
    peer = opened(wire)
    peer.send("S", seq=peer.seq - 100000)
    return answer_and_fate(peer)


@probe("T09")
def text_that_acknowledges_what_was_not_sent(wire):
    peer = opened(wire)
    peer.send("PA", PING, ack=peer.ack + 100000)
    return answer_and_fate(peer)


@probe("T09")
def text_with_a_very_old_ack(wire):
    peer = opened(wire)
    peer.send("PA", PING, ack=peer.ack - 200000)
    return answer_and_fate(peer)


@probe("T09")
def text_with_a_slightly_old_ack(wire):
    peer = opened(wire)
    peer.send("PA", PING, ack=peer.ack - 5)
    peer.seq = (peer.seq + len(PING)) % 2**32
    heard = peer.hear(QUIET)
    return "%s; %s" % (peer.take(heard).decode().strip(), peer.fate())


@probe("T10")
def many_resets_in_the_window(wire):
    """However many there are, at most ten a second are answered."""
    peer = opened(wire)
    frames = [wire.frame(peer.segment("R", seq=peer.seq + 10 + i)) for i in range(200)]
    began = time.monotonic()
    for frame in frames:
        wire.send(frame)
    heard = peer.hear(QUIET)
    few = 1 <= len(heard) <= 10 * (2 + int(time.monotonic() - began))
    return "%s; %s" % ("at most 10 ACK a second" if few else describe(heard), peer.fate())


@probe("T11")
def text_beyond_the_window(wire):
    peer = opened(wire)
    peer.send("PA", PING, seq=peer.seq + 10000000)
    return answer_and_fate(peer)


@probe("T11")
def old_text_again(wire):
    peer = opened(wire)
    peer.send("PA", PING, seq=peer.seq - len(PING))
    return answer_and_fate(peer)


@probe("T37")
def keepalive_probe(wire):
    peer = opened(wire)
    peer.send("A", seq=peer.seq - 1)
    return answer_and_fate(peer)


@probe("T11")
def text_without_the_ack_bit(wire):
    peer = opened(wire)
    peer.send("P", PING)
    return answer_and_fate(peer)


@probe("T01")
def wrong_checksum(wire):
    peer = opened(wire)
    segment = bytearray(wire.frame(peer.segment("PA", PING)))
    segment[wire.l4_at + 16] ^= 0x55
    wire.send(bytes(segment))
    return answer_and_fate(peer)


@probe("T01", ipv4_only=True)
def wrong_ip_checksum(wire):
    peer = opened(wire)
    segment = bytearray(wire.frame(peer.segment("PA", PING)))
    segment[14 + 10] ^= 0x55
    wire.send(bytes(segment))
    return answer_and_fate(peer)


@probe("T02")
def header_longer_than_the_segment(wire):
    peer = opened(wire)
    wire.send(wire.frame(peer.segment("PA", b"", dataofs=15)))
    return answer_and_fate(peer)


@probe("T02")
def header_shorter_than_a_header(wire):
    peer = opened(wire)
    wire.send(wire.frame(peer.segment("PA", PING, dataofs=4)))
    return answer_and_fate(peer)


@probe("T30")
def urgent_pointer(wire):
    peer = opened(wire)
    peer.say(PING, flags="PAU", urgptr=3)
    heard = peer.hear(QUIET)
    return "answered" if peer.take(heard) in (PONG, b"") else "other"


# ---- text in pieces --------------------------------------------------------------------------------


@probe("T12", "T13")
def hole_then_filled(wire):
    peer = opened(wire)
    peer.send("PA", PING[3:], seq=peer.seq + 3)
    first = peer.hear(QUIET)
    peer.send("PA", PING[:3])
    peer.seq = (peer.seq + len(PING)) % 2**32
    heard = peer.hear(QUIET)
    return "%s; %s; %s" % (describe(first), peer.take(heard).decode().strip(), peer.fate())


@probe("T12")
def out_of_order_then_other_bytes_there(wire):
    peer = opened(wire)
    request = b"ECHO abcdefgh\r\n"
    peer.send("PA", request[7:], seq=peer.seq + 7)
    peer.send("PA", b"X" * 4, seq=peer.seq + 7)
    peer.send("PA", request[:7])
    peer.seq = (peer.seq + len(request)) % 2**32
    return peer.take(peer.hear(QUIET)).decode().replace("\r\n", " ")


@probe("T12")
def overlap_with_delivered_text(wire):
    peer = opened(wire)
    request = b"ECHO abcdefgh\r\n"
    peer.send("PA", request[:9])
    time.sleep(0.1)
    peer.send("PA", b"XXXX" + request[9:], seq=peer.seq + 5)
    peer.seq = (peer.seq + len(request)) % 2**32
    return peer.take(peer.hear(QUIET)).decode().replace("\r\n", " ")


@probe("T32")
def fragments_of_16_bytes(wire):
    peer = opened(wire)
    send_fragments(wire, wire.frame(peer.segment("PA", PING))[wire.l4_at:], 16, 16)
    peer.seq = (peer.seq + len(PING)) % 2**32
    return peer.take(peer.hear(QUIET)).decode().strip()


@probe("T32")
def fragments_that_overlap(wire):
    peer = opened(wire)
    send_fragments(wire, wire.frame(peer.segment("PA", b"PING" + b" " * 20 + b"\r\n"))[wire.l4_at:], 24, 16)
    return answer_and_fate(peer)


def send_fragments(wire, payload, size, step):
    number = int(time.monotonic() * 1000) % 65535 + 1
    for at in range(0, len(payload), step):
        last = at + size >= len(payload)
        wire.send(wire.frame(Raw(payload[at:at + size]), proto=6, id=number, frag=at // 8, flags=0 if last else 1))
        if last:
            return


# ---- options in use --------------------------------------------------------------------------------


def sizes(mss):
    def run(wire):
        peer = wire.peer(options=[("MSS", mss)])
        peer.open()
        text = b"e" * 280
        peer.say(b"ECHO " + text + b"\r\n")
        heard = peer.hear(QUIET)
        assert text in peer.take(heard)
        return "segments of %d bytes at most" % max(len(s.data) for s in heard)
    return run


for mss in (0, 1, 8, 47, 48, 100):
    PROBES.append(("T14+T16 MSS %d" % mss, sizes(mss)))


@probe("T18")
def older_timestamp(wire):
    peer = opened(wire, options=Peer.ALL)
    stamps = [("NOP", None), ("NOP", None), ("Timestamp", (peer.stamp - 500, peer.echo))]
    peer.send("PA", PING, options=stamps)
    return answer_and_fate(peer)


@probe("T18")
def newer_timestamp(wire):
    peer = opened(wire, options=Peer.ALL)
    peer.stamp += 100000
    return peer.fate()


@probe("T03", "T18")
def numbers_and_timestamps_that_wrap(wire):
    """Each request takes the peer's sequence number by six and its timestamp by one across 2^32."""
    peer = wire.peer(options=Peer.ALL[:2] + (("Timestamp", (2**32 - 4, 0)),) + Peer.ALL[3:])
    peer.seq, peer.stamp = 2**32 - 20, 2**32 - 4
    peer.open()
    fates = {peer.fate() for _ in range(8)}
    return "%s; wrapped %s" % (fates, peer.seq < 100 and peer.stamp >= 2**32)


@probe("T18")
def text_without_the_timestamp_that_was_agreed_on(wire):
    peer = opened(wire, options=Peer.ALL)
    peer.send("PA", PING, options=[])
    peer.seq = (peer.seq + len(PING)) % 2**32
    heard = peer.hear(QUIET)
    return "%s; %s" % (peer.take(heard).decode().strip() or "not answered", peer.fate())


# ---- time ------------------------------------------------------------------------------------------


def gaps_grow(times):
    """Each is to be twice the one before. Compared with the one before that: a timer that fires late makes one longer and
    the next one shorter."""
    gaps = [b - a for a, b in zip(times, times[1:])]
    return len(gaps) > 2 and all(later > 1.5 * earlier for earlier, later in zip(gaps, gaps[2:]))


@probe("T19", "T20")
def reply_that_is_not_acknowledged(wire):
    peer = opened(wire, options=Peer.ALL)
    peer.say(PING)
    heard = peer.hear_until(lambda all_of: sum(bool(s.data) for s in all_of) > 4, 12)
    times = [s.time for s in heard if s.data]
    soon = len(times) > 1 and 0.01 < times[1] - times[0] < 0.8
    return "again within 0.8 s: %s; then ever later: %s" % (soon, gaps_grow(times[1:]))


@probe("T22")
def no_window_for_the_reply(wire):
    peer = opened(wire)
    peer.say(PING, window=0)

    def probes_of(heard):
        return [s for s in heard if (s.seq - peer.ack) % 2**32 == 2**32 - 1]

    # Four seconds, unless a busy machine makes the pauses longer.
    heard = peer.hear_until(lambda all_of: len(probes_of(all_of)) >= 4, 12)
    probes = probes_of(heard)
    text = sum(len(s.data) for s in heard)
    peer.send("A")
    reply = peer.take(peer.hear(1))
    return "text %d, probes %s, ever later %s; then %s" % (
        text, "several" if len(probes) >= 3 else len(probes), gaps_grow([s.time for s in probes]),
        reply.decode().strip())


@probe("T25")
def request_together_with_fin(wire):
    peer = opened(wire)
    peer.say(PING, flags="FPA")

    def fins(all_of):
        return [s for s in all_of if s.flags & 1]

    # It is acknowledged right behind the second one: the third is far away.
    heard = peer.hear_until(lambda all_of: len(fins(all_of)) > 1, 5)
    text = peer.take(heard)
    peer.send("A")
    after = peer.hear(QUIET)
    return "%s and FIN; FIN again: %s; acknowledged: %s" % (text.decode().strip(), len(fins(heard)) > 1, describe(after))


@probe("T25")
def fin_alone(wire):
    peer = opened(wire)
    peer.say(b"", flags="FA")
    heard = peer.hear_until(lambda all_of: any(s.flags & 1 for s in all_of), 2)
    peer.take(heard)
    peer.send("A")
    return "%s; then %s" % ("FIN" if any(s.flags & 1 for s in heard) else describe(heard), describe(peer.hear(QUIET)))


@probe("T27")
def fin_again_in_time_wait_and_reset(wire):
    """The server closes first (QUIT), so it is the one in TIME-WAIT."""
    peer = opened(wire)
    peer.say(b"QUIT\r\n")
    peer.take(peer.hear_until(lambda all_of: any(s.flags & 1 for s in all_of), 2))
    peer.say(b"", flags="FA")
    first = peer.hear(QUIET)
    peer.send("R")
    peer.send("FA", seq=peer.seq - 1)
    return "%s; again: %s" % (describe(first), describe(peer.hear(QUIET)))


@probe("T26")
def close_with_text_unread(wire):
    """QUIT and more: what comes behind it is not read."""
    peer = opened(wire)
    peer.say(b"QUIT\r\n" + PING * 100)
    heard = peer.hear(1)
    ends = {names_of(s.flags & 0x05) for s in heard if s.flags & 0x05}
    return "ends" if ends else describe(heard)


def run_one(wire, item):
    name, function = item
    try:
        return name, function(wire)
    except Exception as problem:  # a probe that cannot be made is an outcome, too
        return name, "%s: %s" % (type(problem).__name__, problem)


def main():
    wire = Wire(*sys.argv[1:4])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        items = [item for item in PROBES if not (wire.ipv6 and item[0] in IPV4_ONLY)]
        outcomes = dict(pool.map(lambda item: run_one(wire, item), items))
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
