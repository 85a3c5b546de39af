"""A capture of memcached requests over UDP, played through the pcap port: the answers, byte for byte."""

import signal
import time

import pytest

from conftest import Appliance, IS_ROOT

scapy = pytest.importorskip("scapy.all")

CLIENT_MAC, CLIENT = "02:00:00:00:00:aa", "198.18.0.77"
SERVER = "198.18.0.2"


def request(request_id, text, port=40000):
    from scapy.all import IP, UDP, Ether, Raw

    frame = request_id.to_bytes(2, "big") + b"\0\0\0\1\0\0"
    return Ether(src=CLIENT_MAC, dst="02:00:00:00:00:bb") / IP(src=CLIENT, dst=SERVER) / UDP(
        sport=port, dport=11211) / Raw(frame + text)


def replies_of(capture):
    from scapy.all import IP, UDP, Ether, Raw, rdpcap

    found = []
    for packet in rdpcap(str(capture)):
        if UDP in packet and packet[IP].dst == CLIENT:
            assert packet[Ether].dst == CLIENT_MAC
            again = Ether(bytes(packet))
            del again[IP].chksum, again[UDP].chksum
            again = Ether(bytes(again))
            assert again[IP].chksum == packet[IP].chksum and again[UDP].chksum == packet[UDP].chksum
            found.append((packet[UDP].dport, bytes(packet[UDP].payload)))
    return found


def expect(request_id, text, sequence=0, count=1):
    return b"".join(n.to_bytes(2, "big") for n in (request_id, sequence, count, 0)) + text


def test_a_capture_is_answered_byte_for_byte(fleet, tmp_path):
    from scapy.all import Ether, wrpcap

    if not IS_ROOT:
        pytest.skip("needs root")
    conversation = [
        (b"set greeting 7 0 5\r\nhello\r\n", b"STORED\r\n"),
        (b"get greeting\r\n", b"VALUE greeting 7 5\r\nhello\r\nEND\r\n"),
        (b"get none\r\n", b"END\r\n"),
        (b"get greeting none greeting\r\n",
         b"VALUE greeting 7 5\r\nhello\r\nVALUE greeting 7 5\r\nhello\r\nEND\r\n"),
        (b"set n 0 0 1\r\n5\r\n", b"STORED\r\n"),
        (b"incr n 10\r\n", b"15\r\n"),
        (b"delete greeting\r\n", b"DELETED\r\n"),
        (b"get greeting\r\n", b"END\r\n"),
        (b"nonsense\r\n", b"ERROR\r\n"),
    ]
    packets = [request(i, text, 40000 + i) for i, (text, _) in enumerate(conversation)]
    # Dropped without an answer: half a request, a frame of several datagrams, too short, and damaged.
    packets.append(request(100, b"get gree"))
    packets.append(request(101, b""))
    damaged = bytearray(bytes(request(102, b"get n\r\n")))
    damaged[-3] ^= 0xFF
    packets.append(Ether(bytes(damaged)))
    source, answers = tmp_path / "in.pcap", tmp_path / "out.pcap"
    wrpcap(str(source), packets)

    namespace = fleet.namespace()
    appliance = Appliance(namespace, SERVER, [
        f"--interface p0 pcap:{source},{answers} {SERVER}/24", "--memcache-udp-port 11211",
        "--protected-mode no", "--hugepages no"], tmp_path / "pcap.log")
    fleet.appliances.append(appliance)
    time.sleep(1)
    appliance.stop(signal.SIGINT)
    assert replies_of(answers) == [(40000 + i, expect(i, reply))
                                   for i, (_, reply) in enumerate(conversation)]


def test_jumbo_frames(fleet, tmp_path):
    """A frame of 9000 bytes comes in whole and its answer leaves whole, of either family."""
    from scapy.all import (ICMP, IP, Ether, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, Raw, rdpcap,
                           wrpcap)

    if not IS_ROOT:
        pytest.skip("needs root")
    ether = Ether(src=CLIENT_MAC, dst="02:00:00:00:00:bb")
    data = bytes(range(256)) * 36
    source, answers = tmp_path / "in.pcap", tmp_path / "out.pcap"
    wrpcap(str(source), [
        ether / IP(src=CLIENT, dst=SERVER) / ICMP(id=1, seq=1) / Raw(data[:8972]),
        ether / IPv6(src="fd00::77", dst="fd00::2") / ICMPv6EchoRequest(id=1, seq=1, data=data[:8952]),
        request(1, b"set large 0 0 8000\r\n" + data[:8000] + b"\r\n"),
        request(2, b"touch large 0\r\n")])
    appliance = Appliance(fleet.namespace(), SERVER, [
        f"--interface p0 pcap:{source},{answers} {SERVER}/24 fd00::2/64 mtu 9000",
        "--memcache-udp-port 11211", "--protected-mode no", "--hugepages no"], tmp_path / "pcap.log")
    fleet.appliances.append(appliance)
    time.sleep(1)
    appliance.stop()
    packets = rdpcap(str(answers))
    echoes = [p for p in packets if ICMP in p and p[ICMP].type == 0]
    assert [bytes(p[ICMP].payload) for p in echoes] == [data[:8972]]
    echoes = [p for p in packets if ICMPv6EchoReply in p]
    assert [bytes(p[ICMPv6EchoReply].data) for p in echoes] == [data[:8952]]
    assert [reply for _, reply in replies_of(answers)] == [expect(1, b"STORED\r\n"),
                                                           expect(2, b"TOUCHED\r\n")]
