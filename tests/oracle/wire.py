"""A TCP peer made of explicit segments, on an Ethernet interface, with an address that no kernel owns.

The target's address says which family it is. `Wire` reads the interface and sorts what arrives by port; a `Peer` is one port of it. Sequence numbers are kept
as a true peer would keep them, unless a probe says otherwise.
"""
import collections
import itertools
import queue
import random
import socket
import struct
import threading
import time

from scapy.all import IP, IPv6, IPv6ExtHdrFragment, TCP, Ether, Raw

OWN, OWN_IPV6 = "198.18.0.77", "fd00::77"
SO_TIMESTAMPNS = 35  # which Python does not name
FLAGS = ((0x02, "SYN"), (0x01, "FIN"), (0x04, "RST"), (0x10, "ACK"))

Segment = collections.namedtuple("Segment", "time flags seq ack window options data ip_id dont_fragment")


def names_of(flags):
    return ",".join(name for bit, name in FLAGS if flags & bit)


def parse_options(raw):
    options, at = {}, 0
    while at < len(raw) and raw[at] != 0:
        if raw[at] == 1:
            at += 1
            continue
        kind, size = raw[at], raw[at + 1]
        options[kind] = raw[at + 2:at + size]
        at += size
    return options


class Wire:
    def __init__(self, interface, target, target_mac):
        self.interface, self.target, self.target_mac = interface, target, target_mac
        self.ipv6 = ":" in target
        self.own = OWN_IPV6 if self.ipv6 else OWN
        self.group = "ff02::9" if self.ipv6 else "224.0.0.9"
        self.l4_at = 14 + (40 if self.ipv6 else 20)  # in a frame of ours
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD if self.ipv6 else 0x0800))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        # A segment's time is when the kernel had it: the thread that reads it waits for Python's other threads.
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((interface, 0))
        self.mac = ":".join("%02x" % byte for byte in self.socket.getsockname()[4])
        self.ports = {}
        self.next_port = itertools.count(random.randrange(20000, 40000))
        threading.Thread(target=self.read, daemon=True).start()

    def packed(self, address):
        return socket.inet_pton(socket.AF_INET6 if self.ipv6 else socket.AF_INET, address)

    def segment_in(self, frame):
        """The TCP segment to us, the packet's identification, and whether it may be fragmented on its way; or None."""
        own = self.packed(self.own)
        if self.ipv6:
            for_us = frame[38:54] == own and frame[20] == 6
            return (frame[54:54 + struct.unpack("!H", frame[18:20])[0]], 0, False) if for_us else None
        if frame[30:34] != own or frame[23] != 6:
            return None
        ip = frame[14:14 + struct.unpack("!H", frame[16:18])[0]]
        return ip[(ip[0] & 15) * 4:], struct.unpack("!H", ip[4:6])[0], not ip[6] & 0x40

    def read(self):
        while True:
            frame, [(_, _, stamp)], _, origin = self.socket.recvmsg(65535, 100)
            found = None if origin[2] == socket.PACKET_OUTGOING else self.segment_in(frame)
            if found is None:
                continue
            tcp, identification, fragmentable = found
            _, port, seq, ack, offset, flags, window = struct.unpack("!HHIIBBH", tcp[:16])
            size = (offset >> 4) * 4
            seconds, nanoseconds = struct.unpack("qq", stamp)
            segment = Segment(seconds + nanoseconds / 1e9, flags & 0x17, seq, ack, window, parse_options(tcp[20:size]),
                              tcp[size:], identification, not fragmentable)
            if port in self.ports:
                self.ports[port].put(segment)

    def frame(self, payload, source=None, **ip):
        """`ip`: fields of IPv4; of these `proto`, `id`, `frag` and `flags` mean the same over IPv6."""
        ethernet, source = Ether(src=self.mac, dst=self.target_mac), source or self.own
        if not self.ipv6:
            return bytes(ethernet / IP(src=source, dst=self.target, **ip) / payload)
        header = IPv6(src=source, dst=self.target)
        if "frag" in ip:
            return bytes(ethernet / header / IPv6ExtHdrFragment(nh=ip["proto"], id=ip["id"], offset=ip["frag"],
                                                                m=ip["flags"]) / payload)
        if "proto" in ip:
            header.nh = ip["proto"]
        return bytes(ethernet / header / payload)

    def send(self, frame):
        self.socket.send(frame)

    def peer(self, **how):
        return Peer(self, **how)


class Peer:
    """`options`: of the SYN. With timestamps every later segment bears one."""

    ALL = (("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1000, 0)), ("NOP", None), ("WScale", 7))
    PLAIN = (("MSS", 1460),)

    def __init__(self, wire, options=PLAIN, port=6379, window=65535):
        self.wire, self.options, self.port, self.window = wire, list(options), port, window
        self.own_port = next(wire.next_port)
        self.seq, self.ack, self.stamp, self.echo = random.randrange(1 << 32), 0, 1000, None
        self.heard_all = queue.Queue()
        wire.ports[self.own_port] = self.heard_all

    # ---- sending

    def segment(self, flags, data=b"", seq=None, ack=None, options=None, window=None, **tcp):
        if options is None:
            options = [] if self.echo is None else [("NOP", None), ("NOP", None), ("Timestamp", (self.stamp % 2**32, self.echo))]
        header = TCP(sport=self.own_port, dport=self.port, flags=flags, options=options,
                     seq=(self.seq if seq is None else seq) % 2**32, ack=(self.ack if ack is None else ack) % 2**32,
                     window=self.window if window is None else window, **tcp)
        return header / Raw(data) if data else header

    def send(self, flags, data=b"", **how):
        self.wire.send(self.wire.frame(self.segment(flags, data, **how)))

    def say(self, data, flags="PA", **how):
        """The next text, in order."""
        self.send(flags, data, **how)
        self.seq = (self.seq + len(data) + ("F" in flags)) % 2**32

    # ---- hearing

    def hear(self, seconds):
        """Everything that arrives within the time."""
        end, heard = time.monotonic() + seconds, []
        while True:
            try:
                heard.append(self.heard_all.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                return heard

    def hear_until(self, wanted, seconds):
        """What arrives until `wanted` says of all of it that it is enough."""
        end, heard = time.monotonic() + seconds, []
        while not wanted(heard) and time.monotonic() < end:
            heard += self.hear(0.02)
        return heard

    def take(self, heard):
        """Advances over the text and FIN in order; returns the text."""
        text = b""
        for segment in heard:
            behind = (self.ack - segment.seq) % 2**32
            if behind <= len(segment.data):
                text += segment.data[behind:]
                self.ack = (segment.seq + len(segment.data) + (segment.flags & 1)) % 2**32
            if 8 in segment.options:
                self.echo = struct.unpack("!I", segment.options[8][:4])[0]
        return text

    # ---- conversations

    def open(self):
        self.send("S", options=self.options)
        heard = self.hear_until(lambda all_of: any(s.flags & 2 for s in all_of), 3)
        answers = [s for s in heard if s.flags == 0x12]
        assert answers, "no SYN,ACK"
        answer = answers[0]
        self.seq, self.ack = (self.seq + 1) % 2**32, (answer.seq + 1) % 2**32
        self.iss = answer.seq
        if 8 in answer.options and any(name == "Timestamp" for name, _ in self.options):
            self.echo = struct.unpack("!I", answer.options[8][:4])[0]
            self.stamp += 1
        self.send("A")
        return answer

    def ask(self, request, reply, seconds=3):
        """Sends a request in order and waits for the reply's text; acknowledges it."""
        self.stamp += 1
        self.say(request)
        text, reset, end = b"", False, time.monotonic() + seconds
        while len(text) < len(reply) and not reset and time.monotonic() < end:
            heard = self.hear(0.02)
            reset = any(s.flags & 4 for s in heard)
            text += self.take(heard)
        self.send("A")
        return text

    def fate(self):
        """Whether the connection still serves."""
        return "lives" if self.ask(b"PING\r\n", b"+PONG\r\n") == b"+PONG\r\n" else "gone"
