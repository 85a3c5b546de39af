#!/usr/bin/python3
"""Compares two servers that speak memcached's text protocol, byte by byte.

    memcached -p 21211 -l 127.0.0.1 -U 0 &
    nicached --memcache-port 21212 --interface lo0 socket 127.0.0.1 &
    tests/differential/memcached_differential.py --reference 127.0.0.1:21211 \
        --subject 127.0.0.1:21212 --seed 7 --cases 2000

First a list of fixed requests, then random conversations from the seed. Both servers get the same
bytes; only CAS values are each server's own: they are replaced by the order in which they appeared,
and @CAS@ in a request is the last one that this server has shown. A case that differs is printed
with its seed and the exit status is 1.

EXCEPTIONS below says what differs on purpose; the cases keep clear of it.
"""
import argparse
import random
import re
import socket
import sys

EXCEPTIONS = [
    ("stats and its subcommands but reset and detail off/dump",
     "figures of another machine; classes of slabs and the LRU do not exist"),
    ("mg ms md ma mn me", "meta commands are not spoken in this version: ERROR"),
    ("watch, lru_crawler, slabs, lru, cache_memlimit", "refused: nothing of the kind exists"),
    ("lines of more than 2048 bytes other than get and gets",
     "the reference closes or answers depending on what one read brings; here up to 16384 bytes"),
    ("incr and decr on a value of more than 16384 bytes", "never a number here"),
    ("a key that is too long in get and its family, behind other commands in one packet",
     "the reference drops the replies of those commands"),
    ("0x80 as first byte", "the binary protocol is not spoken in this version: closed at once"),
    ("replies ahead of a value that does not arrive", "the reference holds them back until it does"),
    ("incr and decr on a value of white space alone",
     "the reference's strtoull reads on into what the memory held before"),
    ("items evicted", "the subject does not evict; keep the reference's memory large enough"),
    ("expiry within a second", "the reference counts in whole seconds"),
]

SYNC = b"version\r\n"
SYNC_REPLY = re.compile(rb"VERSION [^\r\n]*\r\n$")
VALUE_LINE = re.compile(rb"^VALUE ([^ \r\n]+) (\d+) (\d+)(?: (\d+))?\r\n", re.M)


class Server:
    def __init__(self, name, address):
        host, _, port = address.rpartition(":")
        self.name, self.address = name, (host, int(port))
        self.cas_order, self.last_cas = {}, b"1"
        self.connection = None

    def open(self):
        self.connection = socket.create_connection(self.address)
        self.connection.settimeout(0.3)

    def close(self):
        self.connection.close()

    def ask(self, request):
        """Sends, and reads up to the reply of SYNC, the end, or a silence."""
        request = request.replace(b"@CAS@", self.last_cas)
        reply = b""
        try:
            self.connection.sendall(request + SYNC)
            while not SYNC_REPLY.search(reply[-128:]):
                part = self.connection.recv(1 << 20)
                if not part:
                    return self.normalise(reply) + b"<closed>"
                reply += part
        except socket.timeout:
            return self.normalise(reply) + b"<waits>"
        except OSError:
            return self.normalise(reply) + b"<closed>"
        return self.normalise(reply[: SYNC_REPLY.search(reply).start()])

    def normalise(self, reply):
        def replace(match):
            if match.group(4) is None:
                return match.group(0)
            self.last_cas = match.group(4)
            order = self.cas_order.setdefault(match.group(4), len(self.cas_order))
            return b"VALUE %s %s %s <cas %d>\r\n" % (*match.group(1, 2, 3), order)
        return VALUE_LINE.sub(replace, reply)


K251 = b"k" * 251
FIXED = [
    b"get\r\n", b"get \r\n", b"g\r\n", b"\r\n", b"\n", b"  get a\r\n", b"get a\n", b"get\ta\r\n",
    b"get %s\r\n" % K251, b"get a %s b\r\n" % K251, b"GET a\r\n", b"get a\0b c\r\n",
    b"set a 0 0 3\r\nabc\r\nget a\r\ngets a\r\n", b"set a 0 0 3\nabc\r\nget a\n",
    b"set a 0 0 3\r\nabc\nget a\r\n", b"set a 0 0 3\r\nabcdef\r\n", b"set a 0 0 5\r\nabc\r\nget a\r\n",
    b"set a 0 0 3 noreply\r\nabcdef\r\n", b"set a 0 0 -1\r\nabc\r\n", b"set a 0 0 x\r\nabc\r\n",
    b"set a x 0 3\r\nabc\r\n", b"set a 0 x 3\r\nabc\r\n", b"set a -1 0 3\r\nabc\r\n",
    b"set a 4294967297 0 3\r\nabc\r\nget a\r\n", b"set a 99999999999999999999 0 3\r\nabc\r\n",
    b"set a +7 0 +3\r\nabc\r\nget a\r\n", b"set a 7\tq 0 3\r\nabc\r\nget a\r\n",
    b"set a 0 2147483648 3\r\nabc\r\nget a\r\n", b"set a 0 4294967296 3\r\nabc\r\nget a\r\n",
    b"set a 0 -1 3\r\nabc\r\nget a\r\n", b"set a 0 0 4294967299\r\nabc\r\nget a\r\n",
    b"set a 0 0\r\n", b"set a 0 0 3 noreply x\r\nabc\r\n", b"set a 0 0 3 x\r\nabc\r\n",
    b"set %s 0 0 3\r\nabc\r\n" % K251, b"cas a 0 0 3\r\nabc\r\n", b"cas a 0 0 3 x\r\nabc\r\n",
    b"cas a 0 0 3 noreply\r\nabc\r\n", b"cas nokey 0 0 3 1\r\nabc\r\n", b"cas a 0 0 3 0\r\nabc\r\n",
    b"set a 0 0 1048516\r\n" + b"x" * 1048516 + b"\r\nget a\r\n",
    b"set a 0 0 1048517\r\n" + b"x" * 1048517 + b"\r\nget a\r\n",
    b"set a 1 0 1048512\r\n" + b"x" * 1048512 + b"\r\nappend a 0 0 1\r\nx\r\ntouch a 0\r\n",
    b"set a 0 0 1048576 noreply\r\n" + b"x" * 1048576 + b"\r\nget a\r\n",
    b"set a 0 0 1\r\nx\r\nadd a 0 0 1048576\r\n" + b"x" * 1048576 + b"\r\nget a\r\n",
    b"delete a 0\r\n", b"delete a 1\r\n", b"delete a 0 noreply\r\n", b"delete a noreply noreply\r\n",
    b"delete a 0 0\r\n", b"delete %s 1\r\n" % K251, b"incr a x\r\n", b"incr a -1\r\n",
    b"incr a 18446744073709551616\r\n", b"incr a 1 x\r\n", b"incr %s x\r\n" % K251,
    b"touch a x\r\n", b"touch a 0 0\r\n", b"gat\r\n", b"gat 0\r\n", b"gat x a\r\n", b"gats 0 a b\r\n",
    b"flush_all x\r\n", b"flush_all noreply\r\n", b"flush_all 0 x\r\n", b"flush_all -5\r\n",
    b"flush_all noreply noreply\r\n", b"flush_all 0 0 0\r\n", b"version x\r\n", b"verbosity\r\n",
    b"verbosity x\r\n", b"verbosity 1 2\r\n", b"verbosity noreply\r\n", b"quit\r\n",
    b"stats reset\r\n", b"stats foo\r\n", b"stats detail\r\n", b"stats detail off\r\n",
    b"stats detail dump\r\n", b"bget a\r\n", b"shutdown\r\n", b"foo\r\n", b"foo noreply\r\n",
    b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n", b"get / HTTP/1.1\r\n", b"x HTTP/\r\n",
    b"get " + b"a " * 3000 + b"\r\n", b"version\r\r\n", b"\x81get a\r\n",
]
for text in (b"5", b"99", b"-5", b" 12", b"12 ab", b"12ab", b"", b"18446744073709551615", b"007",
             b"+3", b"\t4", b"x", b"99999999999999999999", b"1 " + b"x" * 5000):
    for verb in (b"incr", b"decr"):
        FIXED.append(b"set n 3 0 %d\r\n%s\r\n%s n 10\r\nget n\r\n" % (len(text), text, verb))


ALL_KEYS = b"get " + b" ".join(b"key%d" % i for i in range(6)) + b"\r\n"


class Generator:
    """Random conversations: few keys, so that they meet; now and then something is wrong."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def key(self, *long):
        return b"key%d" % self.random.randrange(6) if self.random.random() < 0.97 else \
            self.pick(b"k" * 250, b"\xff\x01", b"k\tk", *long)

    def number(self):
        return self.pick(b"0", b"1", b"7", b"10", b"99", b"18446744073709551615", b"-1", b"x", b"")

    def exptime(self):
        return self.pick(b"0", b"0", b"0", b"1000", b"-1", b"2592000", b"2592001", b"4000000000", b"z")

    def value(self):
        if self.random.random() < 0.4:
            return b"%d" % self.random.randrange(10 ** self.random.randrange(1, 20))
        size = self.pick(0, 1, 5, 30, 100, 1000, 5000, 16384, 16385, 50000)
        value = bytes(self.random.choices(b"ab \r\n\0\xff", k=size))
        return value if value.strip() else b"x" * size

    def noreply(self):
        return self.pick(b"", b"", b"", b" noreply", b" x")

    def storage(self):
        value = self.value()
        verb = self.pick(b"set", b"set", b"add", b"replace", b"append", b"prepend")
        size = b"%d" % len(value) if self.random.random() < 0.97 else self.number()
        return b"%s %s %s %s %s%s\r\n%s\r\n" % (verb, self.key(K251), self.pick(b"0", b"1", b"4294967295"),
                                              self.exptime(), size, self.noreply(), value)

    def cas(self):
        value = self.value()
        return b"cas %s 0 0 %d %s%s\r\n%s\r\n" % (self.key(K251), len(value), self.pick(b"@CAS@", b"@CAS@", b"1"),
                                             self.noreply(), value)

    def command(self):
        keys = b" ".join(self.key() for _ in range(self.random.randrange(1, 5)))
        return self.pick(
            self.storage, self.storage, self.cas,
            lambda: b"get %s\r\n" % keys, lambda: b"gets %s\r\n" % keys, lambda: b"gets %s\r\n" % keys,
            lambda: b"%s %s %s\r\n" % (self.pick(b"gat", b"gats"), self.exptime(), keys),
            lambda: b"delete %s%s\r\n" % (self.key(K251), self.pick(b"", b" 0", b" noreply", b" 5")),
            lambda: b"%s %s %s%s\r\n" % (self.pick(b"incr", b"decr"), self.key(), self.number(), self.noreply()),
            lambda: b"touch %s %s%s\r\n" % (self.key(), self.exptime(), self.noreply()),
            lambda: self.pick(b"flush_all%s\r\n" % self.noreply(), b"verbosity 1\r\n", b"bogus\r\n", b"\r\n"),
        )()

    def case(self):
        """Steps; a new one starts where a fresh CAS value may be used."""
        return [b"".join(self.command() for _ in range(self.random.randrange(1, 4)))
                for _ in range(self.random.randrange(1, 6))]


def run_case(servers, steps):
    """None, or the step and the two replies that differ."""
    for server in servers:
        server.open()
    try:
        for step in steps:
            replies = [server.ask(step) for server in servers]
            if all(reply.endswith(b"<waits>") for reply in replies):
                break
            if replies[0] != replies[1]:
                return step, replies
            if replies[0].endswith(b"<closed>"):
                break
    finally:
        for server in servers:
            server.close()
    return None


def shorten(data):
    return repr(data if len(data) <= 300 else data[:200] + b" ... " + data[-80:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", required=True)
    parser.add_argument("--subject", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--failures", type=int, default=3, help="stop after so many")
    arguments = parser.parse_args()
    servers = [Server("reference", arguments.reference), Server("subject", arguments.subject)]
    cases = [("fixed %d" % i, [step]) for i, step in enumerate(FIXED)]
    cases += [("seed %d" % seed, Generator(seed).case())
              for seed in range(arguments.seed, arguments.seed + arguments.cases)]
    run_case(servers, [b"flush_all\r\n"])
    failures = 0
    for name, steps in cases:
        difference = run_case(servers, steps) or run_case(servers, [ALL_KEYS])
        if difference is not None:
            failures += 1
            step, replies = difference
            print("%s: %s" % (name, shorten(step)))
            for server, reply in zip(servers, replies):
                print("  %-9s %s" % (server.name, shorten(reply)))
            if failures == arguments.failures:
                break
    print("%d cases, %d differ" % (len(cases), failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
