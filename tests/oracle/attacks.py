#!/usr/bin/python3
"""Attacks on the target, each with a client beside it that must notice nothing. Prints one JSON object.

    attacks.py INTERFACE TARGET TARGET_MAC ATTACK [AMOUNT]

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

from scapy.all import ARP, ICMP, IP, TCP, Ether, Raw, fragment

from wire import Wire

PING, PONG = b"PING\r\n", b"+PONG\r\n"


def info(wire, section="net"):
    with socket.create_connection((wire.target, 6379), timeout=10) as client:
        client.sendall(b"INFO %s\r\n" % section.encode())
        text = b""
        while b"\r\n" not in text or len(text) < int(text[1:text.index(b"\r\n")]) + text.index(b"\r\n") + 4:
            text += client.recv(65536)
    lines = (line.split(":") for line in text.decode().split("\r\n") if ":" in line)
    return {name: int(value) for name, value in lines if value.isdigit()}


def connect_once(wire):
    """Seconds until a new connection has its answer."""
    began = time.monotonic()
    with socket.create_connection((wire.target, 6379), timeout=10) as client:
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

    def __init__(self, wire):
        self.wire, self.drops = wire, link_drops(wire.interface)
        self.stopping, self.times, self.failures = (multiprocessing.Event(), multiprocessing.Queue(),
                                                    multiprocessing.Value("i"))
        self.process = multiprocessing.Process(target=self.run, daemon=True)
        self.process.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                self.times.put(connect_once(self.wire))
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


def raw_segment(wire, source, source_port, flags, seq, ack=0, data=b"", options=b""):
    """The same as scapy's, thirty times faster."""
    destination = socket.inet_aton(wire.target)
    size = 20 + len(options)
    tcp = struct.pack("!HHIIBBHHH", source_port, 6379, seq, ack, size << 2, flags, 65535, 0, 0) + options + data
    pseudo = source + destination + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + source + destination
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    mac = bytes.fromhex(wire.target_mac.replace(":", "")) + bytes.fromhex(wire.mac.replace(":", ""))
    return mac + b"\x08\x00" + ip + tcp


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


def syn_flood(wire, seconds):
    rng = random.Random(1)
    options = bytes([2, 4, 5, 0xB4, 4, 2, 8, 10]) + bytes(8) + bytes([1, 3, 3, 7])
    frames = [raw_segment(wire, bytes([198, 18, 0, 100 + rng.randrange(150)]), rng.randrange(1024, 65536), 2,
                          rng.randrange(1 << 32), options=options) for _ in range(20000)]
    before, client, sent, began = info(wire), Client(wire), 0, time.monotonic()
    while sent == 0 or client.times.qsize() < 20 and time.monotonic() - began < 10 * float(seconds):
        sent += send_at_rate(wire, frames, 60000, float(seconds))
    rate = round(sent / (time.monotonic() - began))
    result = client.stop()
    after = info(wire)
    result.update(rate=rate, sent=sent, half_open=after["tcp_half_open"],
                  cookies=after["tcp_cookies_sent"] - before["tcp_cookies_sent"])
    return result


def forged_cookies(wire, count):
    """While cookies are in use (the target runs with tcp-max-syn-backlog 0)."""
    rng = random.Random(2)
    connect_once(wire)
    before = info(wire)
    for _ in range(int(count)):
        wire.socket.send(raw_segment(wire, bytes([198, 18, 0, 100 + rng.randrange(150)]), rng.randrange(1024, 65536),
                                     0x10, rng.randrange(1 << 32), rng.randrange(1 << 32)))
    time.sleep(0.3)
    after = info(wire)
    return {"refused": after["net_drop_tcp_cookie"] - before["net_drop_tcp_cookie"],
            "accepted": after["tcp_cookies_accepted"] - before["tcp_cookies_accepted"], "own": 2}


class Collector:
    """A peer that keeps what it hears in pieces and reports them by SACK as it likes."""

    def __init__(self, wire, mss, size):
        self.peer = wire.peer(options=(("MSS", mss), ("SAckOK", b"")), window=65535)
        self.peer.open()
        self.base, self.size, self.got = self.peer.ack, size, {}

    def hear(self):
        for segment in self.peer.hear(0.001):
            at = (segment.seq - self.base) % 2**32
            self.got.update((at + i, byte) for i, byte in enumerate(segment.data) if at + i < self.size)

    def split(self, rng):
        """Nothing is acknowledged but three lone pieces."""
        known = [at for at in self.got if at > 0]
        if known:
            starts = rng.sample(known, min(3, len(known)))
            blocks = [edge % 2**32 for at in starts for edge in (self.base + at, self.base + at + 1)]
            self.peer.send("A", ack=self.base, options=[("SAck", tuple(blocks)), ("NOP", None), ("NOP", None)])

    def acknowledge(self):
        while (self.peer.ack - self.base) % 2**32 in self.got:
            self.peer.ack = (self.peer.ack + 1) % 2**32
        self.peer.send("A")
        return (self.peer.ack - self.base) % 2**32 == self.size


def sack_abuse(wire, seconds):
    """Peers with an MSS of next to nothing ask for a large value and cut what is under way into pieces."""
    rng, value = random.Random(5), bytes(random.Random(6).choices(b"abcdefgh", k=12000))
    with socket.create_connection((wire.target, 6379), timeout=10) as client:
        client.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n%s\r\n" % (len(value), value))
        assert client.recv(100) == b"+OK\r\n"
    reply = b"$%d\r\n%s\r\n" % (len(value), value)
    peers = [Collector(wire, mss, len(reply)) for mss in (1, 8, 47, 48, 100, 536) for _ in range(4)]
    client = Client(wire)
    for each in peers:
        each.peer.say(b"GET big\r\n")
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for each in peers:
            each.hear()
            each.split(rng)
    result, end, waiting = client.stop(), time.monotonic() + 60, list(peers)
    while waiting and time.monotonic() < end:
        for each in waiting:
            each.hear()
        waiting = [each for each in waiting if not each.acknowledge()]
    whole = sum(bytes(each.got[i] for i in range(len(reply))) == reply for each in peers if each not in waiting)
    result.update(peers=len(peers), whole=whole, sent=1)
    return result


def held_buffers(wire, count):
    """Peers that send every second byte of their requests, one a segment; and peers that ask and never open their
    window. Afterwards the first kind behaves."""
    with socket.create_connection((wire.target, 6379), timeout=10) as client:
        client.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$12000\r\n%s\r\n" % (b"x" * 12000))
        assert client.recv(100) == b"+OK\r\n"
    peers, before, text = [wire.peer() for _ in range(int(count))], info(wire), PING * 60
    client, source = Client(wire), socket.inet_aton("198.18.0.77")
    for peer in peers:
        peer.open()
    for peer in peers[::2]:
        peer.say(b"GET big\r\n", window=0)
    holes = peers[1::2]
    for at in range(1, len(text), 2):
        for peer in holes:
            wire.socket.send(raw_segment(wire, source, peer.own_port, 0x10, (peer.seq + at) % 2**32, peer.ack,
                                         text[at:at + 1]))
    result, after = client.stop(), info(wire)
    result["answered"] = sum(peer.ask(text, PONG * 60) == PONG * 60 for peer in holes[:20])
    result.update(sent=len(holes) * len(text) // 2, asked=len(holes[:20]))
    for name in ("tcp_out_of_order", "net_drop_tcp_reassembly_limit", "net_drop_no_buffer"):
        result[name] = after[name] - before[name]
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


def churn(wire, count):
    """Connections that end in every way, among them some of peers that are never heard of again."""
    for _ in range(50):
        peer = wire.peer()
        peer.open()
        assert peer.ask(PING, PONG) == PONG
    for i in range(int(count)):
        client = socket.create_connection((wire.target, 6379), timeout=10)
        client.sendall(PING)
        if i % 3 == 0:
            client.shutdown(socket.SHUT_WR)
            while client.recv(100):
                pass
        elif i % 3 == 1:
            assert client.recv(100) == PONG
        else:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    end = time.monotonic() + 60
    while True:
        net, clients = info(wire), info(wire, "clients")
        left = {name: net[name] for name in ("tcp_connections", "tcp_half_open", "tcp_orphans", "tcp_time_wait")}
        left["connected_clients"] = clients["connected_clients"]
        # The one that asks is a connection; the one before it may still be closing.
        if left["tcp_connections"] == left["connected_clients"] == 1 or time.monotonic() > end:
            return left
        time.sleep(0.2)


def ping_once(wire, size):
    """Whether the kernel's echo request, cut into fragments by it, is answered within a second."""
    body = random.randbytes(size)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(1)
        header = struct.pack("!BBHHH", 8, 0, checksum(struct.pack("!BBHHH", 8, 0, 0, 7, 1) + body), 7, 1)
        raw.sendto(header + body, (wire.target, 0))
        try:
            while raw.recv(65535)[28:] != body:
                pass
        except TimeoutError:
            return False
    return True


def fragments(wire, count):
    """Never completed, contradicting, too long and tiny ones, while pings of several fragments are answered."""
    rng, frames = random.Random(4), []
    for i in range(2000):
        kind = i % 4
        source = "198.18.0.%d" % (100 if kind == 0 else 100 + rng.randrange(150))
        datagram = IP(src=source, dst=wire.target, id=rng.randrange(65536), proto=6 if kind == 3 else 17)
        datagram.frag = (0, rng.randrange(1, 100), 8189, 0)[kind]
        datagram.flags = 1 if kind != 2 else 0
        payload = bytes(8) if kind == 3 else bytes(rng.randrange(1, 60) * 8)
        frames.append(bytes(Ether(src=wire.mac, dst=wire.target_mac) / datagram / Raw(payload)))
    stopping, pings = threading.Event(), []

    def ping():
        while not stopping.is_set():
            pings.append(ping_once(wire, 4000))
            time.sleep(0.05)
    before, client = info(wire), Client(wire)
    thread = threading.Thread(target=ping)
    thread.start()
    began = time.monotonic()
    for i in range(int(count)):
        wire.socket.send(frames[i % len(frames)])
        if i % 20 == 0:
            time.sleep(0.002)
    time.sleep(max(0, 1 - (time.monotonic() - began)))
    stopping.set()
    thread.join()
    after, result = info(wire), client.stop()
    grown = {name: after[name] - before[name] for name in after if "fragment" in name and name in before}
    result.update(pings=len(pings), pings_lost=pings.count(False), counted=grown)
    return result


def overlap(wire, _):
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


def icmp_errors(wire, count):
    """About a live connection, with numbers that are not in flight; and what nobody should obey."""
    rng = random.Random(5)
    peer = wire.peer()
    peer.open()
    assert peer.fate() == "lives"
    before = info(wire)
    for i in range(int(count)):
        quoted = IP(src=wire.target, dst="198.18.0.77") / TCP(sport=6379, dport=peer.own_port,
                                                              seq=rng.randrange(1 << 32), flags="A")
        kinds = (ICMP(type=3, code=3), ICMP(type=3, code=4, nexthopmtu=rng.choice((0, 68, 552))), ICMP(type=5, code=1),
                 ICMP(type=4), ICMP(type=11), ICMP(type=12))
        wire.socket.send(wire.frame(kinds[i % len(kinds)] / quoted))
    time.sleep(0.3)
    after = info(wire)
    peer.say(b"ECHO " + b"e" * 1400 + b"\r\n")
    largest = max((len(s.data) for s in peer.hear(0.5)), default=0)
    return {"largest_segment": largest, "stale": after["net_drop_icmp_stale"] - before["net_drop_icmp_stale"],
            "unknown": after["net_drop_icmp_type"] - before["net_drop_icmp_type"]}


def arp_flood(wire, count):
    """Invented neighbours, claims to the target's address, answers that nobody asked for."""
    rng, client, frames = random.Random(6), None, []
    for i in range(5000):
        mac = "02:%02x:%02x:%02x:%02x:%02x" % tuple(rng.randrange(256) for _ in range(5))
        source = wire.target if i % 50 == 0 else "198.18.0.%d" % (100 + rng.randrange(150))
        target = wire.target if i % 2 else "198.18.0.%d" % rng.randrange(1, 255)
        frames.append(bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") /
                            ARP(op=1 + i % 2, hwsrc=mac, psrc=source, pdst=target)))
    before, client = info(wire), Client(wire)
    for i in range(int(count)):
        wire.socket.send(frames[i % len(frames)])
        if i % 20 == 0:
            time.sleep(0.001)
    result, after = client.stop(), info(wire)
    result["conflicts"] = after["net_arp_conflicts"] - before["net_arp_conflicts"]
    return result


def main():
    wire = Wire(*sys.argv[1:4])
    connect_once(wire)
    attack = globals()[sys.argv[4]]
    json.dump(attack(wire, sys.argv[5] if len(sys.argv) > 5 else "0"), sys.stdout)


if __name__ == "__main__":
    main()
