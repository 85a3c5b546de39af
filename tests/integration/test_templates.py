"""Templates for other packet generators: what nicached-bench writes is whole and right to tshark, and every
request in it is answered right: UDP played into nicached's pcap port, TCP said to real servers byte for byte."""

import contextlib
import json
import re
import socket

import pytest

from conftest import BENCH, peer_server, run

scapy = pytest.importorskip("scapy.all")

CLIENT, SERVER = "198.18.0.77", "198.18.0.2"
ENDS = ["-h", SERVER, "--client", f"{CLIENT}:50000", "--client-mac", "02:00:00:00:00:aa", "--server-mac",
        "02:00:00:00:00:bb"]


def write(path, *words):
    done = run(BENCH, "--write-templates", path, *ENDS, *words)
    assert done.stdout.startswith(f"{path}: ")
    return done.stdout


def complaints(path):
    """What tshark finds wrong: malformed packets, bad checksums, and everything amiss in a TCP connection."""
    wrong = "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0" \
            " || tcp.analysis.flags"
    return run("tshark", "-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o",
               "tcp.check_checksum:TRUE", "-Y", wrong).stdout.replace(root_warning(), "").strip()


def root_warning():
    return 'Running as user "root" and group "root". This could be dangerous.\n'


def datagrams(path):
    """Of the UDP packets: client port, request id, and the bytes behind memcached's frame."""
    from scapy.all import IP, UDP, rdpcap

    found = []
    for packet in rdpcap(str(path)):
        if UDP in packet:
            to_server = packet[IP].dst == SERVER
            payload = bytes(packet[UDP].payload)[:packet[UDP].len - 8]
            assert payload[2:8] == b"\0\0\0\1\0\0"
            port = packet[UDP].sport if to_server else packet[UDP].dport
            found.append((to_server, port, int.from_bytes(payload[:2], "big"), payload[8:]))
    return found


class Model:
    """memcached as far as the templates go."""

    def __init__(self):
        self.values = {}

    def answer(self, request):
        line, _, rest = request.partition(b"\r\n")
        words = line.split()
        if words[0] == b"set":
            assert len(rest) == int(words[4]) + 2
            self.values[words[1]] = rest[:-2]
            return b"STORED\r\n"
        if words[0] == b"version":
            return None
        found = [(key, self.values[key]) for key in words[1:] if key in self.values]
        return b"".join(b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value) for key, value in found) + b"END\r\n"


DATAGRAM_FORMS = {
    "small": ["-t", "set,get,ping", "-n", "300", "-r", "100", "-d", "8", "--key-size", "8"],
    "mix": ["--mix", "50:50", "-n", "1000", "-r", "50", "-d", "1-900", "--key-size", "3-200", "--zipf", "0.99",
            "-c", "7"],
    "preload": ["-t", "get", "-n", "500", "-r", "200", "-d", "64", "--preload", "--keys-per-get", "3"],
    "no-checksum": ["--mix", "50:50", "-n", "200", "-r", "20", "--no-checksum", "--ttl", "100-1000"],
    "etc": ["--preset", "etc", "-n", "1000", "-r", "300"],
}


@pytest.mark.parametrize("form", DATAGRAM_FORMS)
def test_datagrams_are_answered(fleet, tmp_path, form):
    source, answers = tmp_path / "in.pcap", tmp_path / "out.pcap"
    write(source, "--udp", *DATAGRAM_FORMS[form])
    assert complaints(source) == ""
    fleet.replay(source, answers, "--memcache-udp-port 11211", "--memcache-udp-allow 198.18.0.0/15")
    requests = datagrams(source)
    replies = {(port, number): text for to_server, port, number, text in datagrams(answers) if not to_server}
    assert len({(port, number) for _, port, number, _ in requests}) == len(requests) == len(replies)
    model, hits = Model(), 0
    for _, port, number, request in requests:
        expected = model.answer(request)
        reply = replies[port, number]
        assert reply == expected if expected is not None else reply.startswith(b"VERSION ")
        hits += reply.startswith(b"VALUE ")
    assert hits > 0
    ports = int(DATAGRAM_FORMS[form][-1]) if "-c" in DATAGRAM_FORMS[form] else 1
    assert {port for _, port, _, _ in requests} == set(range(50000, 50000 + ports))


def test_fields_lie_where_the_option_says(tmp_path):
    """The offsets that it prints, against the bytes."""
    path = tmp_path / "in.pcap"
    text = write(path, "--udp", "-t", "get", "-n", "3", "-r", "100", "-p", "11300")
    fields = {name: (int(offset), int(size)) for name, offset, size in
              re.findall(r"^  (\S.*?)\s+(\d+)\s+(\d+)$", text, re.M)}
    from scapy.all import rdpcap

    for number, packet in enumerate(rdpcap(str(path))):
        frame = bytes(packet)

        def at(name):
            return frame[fields[name][0]:sum(fields[name])]

        assert at("destination MAC").hex(":") == "02:00:00:00:00:bb"
        assert at("source MAC").hex(":") == "02:00:00:00:00:aa"
        assert at("source address") == socket.inet_aton(CLIENT)
        assert at("destination address") == socket.inet_aton(SERVER)
        assert int.from_bytes(at("source port"), "big") == 50000
        assert int.from_bytes(at("destination port"), "big") == 11300
        assert int.from_bytes(at("UDP checksum"), "big") == packet["UDP"].chksum
        assert int.from_bytes(at("IP checksum"), "big") == packet["IP"].chksum
        assert int.from_bytes(at("request id"), "big") == number
        assert re.fullmatch(rb"key:000000000\d{3}", at("key"))
        assert at("key").endswith(at("last digits of the key")) and fields["last digits of the key"][1] == 3


def test_seed_and_rate(tmp_path):
    """The same seed, the same file; --rate is the distance of the time stamps."""
    from scapy.all import rdpcap

    words = ["--udp", "-n", "200", "--mix", "50:50", "--seed", "7", "--rate", "1000"]
    for name in ("a", "b"):
        write(tmp_path / name, *words, "--arrival", "constant")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    times = [float(packet.time) for packet in rdpcap(str(tmp_path / "a"))]
    assert times == pytest.approx([number / 1000 for number in range(200)])
    write(tmp_path / "c", *words)
    times = [float(packet.time) for packet in rdpcap(str(tmp_path / "c"))]
    assert 0.12 < times[-1] < 0.3 and times == sorted(times)  # Poisson


# ---- one TCP connection, for TRex's ASTF --------------------------------------------------------------


def conversation(path):
    """The rounds of a session: what the client says, and what is answered, as TRex puts the packets together."""
    from scapy.all import IP, TCP, rdpcap

    rounds = []
    packets = [packet for packet in rdpcap(str(path)) if TCP in packet]
    assert [str(packet[TCP].flags) for packet in packets[:3]] == ["S", "SA", "A"]
    assert [str(packet[TCP].flags) for packet in packets[-3:]] == ["FA", "FA", "A"]
    for packet in packets[3:-3]:
        size = packet[IP].len - 20 - packet[TCP].dataofs * 4
        data = bytes(packet[TCP].payload)[:size]
        side = packet[IP].dst != SERVER
        if not side and (not rounds or rounds[-1][1]):
            rounds.append([b"", b""])
        rounds[-1][side] += data
    return rounds


STREAM_FORMS = {
    "resp": ["-t", "set,get,ping", "-n", "100", "-r", "20", "--preload", "-d", "1-5000"],
    "resp-mget": ["-t", "mget", "-n", "100", "-r", "20", "--preload", "-d", "100", "--ttl", "1000"],
    "memcache": ["-m", "--mix", "50:50", "-n", "200", "-r", "20", "--preload", "-d", "0-5000"],
    "memcache-mget": ["-m", "-t", "mget", "-n", "100", "-r", "20", "--preload", "-d", "100"],
    "meta": ["--meta", "--mix", "50:50", "-n", "200", "-r", "20", "--preload", "-d", "0-5000"],
    "resp-large": ["-t", "get", "-n", "3", "-r", "2", "--preload", "-d", "300000"],
}


@contextlib.contextmanager
def peer(fleet, form):
    """redis-server or memcached on port 7777 of a namespace of its own."""
    namespace = fleet.namespace()
    words = ["memcached", "-l", "127.0.0.1", "-p", "7777", "-U", "0", "-u", "nobody"]
    if form.startswith("resp"):
        words = ["redis-server", "--port", "7777", "--save", "", "--bind", "127.0.0.1"]
    with peer_server(namespace, *words, port=7777):
        yield namespace


SPEAK = r"""
import json, socket, sys
rounds = json.load(sys.stdin)
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.settimeout(10)
for number, (request, expected) in enumerate(rounds):
    s.sendall(bytes.fromhex(request))
    expected, got = bytes.fromhex(expected), b""
    while len(got) < len(expected):
        piece = s.recv(1 << 20)
        assert piece, (number, got)
        got += piece
    assert got == expected, (number, got[:200], expected[:200])
s.settimeout(0.2)
try:
    assert not s.recv(1), "more than expected"
except TimeoutError:
    pass
print(len(rounds))
"""


def speak(namespace, address, port, rounds):
    text = json.dumps([[side.hex() for side in pair] for pair in rounds])
    done = namespace.run("/usr/bin/python3", "-c", SPEAK, address, port, input=text, check=False)
    assert done.returncode == 0 and int(done.stdout) == len(rounds), done.stdout[-2000:]


@pytest.mark.parametrize("form", STREAM_FORMS)
def test_session_is_what_servers_say(fleet, tmp_path, form):
    path = tmp_path / "session.pcap"
    write(path, *STREAM_FORMS[form])
    assert complaints(path) == ""
    rounds = conversation(path)
    assert len(rounds) > 3 and all(all(pair) for pair in rounds)
    with peer(fleet, form) as namespace:
        speak(namespace, "127.0.0.1", 7777, rounds)
    appliance = fleet.start("socket")
    speak(appliance.namespace, "127.0.0.1", 11211 if form.startswith("me") else 6379, rounds)


# ---- the command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("words, reason", [
    ([], "needs -h"),
    (["-h", "127.0.0.1", "--udp"], "needs -h"),
    (["-h", SERVER, "-c", "2"], "one TCP connection"),
    (["-h", SERVER, "--no-checksum"], "goes with --udp"),
    (["-h", SERVER, "-m", "-t", "ping"], "differs from server to server"),
    (["-h", SERVER, "--udp", "--client", "nobody"], "--client takes"),
    (["-h", SERVER, "--udp", "--client", "::1"], "--client takes"),
    (["-h", SERVER, "--udp", "--client", "198.18.0.1:0"], "the port of --client"),
    (["-h", SERVER, "--udp", "--client", "198.18.0.1:65535", "-c", "2"], "too many"),
    (["-h", SERVER, "--udp", "--client-mac", "02:00"], "--client-mac takes"),
    (["-h", SERVER, "--udp", "--server-mac", "x"], "--server-mac takes"),
    (["-h", SERVER, "--udp", "-d", "2000"], "one packet"),
    (["-h", SERVER, "--udp", "--verify"], "--verify does not go"),
    (["-h", SERVER, "--udp", "--duration", "1"], "--duration does not go"),
    (["-h", SERVER, "--udp", "-P", "4"], "-P does not go"),
    (["-h", SERVER, "--udp", "--json"], "--json does not go"),
])
def test_refusals(tmp_path, words, reason):
    path = tmp_path / "x.pcap"
    done = run(BENCH, "--write-templates", path, *words, check=False)
    assert done.returncode == 2 and reason in done.stdout, done.stdout
    assert not path.exists()


@pytest.mark.parametrize("path, reason", [("/nonexistent/x.pcap", "No such file"), ("/dev/full", "No space left")])
def test_file_that_cannot_be_written(path, reason):
    done = run(BENCH, "--write-templates", path, "-h", SERVER, "--udp", check=False)
    assert done.returncode == 1 and reason in done.stdout and path in done.stdout
