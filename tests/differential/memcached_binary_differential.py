#!/usr/bin/python3
"""Compares nicached with memcached over its binary protocol, byte by byte.

    memcached_binary_differential.py --server build/control/nicached --count 200000 --seed 7
    memcached_binary_differential.py --server reference      (memcached against itself)

As memcached_differential.py, whose conversations, cuts and ways to cut a difference down these are.
A noop ends every step. CAS values are replaced by the order in which they appeared; the CAS value
@CAS@@@@ of a request is the last one that this server has shown. The fixed requests come first, each
cut at every one of its bytes in turn.
"""
import random
import re
import struct
import sys

import memcached_differential as text

EXCEPTIONS = [
    ("stat but for reset, detail and unknown groups", "figures of another machine"),
    ("stat, touch, gat and their kin with bytes behind the key",
     "refused (0x04, closed); in the reference they are the next request's header"),
    ("an unknown opcode with key or extras",
     "exactly its body is swallowed; the reference swallows it from behind the key on"),
    ("a header that is refused, while its key does not arrive",
     "answered at once; the reference waits for the key"),
    ("SASL without a password set", "0x81, as a memcached that was started without -S"),
    ("SASL with one", "compared by tests/integration/test_memcached.py; a second successful login is accepted, where the "
     "reference refuses it; a login of more than 4 KiB is refused by 0x04"),
    ("a login before which somebody sends text: -Y",
     "every refused line has its reply; of several in one packet the reference answers the last. "
     "With a password both protocols have a login; the reference has one or the other"),
    ("set, add, replace of 2^31 and more bytes", "0x03, and all of it swallowed"),
    ("replies ahead of a value that does not arrive", "the reference holds them back until it does"),
    ("replies ahead of a wrong magic in the same packet, or of a request that ends the connection while "
     "others follow it", "the reference drops them, or they go under in the reset"),
    ("incr and decr: as over text", "see there"),
]

GET, SET, ADD, REPLACE, DELETE, INCR, DECR, QUIT, FLUSH, GETQ, NOOP, VERSION, GETK, GETKQ = range(14)
APPEND, PREPEND, STAT = 0x0E, 0x0F, 0x10
SETQ, ADDQ, REPLACEQ, DELETEQ, INCRQ, DECRQ, QUITQ, FLUSHQ, APPENDQ, PREPENDQ = range(0x11, 0x1B)
VERBOSITY, TOUCH, GAT, GATQ = 0x1B, 0x1C, 0x1D, 0x1E
SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ = 0x20, 0x21, 0x22, 0x23, 0x24
LAST_CAS = int.from_bytes(b"@CAS@@@@", "big")
HEADER = struct.Struct(">BBHBBHI4sQ")


def packet(opcode, key=b"", extras=b"", value=b"", cas=0, opaque=b"abcd", magic=0x80, key_bytes=None,
           extra_bytes=None, body_bytes=None):
    """One request; the lengths are those of what follows unless they are given."""
    body = extras + key + value
    return HEADER.pack(magic, opcode, len(key) if key_bytes is None else key_bytes,
                       len(extras) if extra_bytes is None else extra_bytes, 0, 0,
                       len(body) if body_bytes is None else body_bytes, opaque, cas) + body


def flags_and_expiry(flags=0, exptime=0):
    return struct.pack(">II", flags, exptime)


def count(delta=1, initial=0, exptime=0):
    return struct.pack(">QQI", delta, initial, exptime)


class Server(text.Server):
    SYNC = packet(NOOP, opaque=b"SYNC")
    SYNC_REPLY = re.compile(rb"\x81\x0a\0{10}SYNC\0{8}$")
    FLUSH = packet(FLUSH)
    ANSWER_WAIT_S = 0.5  # which of the two ends the connection is compared, too: not for being slow

    def open(self):
        super().open()
        self.last_cas = b"\0\0\0\0\0\0\0\1"

    def fill_in(self, request):
        return request.replace(b"@CAS@@@@", self.last_cas)

    def normalise(self, reply):
        """The CAS values by their order; from where it is no packet on as it is."""
        shown, at = b"", 0
        while len(reply) - at >= HEADER.size and reply[at] == 0x81:
            fields = list(HEADER.unpack_from(reply, at))
            end = at + HEADER.size + fields[6]
            if fields[8] != 0:
                self.last_cas = reply[at + 16:at + 24]
                fields[8] = 1 + self.cas_order.setdefault(fields[8], len(self.cas_order))
            shown += HEADER.pack(*fields) + reply[at + HEADER.size:end]
            at = end
        return shown + reply[at:]


def stored(value=b"abc", **more):
    return packet(SET, b"a", flags_and_expiry(5), value, **more)


def shown(key=b"a"):
    return packet(GETK, key)


BIG = b"x" * 1048516
FIXED = [
    packet(GET, b"a"), packet(GETQ, b"a"), packet(GETK, b"a"), packet(GETKQ, b"a"),
    packet(GETQ, b"a") + packet(GETKQ, b"b") + packet(NOOP),
    stored() + shown() + packet(GET, b"a") + packet(GETQ, b"a") + packet(GETKQ, b"a"),
    packet(GET), packet(GET, b"a", b"1234"), packet(GET, b"a", value=b"x"), packet(GET, b"k" * 250),
    packet(GET, b"k" * 251), packet(GETKQ, b"k" * 251), packet(GET, b"k" * 1000), packet(GET, b"\0\r\n \xff"),
    packet(GET, key_bytes=5), packet(GET, b"a", body_bytes=0), packet(GET, body_bytes=0xFFFFFFFF),
    packet(0xF0), packet(0xF0, value=b"12345"), packet(0x25), packet(0x1F),
    packet(0xF0, key_bytes=9), packet(VERBOSITY), packet(VERBOSITY, value=b"1234"),
    packet(NOOP, b"a"), packet(NOOP, value=b"a"), packet(NOOP, extras=b"a"), packet(NOOP, magic=0x81),
    packet(NOOP, magic=0), b"get a\r\n" + b" " * 30 + b"\r\n", packet(NOOP) + b"get a\r\n" + b" " * 30,
    packet(VERSION), packet(VERSION, b"a"), packet(VERSION, opaque=b"\0\xff\r\n"),
    packet(QUIT), packet(QUITQ), packet(QUIT, b"a"), packet(QUIT) + stored(),
    stored() + packet(QUITQ) + packet(VERSION),
    packet(FLUSH), packet(FLUSH, extras=b"\0\0\0\0"), packet(FLUSH, extras=b"\0\0\x0f\0"), packet(FLUSHQ),
    packet(FLUSH, extras=b"12"), packet(FLUSH, b"a"), packet(FLUSH, value=b"abcd"),
    stored() + packet(FLUSHQ) + shown(),
    packet(STAT, b"reset"), packet(STAT, b"detail off"), packet(STAT, b"nonsense"),
    packet(STAT, b"reset") + packet(STAT, b"detail on") + stored() + packet(SET, b"p:a", flags_and_expiry(), b"x")
    + packet(GET, b"p:a") + packet(GETQ, b"p:b") + packet(TOUCH, b"p:a", b"\0\0\1\0") + packet(GAT, b"p:a", b"\0\0\1\0")
    + packet(INCR, b"p:n", count()) + packet(DELETE, b"p:a") + packet(STAT, b"detail dump") + packet(STAT, b"detail off")
    + packet(STAT, b"reset") + packet(STAT, b"detail dump"),
    packet(STAT, b"detail", b"1234"), packet(STAT, b"detail what"), packet(STAT, b"k" * 251),
    packet(SET, b"a"), packet(SET, b"", flags_and_expiry()), packet(SET, b"a", b"1234", b"x"),
    packet(SET, b"a", flags_and_expiry() + b"x", b"y"), packet(SET, b"a", flags_and_expiry(), body_bytes=7),
    stored(b"") + shown(), stored(b"\r\n\0") + shown(), stored() + stored(cas=LAST_CAS) + shown(),
    stored() + stored(b"d", cas=7) + shown(), stored(cas=7), packet(SETQ, b"a", flags_and_expiry(), cas=7),
    packet(ADD, b"a", flags_and_expiry(), b"x", cas=7), packet(REPLACE, b"a", flags_and_expiry(), b"x", cas=7),
    packet(ADD, b"a", flags_and_expiry(1), b"x") * 2 + shown(), packet(ADDQ, b"a", flags_and_expiry(1), b"x") * 2,
    packet(REPLACE, b"a", flags_and_expiry(), b"x"), packet(REPLACEQ, b"a", flags_and_expiry(), b"x"),
    stored() + packet(REPLACEQ, b"a", flags_and_expiry(9), b"x") + shown(),
    packet(SET, b"a", flags_and_expiry(0, 0xFFFFFFFF), b"x") + shown(),
    packet(SET, b"a", flags_and_expiry(0, 2592001), b"x") + shown(),
    packet(SET, b"a", flags_and_expiry(0xFFFFFFFF, 100), b"x") + shown(),
    packet(APPEND, b"a", value=b"x"), packet(PREPENDQ, b"a", value=b"x"), packet(APPEND, b"a", b"1234", b"x"),
    stored() + packet(APPEND, b"a", value=b"x") + packet(PREPEND, b"a", value=b"y") + shown(),
    stored() + packet(APPENDQ, b"a", value=b"x") + packet(PREPENDQ, b"a", value=b"") + shown(),
    stored() + packet(APPEND, b"a", value=b"x", cas=7) + packet(APPEND, b"b", value=b"x", cas=7) + shown(),
    stored() + packet(APPEND, b"a") + packet(APPENDQ, b"a") + shown(), packet(APPEND, value=b"x"),
    packet(DELETE, b"a"), packet(DELETEQ, b"a"), stored() + packet(DELETE, b"a") + shown(),
    stored() + packet(DELETEQ, b"a") + shown(), stored() + packet(DELETE, b"a", cas=7) + shown(),
    packet(DELETE, b"a", cas=7), packet(DELETE, b"a", value=b"x"), packet(DELETE), packet(DELETE, b"a", b"0000"),
    packet(INCR, b"a", count()) * 3 + shown(), packet(DECR, b"a", count(1, 5)) * 3 + shown(),
    packet(INCRQ, b"a", count(7, 3)) * 2 + shown(), packet(DECRQ, b"a", count(7, 3)) * 2 + shown(),
    packet(INCR, b"a", count(1, 1, 0xFFFFFFFF)) + shown(), packet(DECRQ, b"a", count(1, 1, 0xFFFFFFFF)),
    packet(INCR, b"a", count(1, 2**64 - 1)) * 2, packet(INCR, b"a", count(2**64 - 1, 10)) * 2,
    packet(INCR, b"a", count(1, 1, 2592001)) + shown(), packet(INCR, b"a", count(1, 1, 0xFFFFFFFE)) + shown(),
    packet(INCR, b"a", count()[:19]), packet(INCR, b"a", count() + b"x"), packet(INCR, b"", count()),
    packet(INCR, b"a", count(), b"x"), stored() + packet(INCR, b"a", count()), stored(b"") + packet(DECRQ, b"a", count()),
    packet(INCR, b"a", count(1, 5)) + packet(INCR, b"a", count(), cas=7) + packet(INCRQ, b"a", count(), cas=7),
    stored() + packet(INCR, b"a", count(), cas=7),
    packet(INCR, b"a", count(1, 99)) + packet(INCR, b"a", count()) + packet(DECR, b"a", count(50)) + shown(),
    packet(TOUCH, b"a", b"\0\0\0\1"), stored() + packet(TOUCH, b"a", b"\0\0\1\0") + shown(),
    stored() + packet(TOUCH, b"a", b"\xff\xff\xff\xff") + shown(), packet(TOUCH, b"a"), packet(TOUCH, b"", b"1234"),
    stored() + packet(GAT, b"a", b"\0\0\1\0") + packet(GATK, b"a", b"\0\0\1\0") + shown(),
    stored() + packet(GATQ, b"a", b"\0\0\1\0") + packet(GATKQ, b"a", b"\0\0\1\0") + shown(),
    packet(GAT, b"a", b"\0\0\1\0"), packet(GATQ, b"a", b"\0\0\1\0"), packet(GATK, b"a", b"\0\0\1\0"),
    packet(GATKQ, b"a", b"\0\0\1\0"), packet(GAT, b"a"), packet(GAT, b"", b"1234"),
    packet(SASL_LIST), packet(SASL_LIST, b"a"), packet(SASL_AUTH, b"PLAIN", value=b"\0user\0password"),
    packet(SASL_STEP, b"PLAIN", value=b"x"), packet(SASL_AUTH, value=b"x"), packet(SASL_AUTH, b"PLAIN", b"x"),
]
LARGE = [
    packet(SET, b"a", flags_and_expiry(), BIG) + shown(),
    stored() + packet(SET, b"a", flags_and_expiry(), BIG + b"x") + shown(),
    stored() + packet(SETQ, b"a", flags_and_expiry(1), BIG) + shown(),
    stored() + packet(SET, b"a", flags_and_expiry(), BIG + b"x", cas=7) + shown(),
    stored() + packet(ADD, b"b", flags_and_expiry(), BIG + b"x") + shown() + shown(b"b"),
    stored() + packet(REPLACE, b"a", flags_and_expiry(), BIG + b"x") + shown(),
    stored() + packet(APPEND, b"a", value=BIG + b"x") + shown(),
    packet(SET, b"a", flags_and_expiry(), BIG) + packet(APPEND, b"a", value=b"x") + packet(GETK, b"b"),
]

class Generator(text.Generator):
    """Random conversations of requests: few keys, every opcode, now and then something wrong."""

    def key(self, *long):
        return b"key%d" % self.random.randrange(6) if self.random.random() < 0.97 else \
            self.pick(b"k" * 250, b"\xff\x01", b"k \r\n\0k")

    def cas(self):
        return self.pick(0, 0, 0, LAST_CAS, 1)

    def exptime(self):
        return self.pick(0, 0, 0, 1000, 0xFFFFFFFF, 2592000, 2592001, 4000000000)

    def opaque(self):
        return bytes(self.random.choices(range(256), k=4))

    def make(self, *parts, **more):
        return packet(*parts, opaque=self.opaque(), **more)

    def storage(self):
        opcode = self.pick(SET, SET, SETQ, ADD, ADDQ, REPLACE, REPLACEQ)
        flags = self.pick(0, 1, 0xFFFFFFFF)
        return self.make(opcode, self.key(), flags_and_expiry(flags, self.exptime()), self.value(), cas=self.cas())

    def join(self):
        return self.make(self.pick(APPEND, APPENDQ, PREPEND, PREPENDQ), self.key(), b"", self.value(), cas=self.cas())

    def count(self):
        number = self.pick(0, 1, 7, 99, 2**64 - 1)
        extras = count(number, self.pick(0, 5, 99, 10**18), self.pick(0, 0, 1000, 0xFFFFFFFF))
        return self.make(self.pick(INCR, INCRQ, DECR, DECRQ), self.key(), extras, cas=self.pick(0, 0, self.cas()))

    def look(self):
        return self.make(self.pick(GET, GETQ, GETK, GETKQ), self.key())

    def touch(self):
        opcode = self.pick(TOUCH, GAT, GATQ, GATK, GATKQ)
        return self.make(opcode, self.key(), struct.pack(">I", self.exptime()))

    def rest(self):
        return self.pick(
            self.make(FLUSH), self.make(FLUSHQ, b"", b"\0\0\0\0"), self.make(NOOP), self.make(VERSION),
            self.make(0x40), self.make(0x55, value=b"some bytes"), self.make(STAT, b"reset"),
            self.make(VERBOSITY, value=b"\0\0\0\1"), self.make(SASL_LIST))

    def wrong(self):
        return self.pick(
            self.make(GET), self.make(QUIT), self.make(QUITQ), self.make(GET, b"k" * 251), self.make(SET, b"k"),
            self.make(INCR, b"k"), self.make(NOOP, key_bytes=7), self.make(NOOP, magic=0x40))

    def command(self):
        return self.pick(self.storage, self.storage, self.join, self.count, self.look, self.look, self.touch,
                         lambda: self.make(self.pick(DELETE, DELETEQ), self.key(), cas=self.cas()), self.rest)()

    def case(self):
        """Steps; a new one starts where a fresh CAS value may be used, and between a reply that holds
        an item and an incr (EXCEPTIONS: padding). What may end the connection comes last."""
        steps = []
        for _ in range(self.random.randrange(1, 20)):
            steps.append([])
            for _ in range(self.pick(1, 2, 3, 3, 10, 40)):
                command = self.command()
                counts = command[1] in (INCR, DECR, INCRQ, DECRQ)
                if counts and any(holds_item(c) for c in steps[-1]):
                    steps.append([])
                steps[-1].append(command)
        return steps + [[self.wrong()]]


def holds_item(command):
    return command[1] in (GET, GETQ, GETK, GETKQ, TOUCH, GAT, GATQ, GATK, GATKQ)


ALL_KEYS = b"".join(packet(GETKQ, b"key%d" % i) for i in range(6))


def cases_of(arguments):
    done = number = 0
    while done < arguments.count:
        name = "seed %d, binary conversation %d" % (arguments.seed, number)
        steps = Generator(name).case()
        case = steps[:-1] + [[ALL_KEYS]] + steps[-1:]
        yield name, case, 0.3
        done += sum(len(step) for step in case)
        number += 1
    for number, step in enumerate(FIXED + LARGE):
        yield "fixed %d" % number, [[step], [ALL_KEYS]], 0
    for number, step in enumerate(FIXED):
        for cut in range(1, len(step)):
            yield "fixed %d cut at %d" % (number, cut), [[step], [ALL_KEYS]], cut


if __name__ == "__main__":
    sys.exit(text.main(__doc__.splitlines()[0], EXCEPTIONS, Server, cases_of))
