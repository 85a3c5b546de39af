"""A TCP peer made of explicit segments, on an Ethernet interface, with an address that no kernel owns.

`Wire` reads the interface and sorts what arrives by port; a `Peer` is one port of it. Sequence numbers are kept
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

from scapy.all import IP, TCP, Ether, Raw

OWN = "198.18.0.77"
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
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((interface, 0))
        self.mac = ":".join("%02x" % byte for byte in self.socket.getsockname()[4])
        self.ports = {}
        self.next_port = itertools.count(random.randrange(20000, 40000))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        own = socket.inet_aton(OWN)
        while True:
            frame, origin = self.socket.recvfrom(65535)
            now = time.monotonic()
            if origin[2] == socket.PACKET_OUTGOING or frame[30:34] != own or frame[23] != 6:
                continue
            ip = frame[14:14 + struct.unpack("!H", frame[16:18])[0]]
            tcp = ip[(ip[0] & 15) * 4:]
            _, port, seq, ack, offset, flags, window = struct.unpack("!HHIIBBH", tcp[:16])
            size = (offset >> 4) * 4
            segment = Segment(now, flags & 0x17, seq, ack, window, parse_options(tcp[20:size]), tcp[size:],
                              struct.unpack("!H", ip[4:6])[0], bool(ip[6] & 0x40))
            if port in self.ports:
                self.ports[port].put(segment)

    def frame(self, payload, source=OWN, **ip):
        return bytes(Ether(src=self.mac, dst=self.target_mac) / IP(src=source, dst=self.target, **ip) / payload)

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
            options = [] if self.echo is None else [("NOP", None), ("NOP", None), ("Timestamp", (self.stamp, self.echo))]
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
