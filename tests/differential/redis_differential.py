#!/usr/bin/env python3
"""Differential test: the same random commands to a real redis-server and to nicached, replies
compared byte by byte.

    redis_differential.py --server build/control/nicached --count 200000 --seed 7
    redis_differential.py --server reference        (redis-server against itself: tests the test)

The reference is a private redis-server on a unix socket in a temporary directory, the subject
listens on a free port of 127.0.0.1; both end with the script. Commands are drawn from a seeded generator over a small key space, so that they meet, with
arguments from the edges: numbers around every limit, binary and empty strings, wrong arity, options
that exclude each other. They are sent pipelined, over RESP2 and RESP3 in turn.

Time: a reply must not depend on how fast a server is. So relative times are far away, GT and LT are
used with absolute times only, and replies that count down have a tolerance (EXCEPTIONS).

The first difference is cut down to the fewest commands that still show it, from empty databases,
and printed with the seed. Exit status: 0 no difference, 1 difference, 2 usage or a server that died.
"""
import atexit
import os
import random
import select
import shutil
import socket
import sys
import tempfile
import time

import servers

BATCH_COMMANDS = 64
ROUND_COMMANDS = 4000  # then the databases are checked as a whole, and emptied
AGAIN = 3              # replays of a difference that must show it again
REPLAYS_MAX = 400      # while cutting a difference down


# ---- protocol ------------------------------------------------------------------------------------

class ServerGone(Exception):
    pass


def compose(arguments):
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
    return b"".join(parts)


class Connection:
    """A client connection that yields each reply as its exact bytes and as a value."""

    def __init__(self, address, protocol):
        self.name = address
        try:
            self.socket = self.connect(address)
        except OSError as error:
            raise ServerGone("%s: %s" % (address, error)) from None
        self.socket.settimeout(60)
        self.buffer = b""
        self.at = 0
        if protocol == 3:
            self.ask(b"HELLO", b"3")

    @staticmethod
    def connect(address):
        if address.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(address)
            return connection
        host, port = address.rsplit(":", 1)
        connection = socket.create_connection((host.strip("[]"), int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def send(self, commands):
        """Takes replies in while it sends: a server may stop reading until they are read."""
        data = memoryview(b"".join(compose(command) for command in commands))
        while data:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 60)
            if not readable and not writable:
                raise ServerGone("%s takes no more input" % self.name)
            if readable:
                self.fill()
            if writable:
                try:
                    data = data[self.socket.send(data, socket.MSG_DONTWAIT):]
                except BlockingIOError:
                    pass
                except OSError as error:
                    raise ServerGone("%s: %s" % (self.name, error)) from None

    def fill(self):
        try:
            data = self.socket.recv(1 << 20)
        except OSError as error:
            raise ServerGone("%s: %s" % (self.name, error)) from None
        if not data:
            raise ServerGone("%s closed the connection" % self.name)
        self.buffer = self.buffer[self.at:] + data
        self.at = 0

    def take(self, size):
        parts = []
        while size > 0:
            if self.at == len(self.buffer):
                self.fill()
            part = self.buffer[self.at:self.at + size]
            parts.append(part)
            self.at += len(part)
            size -= len(part)
        return b"".join(parts)

    def take_line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.at)
            if end >= 0:
                line = self.buffer[self.at:end + 2]
                self.at = end + 2
                return line
            self.fill()

    def receive(self):
        """(bytes, value); errors are values of class bytes with their '-', as all simple types."""
        line = self.take_line()
        kind, text = line[:1], line[1:-2]
        if kind in b"+-:_,#(":
            return line, int(text) if kind == b":" else line[:-2]
        if kind in b"$=!":
            if int(text) < 0:
                return line, None
            body = self.take(int(text) + 2)
            return line + body, body[:-2]
        if kind in b"*~>%":
            if int(text) < 0:
                return line, None
            count = int(text) * (2 if kind == b"%" else 1)
            elements = [self.receive() for _ in range(count)]
            return line + b"".join(raw for raw, _ in elements), [value for _, value in elements]
        raise ServerGone("%s sent a reply of no known type: %r" % (self.name, line[:80]))

    def ask(self, *command):
        self.send([command])
        return self.receive()[1]


# ---- servers -------------------------------------------------------------------------------------

def wait_for(address, process):
    for _ in range(300):
        try:
            return Connection(address, 2).ask(b"PING")
        except ServerGone:
            if process.process.poll() is not None:
                break
            time.sleep(0.1)
    sys.exit("error: %s does not answer" % address)


def start_reference(directory, name):
    """The process and its address."""
    path = os.path.join(directory, name + ".sock")
    process = servers.Process("redis-server", [
        "redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
        "--dir", directory, "--logfile", os.path.join(directory, name + ".log")])
    wait_for(path, process)
    return process, path


def start_subject(binary):
    port, = servers.free_ports(1)
    process = servers.start_subject(binary, port, 0)
    address = "127.0.0.1:%d" % port
    wait_for(address, process)
    return process, address


# ---- generator -----------------------------------------------------------------------------------

KEYS = [b"k%d" % i for i in range(8)] + [b"", b"\x00", b"a\x00b", b"\r\n", b"{tag}1", b"{tag}2",
                                         bytes(range(256)), b"long" * 100, b"[x]*?"]
INTEGERS = [b"0", b"1", b"-1", b"7", b"-0", b"+1", b"01", b" 1", b"1 ", b"", b"1.0", b"0x10", b"-",
            b"9999", b"10000", b"-10000", b"2147483647", b"2147483648", b"-2147483648",
            b"-2147483649", b"4294967295", b"4294967296", b"9223372036854775806",
            b"9223372036854775807", b"9223372036854775808", b"-9223372036854775807",
            b"-9223372036854775808", b"-9223372036854775809", b"18446744073709551615",
            b"18446744073709551616", b"99999999999999999999", b"-99999999999999999999",
            b"123456789012345678901", b"1e3", b"one", b"1\x00", b"\xff"]
GOOD_INTEGERS = [text for text in INTEGERS
                 if text.lstrip(b"-").isdigit() and -2**63 <= int(text) < 2**63]
POSITIONS = [b"%d" % i for i in range(-8, 9)] + [b"44", b"100", b"-100", b"4095", b"16383", b"16384",
                                                 b"70000", b"-16384"]
FLOATS = [b"0", b"1", b"-1", b"0.1", b"-0.1", b"3.0", b"3.0e3", b"1e17", b"5.0e-324", b"1e-20",
          b"1.5e300", b"-1.5e300", b"1e400", b"1e4931", b"1.1e4932", b"-1.1e4932", b"1e5000",
          b"-1e5000", b"1e-4940", b"1e-5000", b"inf", b"-inf", b"+inf", b"Infinity", b"nan", b"NaN",
          b"nan(1)", b"0x10", b"0x1p-3", b".5", b"5.", b".", b"", b"+1.5", b" 1.5", b"1.5 ",
          b"\t1", b"1e", b"1e+", b"--1", b"1.2.3", b"1.5\x00", b"1" + b"0" * 300,
          b"0." + b"0" * 300 + b"1", b"9223372036854775807.5", b"123456789.123456789123456789",
          b"1" * 6000]
BASIC_VALUES = [b"", b"a", b"hello", b"ohmytext", b"mynewtext", b"\x00", b"a\x00b", b"\r\n+OK\r\n",
                bytes(range(256)), b"x" * 44, b"x" * 45, b"12345678901234567890"]
LARGE_SIZES = [4000, 4096, 16383, 16384, 16385, 20000, 65536, 70000, 200000]
FAR_SECONDS = [b"100000", b"200000000"]
FAR_MILLISECONDS = [b"100000000", b"200000000000"]
PAST_OR_BAD = [b"0", b"-1", b"-9223372036854775808", b"9223372036854775807", b"9223372036854775",
               b"9223372036854776", b"-9223372036854775", b"-9223372036854776",
               b"9223371036854775807", b"9223372036854775808", b"x", b"", b"1.5"]
# Absolute times are behind everything that a relative one reaches, so that GT and LT never
# depend on the clock.
ABSOLUTE_SECONDS = [b"9000000000", b"9000000001", b"9999999999", b"1", b"1000000000"]
ABSOLUTE_MILLISECONDS = [b"9000000000499", b"9000000000500", b"9000000000501", b"9999999999999",
                         b"1", b"1000000000000"]
OFFSETS = [b"0", b"1", b"3", b"10", b"100", b"16380", b"20000", b"536870912", b"536870913",
           b"4294967296", b"9223372036854775807", b"-1", b"x", b""]
PATTERNS = [b"*", b"k*", b"k?", b"[a-k]*", b"[^k]*", b"[k-a]?", b"\\[x]*", b"", b"k[", b"k[0-",
            b"*1", b"**1**", b"k\\1", b"*\x00*", b"{tag}?", b"[\\]x]*", b"K*", b"k[^", b"\\"]
DATABASES = [b"0", b"1", b"15", b"16", b"-1", b"x", b"2147483648", b"99999999999999999999", b""]
WORDS = [b"NX", b"XX", b"GET", b"KEEPTTL", b"PERSIST", b"EX", b"px", b"eXaT", b"PXAT", b"GT", b"LT",
         b"REPLACE", b"DB", b"LEN", b"IDX", b"MINMATCHLEN", b"WITHMATCHLEN", b"MATCH", b"COUNT",
         b"TYPE", b"bogus", b"", b"10"]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.makers = []
        for name in dir(self):
            if name.startswith("make_"):
                maker = getattr(self, name)
                self.makers += [maker] * MAKER_WEIGHTS.get(name, 2)

    def pick(self, choices):
        return choices[int(self.random.random() * len(choices))]

    def chance(self, probability):
        return self.random.random() < probability

    def key(self):
        return self.pick(KEYS[:8]) if self.chance(0.8) else self.pick(KEYS)

    def keys(self):
        return [self.key() for _ in range(self.random.randint(1, 40 if self.chance(0.05) else 4))]

    def integer(self):
        return self.pick(GOOD_INTEGERS if self.chance(0.7) else INTEGERS)

    def position(self):
        return self.pick(POSITIONS if self.chance(0.8) else INTEGERS)

    def value(self):
        draw = self.random.random()
        if draw < 0.35:
            return self.integer()
        if draw < 0.45:
            return self.pick(FLOATS)
        if draw < 0.94:
            return self.pick(BASIC_VALUES)
        if draw < 0.98:
            return self.random.randbytes(self.random.randint(0, 64))
        return self.random.randbytes(1) * self.pick(LARGE_SIZES)

    def case(self, word):
        return word.lower() if self.chance(0.5) else word

    def relative(self, seconds):
        if self.chance(0.3):
            return self.pick(PAST_OR_BAD)
        return self.pick(FAR_SECONDS if seconds else FAR_MILLISECONDS)

    def absolute(self, seconds):
        if self.chance(0.2):
            return self.pick(PAST_OR_BAD)
        return self.pick(ABSOLUTE_SECONDS if seconds else ABSOLUTE_MILLISECONDS)

    def time_option(self):
        word, time = self.pick([(b"EX", self.relative(True)), (b"PX", self.relative(False)),
                                (b"EXAT", self.absolute(True)), (b"PXAT", self.absolute(False))])
        return [self.case(word), time]

    def command(self):
        """One command, sometimes spoilt."""
        command = self.pick(self.makers)()
        draw = self.random.random()
        if draw < 0.015 and len(command) > 1:
            command.pop(self.random.randrange(1, len(command)))
        elif draw < 0.03 and not self.is_slow_to_spoil(command):
            command.insert(self.random.randrange(1, len(command) + 1), self.pick(WORDS))
        return command

    @staticmethod
    def is_slow_to_spoil(command):
        # A shifted argument could become a relative time of milliseconds, or 512 MB of zeros.
        return command[0].upper() in (b"SETRANGE", b"EXPIRE", b"PEXPIRE", b"SETEX", b"PSETEX", b"SET",
                                      b"GETEX", b"EXPIREAT", b"PEXPIREAT")

    # One method for each command; its name shows in MAKER_WEIGHTS.

    def make_get(self):
        return [self.case(b"GET"), self.key()]

    def make_set(self):
        return [self.case(b"SET"), self.key(), self.value()]

    def make_set_options(self):
        command = [b"SET", self.key(), self.value()]
        for _ in range(self.random.randint(1, 3)):
            if self.chance(0.4):
                command += self.time_option()
            else:
                command.append(self.case(self.pick([b"NX", b"XX", b"GET", b"KEEPTTL", b"PERSIST",
                                                    b"EX", b"bogus"])
                                         if self.chance(0.3)
                                         else self.pick([b"NX", b"XX", b"GET", b"KEEPTTL"])))
        return command

    def make_getex(self):
        command = [b"GETEX", self.key()]
        for _ in range(self.random.choice([0, 1, 1, 1, 2])):
            draw = self.random.random()
            if draw < 0.6:
                command += self.time_option()
            else:
                command.append(self.case(self.pick([b"PERSIST", b"PERSIST", b"KEEPTTL", b"NX",
                                                    b"EX", b"GET"])))
        return command

    def make_getdel(self):
        return [b"GETDEL", self.key()]

    def make_getset(self):
        return [b"GETSET", self.key(), self.value()]

    def make_setnx(self):
        return [b"SETNX", self.key(), self.value()]

    def make_setex(self):
        return [b"SETEX", self.key(), self.relative(True), self.value()]

    def make_psetex(self):
        return [b"PSETEX", self.key(), self.relative(False), self.value()]

    def make_mget(self):
        return [b"MGET"] + self.keys()

    def make_mset(self):
        command = [self.pick([b"MSET", b"MSETNX"])]
        for key in self.keys():
            command += [key, self.value()]
        return command

    def make_append(self):
        return [b"APPEND", self.key(), self.value()]

    def make_strlen(self):
        return [b"STRLEN", self.key()]

    def make_getrange(self):
        return [self.pick([b"GETRANGE", b"SUBSTR"]), self.key(), self.position(), self.position()]

    def make_setrange(self):
        return [b"SETRANGE", self.key(), self.pick(OFFSETS), self.value()]

    def make_incr(self):
        return [self.pick([b"INCR", b"DECR"]), self.key()]

    def make_set_number(self):
        return [b"SET", self.key(), self.integer() if self.chance(0.7) else self.pick(FLOATS)]

    def make_set_large(self):
        return [b"SET", self.key(), self.random.randbytes(2) * (self.pick(LARGE_SIZES) // 2)]

    def make_incrby(self):
        return [self.pick([b"INCRBY", b"DECRBY"]), self.key(), self.integer()]

    def make_incrbyfloat(self):
        return [b"INCRBYFLOAT", self.key(), self.pick(FLOATS)]

    def make_lcs(self):
        command = [b"LCS", self.key(), self.key()]
        for _ in range(self.random.randint(0, 3)):
            word = self.pick([b"LEN", b"IDX", b"IDX", b"WITHMATCHLEN", b"MINMATCHLEN"])
            command.append(self.case(word))
            if word == b"MINMATCHLEN" and self.chance(0.9):
                command.append(self.pick([b"0", b"1", b"2", b"3", b"-1", b"x", b"4294967297"]))
        return command

    def make_del(self):
        return [self.pick([b"DEL", b"UNLINK"])] + self.keys()

    def make_exists(self):
        return [self.pick([b"EXISTS", b"TOUCH"])] + self.keys()

    def make_type(self):
        return [b"TYPE", self.key()]

    def make_expire(self):
        seconds = self.chance(0.5)
        command = [b"EXPIRE" if seconds else b"PEXPIRE", self.key(), self.relative(seconds)]
        if self.chance(0.3):
            command.append(self.case(self.pick([b"NX", b"XX", b"bogus", b"\r\n"])))
        return command

    def make_expireat(self):
        seconds = self.chance(0.5)
        command = [b"EXPIREAT" if seconds else b"PEXPIREAT", self.key(), self.absolute(seconds)]
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            command.append(self.case(self.pick([b"NX", b"XX", b"GT", b"LT", b"GT", b"LT", b"nope"])))
        return command

    def make_ttl(self):
        return [self.pick([b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"]), self.key()]

    def make_persist(self):
        return [b"PERSIST", self.key()]

    def make_rename(self):
        return [self.pick([b"RENAME", b"RENAMENX"]), self.key(), self.key()]

    def make_copy(self):
        command = [b"COPY", self.key(), self.key()]
        if self.chance(0.4):
            command += [self.case(b"DB"), self.pick(DATABASES)]
        if self.chance(0.5):
            command.append(self.case(b"REPLACE"))
        if self.chance(0.1):
            command.append(self.pick([b"DB", b"bogus"]))
        return command

    def make_move(self):
        return [b"MOVE", self.key(), self.pick(DATABASES)]

    def make_object(self):
        word = self.pick([b"ENCODING", b"ENCODING", b"REFCOUNT", b"IDLETIME", b"FREQ", b"bogus"])
        return [b"OBJECT", self.case(word), self.key()]

    def make_scan_bad(self):
        """What is refused, mostly: good calls are checked as whole walks."""
        return [b"SCAN"] + self.pick([
            [b"x"], [b"1x"], [b" 1"], [b"-"], [b"99999999999999999999"], [b"0", b"COUNT", b"0"],
            [b"0", b"COUNT", b"-1"], [b"0", b"COUNT", b"x"], [b"0", b"COUNT"], [b"0", b"MATCH"],
            [b"0", b"bogus", b"1"], [b"0", b"COUNT", b"9223372036854775808"], [b"x", b"COUNT", b"0"],
            [b"0", b"MATCH", b"*", b"COUNT", b"-5"], [b"0", b"TYPE"]])

    def make_connection(self):
        return self.pick([
            [b"PING"], [b"PING", self.value()], [b"ECHO", self.value()], [b"DBSIZE"], [b"PING", b"a", b"b"],
            [b"SELECT", b"0"], [b"SELECT", b"0"], [b"SELECT", self.pick([b"0", b"1"])],
            [b"SELECT", self.pick([b"16", b"-1", b"x", b"99999999999999999999", b""])],
            [b"nosuch", self.key(), self.value()[:200]], [b"", b"x"], [b"ECHO"]])

    def make_flush(self):
        if self.chance(0.9):
            return [b"DBSIZE"]
        return self.pick([[b"FLUSHDB"], [b"FLUSHDB", b"ASYNC"], [b"FLUSHALL", b"sync"],
                          [b"FLUSHDB", b"bogus"], [b"SWAPDB", b"0", b"1"], [b"SWAPDB", b"0", b"x"],
                          [b"SWAPDB", b"0", b"16"]])


MAKER_WEIGHTS = {"make_get": 8, "make_set": 8, "make_set_options": 8, "make_set_number": 6,
                 "make_set_large": 1, "make_expireat": 4, "make_ttl": 6, "make_del": 3,
                 "make_append": 3, "make_incr": 3, "make_incrby": 3, "make_lcs": 1,
                 "make_scan_bad": 1, "make_flush": 1, "make_getex": 3, "make_setrange": 3,
                 "make_connection": 3}


def settle(command):
    """SET with a time in the past leaves a key that is gone but counted by DBSIZE until somebody
    looks or the background finds it: look at once."""
    if command[0].upper() == b"SET" and len(command) > 3:
        return [command, [b"EXISTS", command[1]]]
    return [command]


# ---- comparison ----------------------------------------------------------------------------------

def both_integers(left, right):
    return isinstance(left, int) and isinstance(right, int)


def within(tolerance):
    def same(left, right):
        if not both_integers(left, right) or left < 0 or right < 0:
            return left == right
        return abs(left - right) <= tolerance
    return same


def same_encoding(left, right):
    short = (b"embstr", b"raw")
    return left == right or (left in short and right in short)


def same_count_of_holders(left, right):
    return left == right or (both_integers(left, right) and left >= 1 and right >= 1)


def both_not_negative(left, right):
    return left == right or (both_integers(left, right) and left >= 0 and right >= 0)


def both_scan_pages(left, right):
    pages = [isinstance(page, list) and len(page) == 2 and isinstance(page[1], list)
             for page in (left, right)]
    return all(pages) or left == right


def no_difference_check(left, right):
    return True


# Every reply is compared byte by byte but for these. Words of the command -> comparison, reason.
EXCEPTIONS = {
    (b"TTL",): (within(2), "counts down while the two servers are asked one after the other"),
    (b"PTTL",): (within(2000), "counts down while the two servers are asked one after the other"),
    (b"EXPIRETIME",): (within(2), "relative times start when the command arrives"),
    (b"PEXPIRETIME",): (within(2000), "relative times start when the command arrives"),
    (b"SCAN",): (both_scan_pages, "order and size of a page are the server's own; whole walks are "
                                  "compared after each round"),
    (b"OBJECT", b"ENCODING"): (same_encoding, "short results of APPEND and SETRANGE are raw in "
                                              "Redis; we tell embstr and raw by size alone"),
    (b"OBJECT", b"REFCOUNT"): (same_count_of_holders, "Redis shares small integers, but not those "
                                                      "that COPY made"),
    (b"OBJECT", b"IDLETIME"): (both_not_negative, "depends on the clock, which ours reads in steps of 262 ms"),
    (b"OBJECT", b"HELP"): (no_difference_check, "explanations in our own words"),
}


def exception_of(command):
    words = tuple(word.upper() for word in command[:2])
    return EXCEPTIONS.get(words[:1]) or EXCEPTIONS.get(words)


def replies_agree(command, left, right):
    if left[0] == right[0]:
        return True
    exception = exception_of(command)
    return exception is not None and exception[0](left[1], right[1])


class Pair:
    """The same connection to both servers."""

    def __init__(self, reference, subject, protocol):
        self.protocol = protocol
        self.left = Connection(reference, protocol)
        self.right = Connection(subject, protocol)

    def run(self, commands):
        """The first difference as (index, left bytes, right bytes), or None."""
        self.left.send(commands)
        self.right.send(commands)
        difference = None
        for index, command in enumerate(commands):
            left, right = self.left.receive(), self.right.receive()
            if difference is None and not replies_agree(command, left, right):
                difference = (index, left[0], right[0])
        return difference

    def ask(self, *command):
        return self.left.ask(*command), self.right.ask(*command)

    def reset(self):
        self.ask(b"FLUSHALL")
        self.ask(b"SELECT", b"0")


# ---- the whole database --------------------------------------------------------------------------

def walk(connection, options):
    """Every key that a whole SCAN shows."""
    found, cursor = set(), b"0"
    for _ in range(100000):
        reply = connection.ask(b"SCAN", cursor, *options)
        if not isinstance(reply, list) or len(reply) != 2:
            return reply
        cursor = reply[0]
        found.update(reply[1])
        if cursor == b"0":
            return found
    return "SCAN never came back to cursor 0"


def check_values(pair):
    """What every key of the database holds, and until when."""
    for key in pair.left.ask(b"KEYS", b"*"):
        for command in ([b"GET", key], [b"PEXPIRETIME", key], [b"OBJECT", b"ENCODING", key]):
            difference = pair.run([command])
            if difference is not None:
                return "%r: %s / %s" % (command, shorten(difference[1]), shorten(difference[2]))
    return None


def check_database(pair, generator):
    """KEYS, SCAN and RANDOMKEY, whose order is the server's own: compared as sets."""
    for pattern in PATTERNS:
        left, right = pair.ask(b"KEYS", pattern)
        if sorted(left) != sorted(right):
            return "KEYS %r: %r / %r" % (pattern, left, right)
    options = [[], [b"COUNT", b"1"], [b"COUNT", b"1000000000000"], [b"TYPE", b"string"],
               [b"TYPE", b"StRiNg", b"MATCH", b"k*"], [b"TYPE", b"list"], [b"TYPE", b"bogus"],
               [b"MATCH", generator.pick(PATTERNS), b"COUNT", b"3"]]
    for option in options:
        left, right = walk(pair.left, option), walk(pair.right, option)
        if left != right:
            return "SCAN %r: %r / %r" % (option, left, right)
    problem = check_values(pair)
    if problem is not None:
        return problem
    keys = pair.left.ask(b"KEYS", b"*")
    for _ in range(10):
        key = pair.right.ask(b"RANDOMKEY")
        if (key is None or key == b"_") != (not keys) or (keys and key not in keys):
            return "RANDOMKEY: %r is none of %r" % (key, keys)
    return None


def check_scan_guarantee(pair, generator):
    """Keys that stay are all seen, while others come and go between the calls."""
    for side in (pair.left, pair.right):
        side.ask(b"FLUSHALL")
        stay = {b"stay:%d" % i for i in range(300)}
        for key in stay:
            side.ask(b"SET", key, b"v")
        found, cursor, turn = set(), b"0", 0
        while True:
            cursor, keys = side.ask(b"SCAN", cursor, b"COUNT", b"7")
            found.update(keys)
            for i in range(3):  # fewer than a page: a walk may be outrun by what is added
                side.ask(generator.pick([b"SETNX", b"APPEND"]), b"come:%d:%d" % (turn, i), b"x")
            side.ask(b"DEL", b"come:%d:%d" % (turn - 1, generator.random.randrange(3)))
            turn += 1
            if cursor == b"0" or turn > 20000:
                break
        if not stay <= found:
            return "SCAN on %s missed %r" % (side.name, sorted(stay - found)[:5])
        side.ask(b"FLUSHALL")
    return None


# ---- the command table ---------------------------------------------------------------------------

TABLE_COMMANDS = (
    "append decr decrby get getdel getex getrange getset incr incrby incrbyfloat lcs mget mset "
    "msetnx psetex set setex setnx setrange strlen substr copy del exists expire expireat "
    "expiretime keys move object persist pexpire pexpireat pexpiretime pttl randomkey rename "
    "renamenx scan touch ttl type unlink").split()
# Facts in which Redis 7.2, which we follow, differs from the 7.0 that Debian has: either will do.
TABLE_TIPS_OF_7_2 = {b"scan": b"response_policy:special", b"randomkey": b"response_policy:special"}
TABLE_NAMES_OF_7_2 = {(b"lcs", b"len", b"MINMATCHLEN"): b"min-match-len",
                      (b"mset", b"key_value", None): b"data", (b"msetnx", b"key_value", None): b"data"}


def as_dictionary(flat):
    return {flat[i]: flat[i + 1] for i in range(0, len(flat), 2)}


def key_specs_of(specs):
    return [sorted((name, sorted(value) if name == b"flags" else value)
                   for name, value in as_dictionary(spec).items() if name != b"notes")
            for spec in specs]


def entry_of(entry):
    tips = set(entry[7])
    if entry[0] in TABLE_TIPS_OF_7_2:
        tips.add(TABLE_TIPS_OF_7_2[entry[0]])
    return (entry[0], entry[1], sorted(entry[2]), entry[3:6], sorted(entry[6]), sorted(tips),
            key_specs_of(entry[8]),
            sorted(entry_of(subcommand) for subcommand in entry[9]))


def argument_of(command, argument):
    fields = as_dictionary(argument)
    name, token = fields[b"name"], fields.get(b"token")
    return (TABLE_NAMES_OF_7_2.get((command, name, token), name), fields[b"type"], token,
            fields.get(b"key_spec_index"), sorted(fields.get(b"flags", [])),
            [argument_of(command, nested) for nested in fields.get(b"arguments", [])])


def docs_of(name, document):
    fields = as_dictionary(document)
    return {"since": fields[b"since"], "group": fields[b"group"],
            "flags": fields.get(b"doc_flags"), "deprecated": fields.get(b"deprecated_since"),
            "arguments": [argument_of(name, argument) for argument in fields.get(b"arguments", [])],
            "subcommands": {word: docs_of(word, nested) for word, nested in
                            as_dictionary(fields.get(b"subcommands", [])).items()}}


def check_table(pair):
    for name in TABLE_COMMANDS:
        left, right = pair.ask(b"COMMAND", b"INFO", name.encode())
        if not isinstance(right, list) or right[0] is None or entry_of(left[0]) != entry_of(right[0]):
            return "COMMAND INFO %s:\n  %r\n  %r" % (name, left, right)
        left, right = pair.ask(b"COMMAND", b"DOCS", name.encode())
        if not isinstance(right, list) or len(right) != 2:
            return "COMMAND DOCS %s:\n  %r\n  %r" % (name, left, right)
        left, right = docs_of(name.encode(), left[1]), docs_of(name.encode(), right[1])
        if left != right:
            return "COMMAND DOCS %s:\n  %r\n  %r" % (name, left, right)
    return None


# ---- running -------------------------------------------------------------------------------------

def replay(addresses, protocol, commands):
    pair = Pair(*addresses, protocol)
    pair.reset()
    return pair.run(commands)


def cut_down(addresses, protocol, commands):
    """Leaves out what can be left out, in halving pieces, while some reply still differs."""
    replays, piece = 0, max(1, len(commands) // 2)
    while piece >= 1 and replays < REPLAYS_MAX:
        start, shrunk = 0, False
        while start < len(commands) and replays < REPLAYS_MAX:
            candidate = commands[:start] + commands[start + piece:]
            replays += 1
            difference = replay(addresses, protocol, candidate) if candidate else None
            if difference is not None:
                commands, shrunk = candidate[:difference[0] + 1], True
            else:
                start += piece
        if piece == 1 and not shrunk:
            break
        piece = max(1, piece // 2) if piece > 1 or shrunk else 0
    return commands


def shorten(data, limit=300):
    text = repr(data)
    return text if len(text) <= limit else "%s... (%d bytes)" % (text[:limit], len(data))


def report(addresses, protocol, commands, difference, arguments):
    """Whether it is seen again."""
    print("difference: seed %d, RESP%d" % (arguments.seed, protocol))
    index, left, right = difference
    history = commands[:index + 1]
    replays = (replay(addresses, protocol, history) for _ in range(AGAIN))
    again = next((seen for seen in replays if seen is not None), None)
    if again is None:
        print("(not seen again from empty databases; the last commands were)")
        history = history[-20:]
    else:
        history = cut_down(addresses, protocol, history[:again[0] + 1])
        last = replay(addresses, protocol, history)
        if last is not None:
            index, left, right = last
    for command in history:
        print("  %s" % " ".join(shorten(argument) for argument in command))
    print("reference: %s" % shorten(left, 2000))
    print("subject:   %s" % shorten(right, 2000))
    return again is not None


def run_round(pair, generator, count):
    """Random commands. (commands sent, first difference or None)."""
    history = []
    while len(history) < count:
        batch = []
        while len(batch) < BATCH_COMMANDS:
            batch += settle(generator.command())
        difference = pair.run(batch)
        if difference is not None:
            return history + batch, (len(history) + difference[0], *difference[1:])
        history += batch
    return history, None


def check_round(pair, generator, turn, addresses):
    """The problem in words, or None. The slow checks once."""
    pair.ask(b"SELECT", b"0")
    problem = check_database(pair, generator)
    if problem is None and turn == 0:
        problem = check_scan_guarantee(pair, generator) or check_table(Pair(*addresses, 2))
    return problem


def run(addresses, arguments):
    generator = Generator(arguments.seed)
    progress = servers.Progress(arguments.seed, arguments.count)
    done, turn = 0, 0
    while done < arguments.count and not progress.ends_early(1):
        protocol = 2 + turn % 2
        pair = Pair(*addresses, protocol)
        pair.reset()
        history, difference = run_round(pair, generator, min(ROUND_COMMANDS, arguments.count - done))
        done += len(history)
        if difference is not None:
            progress.note(report(addresses, protocol, history, difference, arguments))
            turn += 1
            continue
        problem = check_round(pair, generator, turn, addresses)
        if problem is not None:
            print("difference: seed %d, RESP%d, after %d commands\n%s" %
                  (arguments.seed, protocol, done, problem))
            progress.note(is_seen_again=True)
        progress.show(done)
        turn += 1
    return progress.finish(done)


def exception_rows():
    for words, (_, reason) in EXCEPTIONS.items():
        yield "`%s`" % b" ".join(words).decode(), reason


def main():
    arguments = servers.parse_arguments(__doc__.split("\n\n", maxsplit=1)[0], "redis-server")
    if arguments.print_exceptions:
        servers.print_exceptions(exception_rows())
        return 0
    servers.require("redis-server")
    directory = tempfile.mkdtemp(prefix="nicached-differential-")
    atexit.register(shutil.rmtree, directory, True)
    _, reference_address = start_reference(directory, "reference")
    subject, address = start_reference(directory, "subject") if arguments.server == "reference" \
        else start_subject(arguments.server)
    try:
        result = run((reference_address, address), arguments)
    except ServerGone as error:
        print("error: seed %d: %s" % (arguments.seed, error))
        result = 2
    return servers.finish(result, subject)


if __name__ == "__main__":
    sys.exit(main())
