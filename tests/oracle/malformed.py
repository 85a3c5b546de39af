#!/usr/bin/python3
"""Frames that nobody should take, by the counter that must tell of them: as many drops as frames, each under its reason.

    malformed.py INTERFACE TARGET TARGET_MAC TARGET_IPV6 COUNT     prints one JSON object

Beside the frames that break one rule each, there are those in which every bit of a header is wrong once, and COUNT
in which a random byte is: of these the sum must be right. Everything comes from the kernel's address of this interface,
whose kernel drops the answers.
"""
import ipaddress
import json
import random
import struct
import sys
import time

from attacks import checksum, connect_once, info, link_drops, packed_mac
from wire import Wire

UDP, TCP, ICMP, ICMPV6 = 17, 6, 1, 58
IPV4, ARP, VLAN, IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD


def packed(address):
    return ipaddress.ip_address(address).packed


class Maker:
    """Frames that are right but for what is asked for."""

    def __init__(self, wire, target_ipv6):
        self.ours, self.station = packed_mac(wire.mac), packed_mac(wire.target_mac)
        self.source, self.target = packed("198.18.0.1"), packed(wire.target)
        self.source_ipv6, self.target_ipv6 = packed("fd00::1"), packed(target_ipv6)

    def ethernet(self, kind, payload, destination=None, source=None):
        return (destination or self.station) + (source or self.ours) + struct.pack("!H", kind) + payload

    def ip(self, protocol, body, version_ihl=0x45, total=None, fragment=0, ttl=64, source=None, target=None,
           options=b""):
        total = 20 + len(options) + len(body) if total is None else total
        head = struct.pack("!BBHHHBBH", version_ihl, 0, total, 7, fragment, ttl, protocol, 0)
        head += (source or self.source) + (target or self.target) + options
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body

    def frame(self, protocol, body, **how):
        return self.ethernet(IPV4, self.ip(protocol, body, **how))

    def ipv6(self, following, body, version=6, size=None, source=None, target=None, hops=64):
        size = len(body) if size is None else size
        return (struct.pack("!IHBB", version << 28, size, following, hops) + (source or self.source_ipv6) +
                (target or self.target_ipv6) + body)

    def frame_ipv6(self, following, body, **how):
        return self.ethernet(IPV6, self.ipv6(following, body, **how))

    def summed(self, protocol, body, at, ipv6=False):
        """With the checksum at its place, over the pseudo-header where the protocol has one."""
        ends = self.source_ipv6 + self.target_ipv6 if ipv6 else self.source + self.target
        pseudo = b"" if protocol == ICMP else ends + struct.pack("!II", len(body), protocol)
        return body[:at] + struct.pack("!H", checksum(pseudo + body)) + body[at + 2:]

    def tcp(self, offset=5, size=None, ipv6=False):
        head = struct.pack("!HHIIBBHHH", 5000, 6379, 1, 0, offset << 4, 2, 1000, 0, 0) + b"some text."
        body = head[:size]
        return self.summed(TCP, body, 16, ipv6) if len(body) >= 18 else body

    def udp(self, source_port=5000, length=None, text=b"some text.", ipv6=False):
        length = 8 + len(text) if length is None else length
        return self.summed(UDP, struct.pack("!HHHH", source_port, 9, length, 0) + text, 6, ipv6)

    def icmp(self, kind, body=b"some text.", code=0, ipv6=False):
        return self.summed(ICMPV6 if ipv6 else ICMP, struct.pack("!BBHI", kind, code, 0, 0) + body, 2, ipv6)

    def arp(self, hardware=1, protocol=IPV4, sizes=(6, 4), operation=1, sender=None, sender_address=None):
        return (struct.pack("!HHBBH", hardware, protocol, *sizes, operation) + (sender or self.ours) +
                (sender_address or self.source) + bytes(6) + self.target)

    def solicitation(self, station=None, size=None):
        body = bytes(4) + self.target_ipv6 + b"\1\1" + (station or self.ours)
        return self.summed(ICMPV6, b"\x87\0\0\0" + body[:size], 2, True)


def link_frames(m):
    right, own = m.ip(UDP, m.udp()), m.station
    kinds = [k for k in range(0, 65536, 331) if k not in (IPV4, ARP, IPV6, VLAN, 0x88A8, 0x9100)]
    stack = struct.pack("!HHHH", 5, VLAN, 6, IPV4)
    return {
        "link_source": [m.ethernet(IPV4, right, source=s) for s in (bytes(6), b"\1" + m.ours[1:], b"\xff" * 6, own)],
        "link_destination": [m.ethernet(IPV4, right, destination=d) for d in
                             (b"\2\0\0\0\0\x77", b"\1\0\x5e\0\0\5", b"\x33\x33\0\0\0\x77", bytes(6))],
        "link_vlan": [m.ethernet(VLAN, struct.pack("!HH", tag, IPV4) + right) for tag in (1, 5, 0x6005, 4095)] +
                     [m.ethernet(VLAN, stack + right), m.ethernet(VLAN, struct.pack("!HH", 5, VLAN) * 3 + right)],
        "link_ethertype": [m.ethernet(k, right) for k in kinds],
        "arp_malformed": [m.ethernet(ARP, m.arp()[:size]) for size in range(28)] +
                         [m.ethernet(ARP, m.arp(**how)) for how in
                          ({"hardware": 2}, {"protocol": IPV6}, {"sizes": (8, 4)}, {"sizes": (6, 16)},
                           {"operation": 0}, {"operation": 3})],
        "arp_sender": [m.ethernet(ARP, m.arp(**how)) for how in
                       ({"sender": b"\2\0\0\0\0\x99"}, {"sender_address": packed("203.0.113.9")},
                        {"sender_address": packed("198.18.0.255")})],
    }


def ip_frames(m):
    right, served = m.ip(UDP, m.udp()), (TCP, UDP, ICMP)
    return {
        "ip_truncated": [m.ethernet(IPV4, right[:size]) for size in range(20)] +
                        [m.frame(UDP, m.udp(), total=39 + extra) for extra in (0, 1, 1000, 65496)],
        "ip_version": [m.frame(UDP, m.udp(), version_ihl=v << 4 | 5) for v in range(16) if v != 4],
        "ip_header_length": [m.frame(UDP, m.udp(), version_ihl=0x40 | words) for words in range(5)],
        "ip_total_length": [m.frame(UDP, m.udp(), total=total) for total in range(20)],
        "ip_checksum": [m.ethernet(IPV4, right[:10] + bytes([right[10] ^ 1 << bit]) + right[11:]) for bit in range(8)],
        "ip_ttl": [m.frame(UDP, m.udp(), ttl=0)],
        "ip_source": [m.frame(UDP, m.udp(), source=packed(s)) for s in
                      ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.255")],
        "ip_land": [m.frame(p, body, source=m.target) for p, body in ((UDP, m.udp()), (TCP, m.tcp()))],
        "ip_not_ours": [m.frame(UDP, m.udp(), target=packed(t)) for t in ("198.18.0.3", "224.0.0.1", "192.0.2.1")],
        "ip_link_broadcast": [m.ethernet(IPV4, right, destination=b"\xff" * 6)],
        "ip_options": [m.frame(UDP, m.udp(), version_ihl=0x46, options=o) for o in
                       (b"\x07\0\0\0", b"\x07\1\0\0", b"\x07\5\4\0", b"\1\1\1\x44", b"\x94\xff\0\0")],
        "ip_source_route": [m.frame(UDP, m.udp(), version_ihl=0x47, options=o + bytes(1)) for o in
                            (b"\x83\7\4\n\0\0\1", b"\x89\7\4\n\0\0\1")],
        "ip_protocol": [m.frame(p, b"some text.") for p in range(256) if p not in served],
        "fragment_length": [m.frame(UDP, bytes(size), fragment=0x2000 | 10) for size in (0, 1, 7, 9)],
        "fragment_oversize": [m.frame(UDP, bytes(24), fragment=at) for at in (8189, 8190, 8191, 0x2000 | 8191)],
        "fragment_tiny": [m.frame(TCP, bytes(8), fragment=0x2000), m.frame(TCP, bytes(16), fragment=1)],
        "tcp_malformed": [m.frame(TCP, m.tcp(size=size)) for size in range(20)] +
                         [m.frame(TCP, m.tcp(offset=words)) for words in (0, 1, 2, 3, 4, 8, 15)],
        "udp_truncated": [m.frame(UDP, m.udp()[:size]) for size in range(8)],
        "udp_length": [m.frame(UDP, m.udp(length=length)) for length in (*range(8), 19, 1000, 65535)],
        "udp_source_port": [m.frame(UDP, m.udp(source_port=0))],
        "udp_no_listener": [m.frame(UDP, m.udp())],
        "icmp_truncated": [m.frame(ICMP, m.icmp(8)[:size]) for size in range(8)],
        "icmp_type": [m.frame(ICMP, m.icmp(kind)) for kind in range(256) if kind not in (3, 8, 11, 12)],
        "icmp_quote": [m.frame(ICMP, m.icmp(kind, body)) for kind in (3, 11, 12) for body in
                       (b"", b"some text.", right, m.ip(TCP, m.tcp())[:24])],
    }


def ipv6_frames(m):
    right, served = m.ipv6(UDP, m.udp(ipv6=True)), (TCP, UDP, ICMPV6, 0, 43, 44, 51, 60)
    routing, whole = b"\x11\2" + bytes(2) + bytes(20), m.udp(ipv6=True)

    def option(kind):
        return bytes([UDP, 0, kind, 4]) + bytes(4) + whole
    return {
        "ipv6_truncated": [m.ethernet(IPV6, right[:size]) for size in range(40)] +
                          [m.frame_ipv6(UDP, whole, size=len(whole) + extra) for extra in (1, 1000, 65000)],
        "ipv6_version": [m.frame_ipv6(UDP, whole, version=v) for v in range(16) if v != 6],
        "ipv6_source": [m.frame_ipv6(UDP, whole, source=packed(s)) for s in ("::", "::1", "ff02::1", "::ffff:10.0.0.1")],
        "ipv6_land": [m.frame_ipv6(UDP, whole, source=m.target_ipv6)],
        "ipv6_not_ours": [m.frame_ipv6(UDP, whole, target=packed(t)) for t in ("fd00::3", "ff02::77", "2001:db8::1")],
        "ipv6_link_group": [m.ethernet(IPV6, right, destination=b"\x33\x33\0\0\0\1")],
        "ipv6_extension": [m.frame_ipv6(60, bytes([UDP, words]) + bytes(6)) for words in (1, 9, 255)] +
                          [m.frame_ipv6(60, bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 20 + whole), m.frame_ipv6(60, b"\x11")],
        "ipv6_routing": [m.frame_ipv6(43, routing + whole)],
        "ipv6_option": [m.frame_ipv6(60, option(kind)) for kind in (0x40, 0x80, 0xC0, 0x7E, 0xBE)],
        "ipv6_protocol": [m.frame_ipv6(p, b"some text.") for p in range(256) if p not in served],
        "icmp_truncated": [m.frame_ipv6(ICMPV6, m.icmp(128, ipv6=True)[:size]) for size in range(4)],
        "icmp_checksum": [m.frame_ipv6(ICMPV6, m.icmp(128))],
        "nd_hop_limit": [m.frame_ipv6(ICMPV6, m.solicitation(), hops=hops) for hops in (0, 1, 64, 254)],
        "nd_malformed": [m.frame_ipv6(ICMPV6, m.solicitation(size=size), hops=255) for size in (4, 8, 19, 22, 27)],
        "nd_sender": [m.frame_ipv6(ICMPV6, m.solicitation(station=b"\2\0\0\0\0\x99"), hops=255)],
        "nd_router": [m.frame_ipv6(ICMPV6, m.icmp(kind, bytes(40), ipv6=True), hops=255) for kind in (133, 134, 137)],
    }


def whole_packets(m):
    """Right frames, and from where to where a sum covers them."""
    return [(m.frame(p, body), 14, 14 + 20 + len(body)) for p, body in
            ((TCP, m.tcp()), (UDP, m.udp()), (ICMP, m.icmp(8)))] + \
           [(m.frame_ipv6(p, body), 14 + 40, 14 + 40 + len(body)) for p, body in
            ((TCP, m.tcp(ipv6=True)), (UDP, m.udp(ipv6=True)), (ICMPV6, m.icmp(128, ipv6=True)))]


def wrong_bits(m):
    for frame, start, end in whole_packets(m):
        for bit in range(8 * start, 8 * end):
            yield frame[:bit // 8] + bytes([frame[bit // 8] ^ 1 << bit % 8]) + frame[bit // 8 + 1:]


def wrong_bytes(m, count):
    rng, packets = random.Random(8), whole_packets(m)
    for _ in range(count):
        frame, start, end = rng.choice(packets)
        at = rng.randrange(start, end)
        # Behind the packet lies what fills a frame up.
        yield (frame[:at] + bytes([frame[at] ^ rng.randrange(1, 256)]) + frame[at + 1:] +
               bytes(rng.choice((0, 0, 3, 40, 1300))))


def drops(wire):
    """By reason. A neighbour that does not answer is no fault of a frame's. What was sent before has been seen: the
    question comes behind it, on the same queue."""
    return {name[9:]: value for name, value in info(wire).items()
            if name.startswith("net_drop_") and not name.startswith("net_drop_neighbour")}


def counted(wire, frames):
    """Sends them, and tells how many they were and the growth of each reason."""
    before, sent = drops(wire), 0
    for frame in frames:
        wire.socket.send(frame)
        sent += 1
        if sent % 32 == 0:
            time.sleep(0.001)
    after = drops(wire)
    return sent, {name: after[name] - before[name] for name in after if after[name] != before[name]}


def main():
    wire = Wire(*sys.argv[1:4])
    connect_once(wire)
    maker, lost = Maker(wire, sys.argv[4]), link_drops(wire.interface)
    result = {"named": [(name, *counted(wire, frames)) for make in (link_frames, ip_frames, ipv6_frames)
                        for name, frames in make(maker).items()],
              "bits": counted(wire, wrong_bits(maker)),
              "bytes": counted(wire, wrong_bytes(maker, int(sys.argv[5])))}
    json.dump(result | {"link_drops": link_drops(wire.interface) - lost}, sys.stdout)


if __name__ == "__main__":
    main()
