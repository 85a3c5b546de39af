"""A capture of memcached requests over UDP, played through the pcap port: the answers, byte for byte."""

import pytest

scapy = pytest.importorskip("scapy.all")

CLIENT_MAC, CLIENT = "02:00:00:00:00:aa", "198.18.0.77"
SERVER = "198.18.0.2"


def request(request_id, text, port=40000, sequence=0, count=1):
    from scapy.all import IP, UDP, Ether, Raw

    frame = expect(request_id, b"", sequence, count)
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


def play(fleet, tmp_path, packets, *words):
    """What comes back for a capture of these packets."""
    from scapy.all import wrpcap

    source, answers = tmp_path / "in.pcap", tmp_path / "out.pcap"
    wrpcap(str(source), packets)
    fleet.replay(source, answers, "--memcache-udp-port 11211", *words)
    return replies_of(answers)


def test_strangers_get_no_more_than_they_send(fleet, tmp_path):
    """Spoofed senders are worth nothing: no reply has more bytes or more datagrams than its request."""
    value = b"set v 0 0 400\r\n" + b"x" * 400 + b"\r\n"
    packets = [request(1, value), request(2, b"get v\r\n"), request(3, b"get none\r\n"), request(4, b"stats\r\n"),
               request(5, b"mg v\r\n"), request(6, b"mg v k O1\r\n"), request(7, b"q\r\n"),
               request(8, b"get v" + b" none" * 100 + b"\r\n"), request(9, b""), request(10, b"x" * 1400)]
    half = b"get v" + b" none" * 40 + b"\r\n"
    packets += [request(11, half[:100], 40000, 0, 2), request(11, half[100:], 40000, 1, 2),
                request(12, half[:100], 40000, 0, 0), request(13, half[:100], 40000, 7, 3)]
    assert play(fleet, tmp_path, packets) == [
        (40000, expect(1, b"STORED\r\n")), (40000, expect(3, b"END\r\n")), (40000, expect(5, b"HD\r\n")),
        (40000, expect(6, b"HD kv O1\r\n")),
        (40000, expect(8, b"VALUE v 0 400\r\n" + b"x" * 400 + b"\r\nEND\r\n"))]


def test_a_stranger_has_a_rate(fleet, tmp_path):
    packets = [request(i, b"get none\r\n") for i in range(100)]
    assert len(play(fleet, tmp_path, packets, "--memcache-udp-rate 20")) in range(6, 28)


def test_a_capture_is_answered_byte_for_byte(fleet, tmp_path):
    from scapy.all import Ether

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
    # Dropped without an answer: half a request, too short, and damaged.
    packets.append(request(100, b"get gree"))
    packets.append(request(101, b""))
    damaged = bytearray(bytes(request(102, b"get n\r\n")))
    damaged[-3] ^= 0xFF
    packets.append(Ether(bytes(damaged)))
    packets.append(request(110, b"set parts 0 0 4\r\nab", 41000, 0, 2))
    packets.append(request(110, b"cd\r\n", 41000, 1, 2))
    packets.append(request(111, b"set long 0 0 2500\r\n" + b"y" * 1300, 41001, 0, 2))
    packets.append(request(111, b"y" * 1200 + b"\r\n", 41001, 1, 2))
    packets.append(request(112, b"get parts long\r\n", 41002))
    long = b"VALUE parts 0 4\r\nabcd\r\nVALUE long 0 2500\r\n" + b"y" * 2500 + b"\r\nEND\r\n"
    expected = [(40000 + i, expect(i, reply)) for i, (_, reply) in enumerate(conversation)]
    expected += [(41000, expect(110, b"STORED\r\n")), (41001, expect(111, b"STORED\r\n"))]
    expected += [(41002, expect(112, long[at:at + 1392], i, 2)) for i, at in enumerate((0, 1392))]
    assert play(fleet, tmp_path, packets, "--memcache-udp-allow 198.18.0.0/15") == expected


def test_jumbo_frames(fleet, tmp_path):
    """A frame of 9000 bytes comes in whole and its answer leaves whole, of either family."""
    from scapy.all import (ICMP, IP, Ether, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, Raw, rdpcap,
                           wrpcap)

    ether = Ether(src=CLIENT_MAC, dst="02:00:00:00:00:bb")
    data = bytes(range(256)) * 36
    source, answers = tmp_path / "in.pcap", tmp_path / "out.pcap"
    wrpcap(str(source), [
        ether / IP(src=CLIENT, dst=SERVER) / ICMP(id=1, seq=1) / Raw(data[:8972]),
        ether / IPv6(src="fd00::77", dst="fd00::2") / ICMPv6EchoRequest(id=1, seq=1, data=data[:8952]),
        request(1, b"set large 0 0 8000\r\n" + data[:8000] + b"\r\n"),
        request(2, b"touch large 0\r\n")])
    fleet.replay(source, answers, "--memcache-udp-port 11211", networks=f"{SERVER}/24 fd00::2/64 mtu 9000")
    packets = rdpcap(str(answers))
    echoes = [p for p in packets if ICMP in p and p[ICMP].type == 0]
    assert [bytes(p[ICMP].payload) for p in echoes] == [data[:8972]]
    echoes = [p for p in packets if ICMPv6EchoReply in p]
    assert [bytes(p[ICMPv6EchoReply].data) for p in echoes] == [data[:8952]]
    assert [reply for _, reply in replies_of(answers)] == [expect(1, b"STORED\r\n"),
                                                           expect(2, b"TOUCHED\r\n")]
