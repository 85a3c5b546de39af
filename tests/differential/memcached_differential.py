#!/usr/bin/python3
"""Compares nicached with memcached over its text protocol, byte by byte.

    memcached_differential.py --server build/control/nicached --count 200000 --seed 7
    memcached_differential.py --server reference      (memcached against itself: tests the test)

Random conversations from the seed, then a list of fixed requests, each on a connection of its own
from an empty cache: commands in batches, now and then cut into several sends; the fixed ones whole and byte by byte. Both servers get
the same bytes; only CAS values are each server's own: they are replaced by the order in which they
appeared, and @CAS@ in a request is the last one that this server has shown. A server that has not
answered yet, because a value is still missing, is told that no more will come.

A conversation that differs is cut down and printed. EXCEPTIONS says what differs on purpose; the
conversations keep clear of it. Exit status: 0 no difference, 1 difference, 2 usage or a server that
died.
"""
import base64
import os
import pwd
import random
import re
import socket
import subprocess
import sys
import threading

import servers

EXCEPTIONS = [
    ("stats and its subcommands but reset and detail",
     "figures of another machine; classes of slabs and the LRU do not exist"),
    ("stats detail dump after meta commands, or of several prefixes",
     "mg, ms and md count as get, set and delete do; in the reference they do not count. Each has its own order"),
    ("watch: its lines, and what stands in front of it in the same packet",
     "compared by tests/integration/test_memcached_watch.py; the reference refuses a watch behind other commands"),
    ("E in mg, ms, md and ma, x in md, N and s in ms",
     "the reference is older than they are: it knows no E and no x, and makes nothing of the others"),
    ("t in a meta command that sets a time to live in the past", "the reference's number wraps around"),
    ("me: all but the key and fetch",
     "figures of another machine; the reference counts exp from the wrong end"),
    ("I with a CAS value of another key", "which of two is older is only known for one key"),
    ("O with more than 31 bytes in mg, md and ma", "the reference does it before it refuses it"),
    ("k of a key in base64 whose item was made by N, or anew by append, prepend, incr or decr",
     "the reference forgets that it was in base64, and shows its bytes as they are"),
    ("slabs, lru", "refused: nothing of the kind exists"),
    ("lru_crawler", "there is one class; expired items are looked for all the time, which nobody starts or stops"),
    ("cache_memlimit that is accepted", "it would change the memory of both servers"),
    ("config", "auto discovery, which the reference does not have"),
    ("lines of more than 2048 bytes other than get and gets",
     "the reference closes or answers depending on what one read brings; here up to 16384 bytes"),
    ("incr and decr on a value of about 512 KiB", "where exactly it stops being a number"),
    ("a key that is too long in get and its family, behind other commands in one packet",
     "the reference drops the replies of those commands"),
    ("replies ahead of a value that does not arrive", "the reference holds them back until it does"),
    ("incr and decr on a value of white space alone",
     "the reference's strtoull reads on into what the memory held before"),
    ("incr and decr on a value of 2^63 and more, now and then",
     "the reference looks for a minus sign behind the value, in what the memory held before"),
    ("padding after incr and decr behind a get of the same key in one packet",
     "the reference does not pad while a reply in flight holds the item"),
    ("T in ma where the number grows by a digit",
     "the reference sets the time to live of the item that it has just replaced"),
    ("items evicted", "each chooses its own; keep the reference's memory large enough"),
    ("expiry within a second", "the reference counts in whole seconds"),
]

FAILURES_MAX = 3      # stop after so many
AGAIN = 3             # replays of a difference that must show it again
REPLAYS_MAX = 200     # while a difference is cut down
HISTORY_MAX = 8       # steps that are printed
ANSWER_WAIT_S = 0.05  # without a complete answer for so long: the end of input is sent
SILENCE_MAX_S = 30

EVERY_BYTE = "every byte"  # in place of the chance that a step is cut
SWALLOWED_BYTES = 120      # at most, behind a value whose size is wrong
EVERY_BYTE_MAX = 500       # bytes of a request that is also sent byte by byte

SYNC = b"version\r\n"
SYNC_REPLY = re.compile(rb"VERSION [^\r\n]*\r\n$")
META_LINE = re.compile(rb"^(?:HD|VA \d+|EX|NS|NF|EN)((?: [a-zA-Z][^ \r\n]*)*)\r\n", re.M)
META_FLAG = re.compile(rb" (c[1-9]\d*|l\d+|t\d+)(?=[ \r])")
DEBUG_LINE = re.compile(rb"^(ME [^ \r\n]+) [^\r\n]*(fetch=\w+)[^\r\n]*\r\n", re.M)
VALUE_LINE = re.compile(rb"^VALUE ([^ \r\n]+) (\d+) (\d+)(?: (\d+))?\r\n", re.M)


class Server:
    SYNC, SYNC_REPLY = SYNC, SYNC_REPLY
    FLUSH = b"flush_all\r\n"
    ANSWER_WAIT_S = ANSWER_WAIT_S

    def __init__(self, name, port):
        self.name, self.address = name, ("127.0.0.1", port)
        self.cas_order, self.last_cas = {}, b"1"
        self.connection = self.reply = None

    def open(self):
        self.cas_order, self.last_cas = {}, b"1"
        self.connection = socket.create_connection(self.address)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.connection.close()

    def send(self, request, cuts):
        """In pieces that end at `cuts`, from a thread: the server may want its replies read first."""
        pieces = [request[start:end] for start, end in zip([0, *cuts], [*cuts, len(request)])]
        connection = self.connection  # whoever has its answer early opens the next one
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # it has closed; what it said before is still to be read

    def ask(self, request, cuts):
        """The reply up to that of SYNC, or up to the end of the connection."""
        request = self.fill_in(request) + self.SYNC
        sender = None
        if len(request) < 30000 and not cuts:
            self.send(request, [])
        else:
            sender = threading.Thread(target=self.send, args=(request, cuts))
            sender.start()
        self.reply = self.normalise(self.receive(sender))

    def fill_in(self, request):
        # One width for both servers: a value whose size is wrong may swallow the number.
        return request.replace(b"@CAS@", self.last_cas.zfill(20))

    def receive(self, sender):
        reply, ended = b"", False
        self.connection.settimeout(self.ANSWER_WAIT_S)
        while not self.SYNC_REPLY.search(reply[-128:]):
            try:
                part = self.connection.recv(1 << 20)
            except socket.timeout:
                if ended:
                    return reply + b"<silent>"
                if sender is not None:
                    sender.join()
                self.connection.shutdown(socket.SHUT_WR)
                self.connection.settimeout(SILENCE_MAX_S)
                ended = True
                continue
            except OSError:
                part = b""
            if not part:
                return reply + (b"<waits>" if ended else b"<closed>")
            reply += part
        if sender is not None:
            sender.join()
        return reply[: self.SYNC_REPLY.search(reply).start()] + (b"<ended>" if ended else b"")

    def cas(self, value):
        self.last_cas = value
        return b"<cas %d>" % self.cas_order.setdefault(value, len(self.cas_order))

    def meta_flag(self, match):
        """Seconds differ by one now and then; a time in the past wraps around in the reference."""
        letter, number = match.group(1)[:1], match.group(1)[1:]
        if letter == b"c":
            return b" " + self.cas(number)
        if letter == b"l":
            return b" l#"
        seconds = int(number)
        return b" t%d" % (0 if seconds > 1 << 31 else (seconds + 5) // 10 * 10)

    def normalise(self, reply):
        def value_line(match):
            if match.group(4) is None:
                return match.group(0)
            return b"VALUE %s %s %s %s\r\n" % (*match.group(1, 2, 3), self.cas(match.group(4)))

        def meta_line(match):
            return META_FLAG.sub(self.meta_flag, match.group(0))
        reply = VALUE_LINE.sub(value_line, reply)
        return DEBUG_LINE.sub(rb"\1 \2\r\n", META_LINE.sub(meta_line, reply))


def start_reference(port):
    """Without the threads that look after the LRU: an item that they hold for a moment is not padded
    by incr and decr."""
    return servers.Process("memcached", [
        "memcached", "-u", pwd.getpwuid(os.geteuid()).pw_name, "-l", "127.0.0.1", "-p", str(port),
        "-U", "0", "-m", "1024", "-o", "no_lru_crawler,no_lru_maintainer"], errors=subprocess.DEVNULL)


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
    b"stats detail dump\r\n", b"stats reset\r\nstats detail on\r\nset p:a 0 0 1\r\nx\r\nget p:a p:b none\r\ngat 0 p:a\r\n"
    b"touch p:a 0\r\nincr p:c 1\r\nadd p:a 0 0 1\r\nx\r\ndelete p:a\r\ndelete p:a\r\nstats detail dump\r\nstats detail off\r\n"
    b"get p:a\r\nstats detail dump\r\nstats detail on x\r\nstats detail off\r\nstats reset\r\nstats detail dump\r\n",
    b"watch foo\r\n", b"watch fetchers foo\r\n", b"watch FETCHERS\r\n", b"watch\r\nget a\r\n", b"watch mutations rawcmds\r\n",
    b"bget a\r\n", b"shutdown\r\n", b"shutdown graceful\r\n", b"shutdown x\r\n", b"cache_memlimit\r\n", b"cache_memlimit x\r\n",
    b"cache_memlimit -1\r\n", b"cache_memlimit 7\r\n", b"cache_memlimit 1000000001\r\n", b"cache_memlimit 64 x y\r\n",
    b"cache_memlimit 0 noreply\r\n", b"lru_crawler\r\n", b"lru_crawler metadump\r\n", b"foo\r\n", b"foo noreply\r\n",
    b"mg\r\n", b"mg a\r\n", b"mg a q\r\n", b"mg a k O1\r\n", b"mg a k O1 q\r\n", b"mg %s v\r\n" % K251, b"mg O1\r\n",
    b"mg a z\r\n", b"mg a v v\r\n", b"mg a 1\r\n", b"mg a \x7f\r\n", b"mg a \xff\r\n", b"mg a \t\r\n", b"mg a v\0k\r\n",
    b"mg a\0 v\r\n", b" mg  a  v \r\n", b"mg a N\r\n", b"mg a Nx\r\n", b"mg a T R\r\n", b"mg a Rx\r\n", b"mg a C\r\n",
    b"mg a Cx\r\n", b"mg a J\r\n", b"mg a D\r\n", b"mg a D-1\r\n", b"mg a M\r\n", b"mg a Mzz\r\n", b"mg a Fx\r\n",
    b"mg a F4294967296\r\n", b"mg a P L I\r\n", b"mg a vzz kzz t1 qq hh uu\r\n", b"mg a O\r\n",
    b"mg a O" + b"o" * 31 + b"\r\n", b"mg a O" + b"o" * 32 + b"\r\n", b"mg a S\r\n", b"mg a W\r\n", b"mg a X Z\r\n",
    b"mg a b\r\n", b"mg a Nx b\r\n", b"mg a b Nx\r\n", b"mg a Fx b\r\n", b"mg a b Fx\r\n", b"mg a b z\r\n",
    b"ms\r\n", b"ms a\r\n", b"ms a x\r\nhi\r\n", b"ms a -1\r\nhi\r\n", b"ms a S2\r\nhi\r\n", b"ms a 2147483647\r\n",
    b"ms %s 2\r\nhi\r\n" % K251, b"ms a 2 z\r\nhi\r\n", b"ms a 2 k k\r\nhi\r\n", b"ms a 2 T\r\nhi\r\n", b"ms a 2 Fx\r\nhi\r\n",
    b"ms a 2 Mx\r\nhi\r\n", b"ms a 2 Me\r\nhi\r\n", b"ms a 2 M\r\nhi\r\n", b"ms a 2 MEE\r\nhi\r\n",
    b"ms a 2 O" + b"o" * 32 + b"\r\nhi\r\n", b"ms a 2 b\r\nhi\r\n", b"ms a 2 q\r\nhixx\r\n", b"ms a 2\r\nh\r\n\r\n",
    b"ms a 2\r\nhi\r\nms a 2 q ME\r\nxx\r\nms a 2 ME k O1 c\r\nxx\r\n", b"ms a 2 MR c k\r\nhi\r\nms a 2 MA c\r\nhi\r\n",
    b"ms a 2 C5 c\r\nhi\r\nms a 2 C5 MR\r\nhi\r\nms a 2 C5 ME\r\nhi\r\nms a 2 C5 ME c\r\nhi\r\nms a 2 C0\r\nhi\r\n",
    b"ms a 2 F5 T100\r\nhi\r\nms a 1 MA F6 T0\r\n!\r\nms a 1 MP C0\r\n<\r\nmg a s v f t\r\nms a 1 MA C99 k\r\n1\r\n",
    b"ms a 1048517 q k\r\n" + b"x" * 1048517 + b"\r\nmg a\r\n",
    b"ms a 1\r\nx\r\nms a 1048576 ME k\r\n" + b"x" * 1048576 + b"\r\nmg a\r\n",
    b"ms a 1\r\nx\r\nms a 1048576 z\r\n" + b"x" * 1048576 + b"\r\nmg a v\r\n",
    b"ms a 1048516\r\n" + b"x" * 1048516 + b"\r\nms a 1 MA\r\nx\r\nmg a s\r\n",
    b"md\r\n", b"md %s\r\n" % K251, b"md a q\r\n", b"md a k O3\r\n", b"md a z\r\n", b"md a N\r\n", b"md a v\r\n",
    b"md a O" + b"o" * 40 + b"\r\n", b"md a b\r\n", b"ms a 1\r\n1\r\nmd a C99 k O1 q\r\nmd a q\r\nmd a q k\r\n",
    b"ma\r\n", b"ma a\r\n", b"ma a q k O1\r\n", b"ma a MX\r\n", b"ma a Mi\r\n", b"ma a Dx\r\n", b"ma a Jx N0\r\n", b"ma a b\r\n",
    b"ma a N0 v\r\nma a v t\r\nma a D5 MI v\r\nma a MD D300 v\r\nma a M+ v q\r\nma a M- v k O1\r\n",
    b"ma a N10 J18446744073709551615 v t k O5\r\nma a v\r\nma a D18446744073709551615 v T100 t\r\nma a t T50 v\r\n",
    b"ma a N0 q J5\r\nmg a v\r\nma a q N0\r\nma a C99 k O1 v\r\nma b N0 v t c q\r\n",
    b"ms a 2\r\nhi\r\nma a\r\nma a N0 k O1 q\r\n", b"ma a N0 J100\r\nma a MD v\r\nmg a v s\r\n",
    b"mn\r\n", b"mn x\r\n", b"me\r\n", b"me a\r\n", b"me %s\r\n" % K251, b"ms a 1\r\n1\r\nme a z\r\nme a k b\r\nme a b\r\n",
    b"ms a 1\r\n1\r\nmg a\r\nme a\r\nme YQ== b\r\nme YQ== bx\r\nme YQ== x b\r\n", b"mx\r\n", b"m\r\n", b"mgg\r\n",
    b"ms foo 1\r\n1\r\nmg foo k\r\nmg Zm9v b k\r\nms Zm9v 1 b k\r\n2\r\nmg foo k v\r\nme foo\r\n"
    b"ma foo k\r\nmd foo k I\r\nmd Zm9v b k\r\n",
    b"ms s 2 T300\r\nab\r\nmd s I T30 k O1\r\nmg s s v t h\r\nmg s s v t h\r\nget s\r\nms s 2 I C1 T100\r\ncd\r\nmg s v t\r\n"
    b"ms s 2 C18446744073709551615 I\r\nxx\r\nms s 2 T0\r\nef\r\nmg s v t\r\nmd s I q\r\nmd s I C1\r\n",
    b"ms s 1\r\n1\r\nmd s I\r\nappend s 0 0 1\r\nx\r\nmg s\r\nmd s I\r\nmg s u\r\ntouch s 100\r\nmg s t\r\nmd s I\r\nmg s\r\nmg s\r\n",
    b"ms r 1 T100\r\n1\r\nmg r R30 t\r\nmg r R200 t\r\nmg r R200 t\r\nmg r R-1\r\nmg r T30 t\r\nms r 1\r\n1\r\nmg r R100 t\r\n",
    b"ms r 1 T50\r\n1\r\nmg r T100 R60 t\r\nmg r R200 T0 t\r\nmg r T-1 v\r\nmg r\r\nms r 1 T-1\r\n1\r\nmg r\r\n",
    b"mg v N30 s v t f h\r\nmg v N30 s v t f h\r\nmg w t N30\r\nmg x N30 T50 t\r\nmg x t\r\nmg y T50 N30 t\r\nmg y t\r\n"
    b"mg z N30 q\r\nmg z q\r\nmg zz N30 R60 t k O1\r\nms zz 1\r\nx\r\nmg zz\r\nmg zzz N-1\r\nmg zzz\r\n",
    b"ms u 1\r\n1\r\nmg u h u\r\nmg u h\r\nmg u h\r\nms u 1\r\n1\r\ntouch u 0\r\nmg u h\r\nms u 1\r\n1\r\nadd u 0 0 1\r\n1\r\nmg u h\r\n",
    b"ms u 1\r\n1\r\nincr u 1\r\nmg u h\r\n", b"ms u 1\r\n1\r\nget u\r\nappend u 0 0 1\r\n1\r\nmg u h\r\nmd u I\r\nmg u h\r\n",
    b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n", b"get / HTTP/1.1\r\n", b"x HTTP/\r\n",
    b"get " + b"a " * 3000 + b"\r\n", b"version\r\r\n", b"\x81get a\r\n",
]
for text in (b"5", b"99", b"-5", b" 12", b"12 ab", b"12ab", b"", b"18446744073709551615", b"007",
             b"+3", b"\t4", b"x", b"99999999999999999999", b"1 " + b"x" * 5000):
    for verb in (b"incr", b"decr"):
        FIXED.append(b"set n 3 0 %d\r\n%s\r\n%s n 10\r\nget n\r\n" % (len(text), text, verb))


for text in (b"YQ", b"YQ=", b"YQ==", b"YQ===", b"Y=Q=", b"=YQ=", b"====", b"=", b"YW==", b"YWI=", b"YWJj", b"YWJjYQ==",
             b"YQ==YQ==", b"YQ==!!", b"Y!Q!=!=", b"YWJjY", b"YWJjYWI", b"YWJ=YWJj", b"+/+/", b"-_-_", b"YWJj" * 62,
             b"YWJj" * 62 + b"YQ", b"A" * 252, b"AAAA", b"DQo=", b"IA=="):
    FIXED.append(b"ms %s 1 b k\r\n1\r\nmg %s b k v\r\nma %s b k v\r\nmd %s b k\r\n" % (text, text, text, text))
for count in (16, 17, 18):
    flags = b" ".join([b"c", b"f", b"h", b"k", b"q", b"F1", b"t", b"u", b"v", b"P", b"L", b"D1", b"J1", b"I", b"C1", b"R1", b"T1",
                       b"N1"][:count])
    FIXED.append(b"mg a %s\r\nms a 1 %s\r\n1\r\nmd a %s\r\nma a %s\r\n" % (flags, flags, flags, flags))


ALL_KEYS = b"get " + b" ".join(b"key%d" % i for i in range(6)) + b"\r\n"


class Generator:
    """Random conversations: few keys, so that they meet; now and then something is wrong."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.swallowed_bytes = 0

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

    def size_of(self, value):
        """Now and then a wrong one: what follows is swallowed, and no CAS value may become part of a value then, because
        each server has its own."""
        if self.random.random() < 0.97:
            return b"%d" % len(value)
        self.swallowed_bytes = SWALLOWED_BYTES
        return self.number()

    def storage(self):
        value = self.value()
        verb = self.pick(b"set", b"set", b"add", b"replace", b"append", b"prepend")
        size = self.size_of(value)
        return b"%s %s %s %s %s%s\r\n%s\r\n" % (verb, self.key(K251), self.pick(b"0", b"1", b"4294967295"),
                                              self.exptime(), size, self.noreply(), value)

    def cas(self):
        value = self.value()
        return b"cas %s 0 0 %d %s%s\r\n%s\r\n" % (self.key(K251), len(value), self.pick(b"@CAS@", b"@CAS@", b"1"),
                                             self.noreply(), value)

    def meta_key(self):
        """A key and the flag that goes with it: some in base64, of those some that cannot be anything else."""
        if self.random.random() < 0.8:
            return self.key(K251), b""
        key = self.pick(b"base%d" % self.random.randrange(3), bytes(self.random.choices(b"\0 \r\n\xffa", k=5)))
        return base64.b64encode(key)[: None if self.random.random() < 0.95 else -1], b" b"

    def meta_flags(self, letters):
        """Some of them, in any order; now and then one that is wrong."""
        tokens = {"C": (b"@CAS@", b"@CAS@", b"1", b"0", b"x"), "D": (b"1", b"7", b"18446744073709551615", b"x"),
                  "F": (b"0", b"5", b"4294967295", b"x"), "J": (b"0", b"95", b"x"), "M":
                  (b"E", b"A", b"P", b"R", b"S", b"I", b"D", b"+", b"-", b"x", b""), "N": (b"0", b"100", b"1000", b"-1", b"z"),
                  "O": (b"1", b"opaque", b"", b"o" * 31), "R": (b"50", b"500", b"5000", b"0", b"-1", b"z"),
                  "T": (b"0", b"100", b"1000", b"2592000", b"-1", b"z"), "L": (b"path/",), "P": (b"",)}
        chosen = self.random.sample(letters, self.random.randrange(min(len(letters), 6) + 1))
        if self.random.random() < 0.03:
            chosen.append(self.pick("z", "1", chosen[0] if chosen else "y", "W"))
        words = []
        for letter in chosen:
            choices = tokens.get(letter, (b"",))
            right = choices[:-1] if len(choices) > 1 and self.random.random() < 0.9 else choices
            words.append(b" " + letter.encode() + self.random.choice(right))
        return b"".join(words)

    def meta_set(self):
        value = self.value()
        key, base = self.meta_key()
        size = self.size_of(value)
        flags = self.meta_flags("CFkcOqTPIL" if base else "CFkcMOqTPIL")  # EXCEPTIONS: k
        if b"I" in flags:  # EXCEPTIONS: which is older
            flags = flags.replace(b"@CAS@", self.pick(b"1", b"18446744073709551615"))
        return b"ms %s %s%s%s\r\n%s\r\n" % (key, size, base, flags, value)

    def meta(self):
        verb, letters = self.pick(("mg", "cfhklOqstuvNRT"), ("mg", "cfhklOqstuvNRT"), ("mg", "vkhstc"), ("md", "CIkOqT"),
                                  ("md", "IT"), ("ma", "CNJDTMOqtcvk"), ("me", ""), ("mn", ""))
        if verb == "mn":
            return b"mn\r\n"
        key, base = self.meta_key() if verb != "ma" else (self.key(K251), b"")  # EXCEPTIONS: k
        flags = self.meta_flags(letters.replace("N", "") if base else letters)
        if verb == "ma" and b" T" in flags:  # EXCEPTIONS: T; a number that is counted down never grows
            flags = re.sub(rb" M\S*", b"", flags) + b" M-"
        return b"%s %s%s%s\r\n" % (verb.encode(), key, base, flags)

    def command(self):
        keys = b" ".join(self.key() for _ in range(self.random.randrange(1, 5)))
        return self.pick(
            self.storage, self.storage, self.cas, self.meta, self.meta, self.meta, self.meta_set, self.meta_set,
            lambda: b"get %s\r\n" % keys, lambda: b"gets %s\r\n" % keys, lambda: b"gets %s\r\n" % keys,
            lambda: b"%s %s %s\r\n" % (self.pick(b"gat", b"gats"), self.exptime(), keys),
            lambda: b"delete %s%s\r\n" % (self.key(K251), self.pick(b"", b" 0", b" noreply", b" 5")),
            lambda: b"%s %s %s%s\r\n" % (self.pick(b"incr", b"decr"), self.key(), self.number(), self.noreply()),
            lambda: b"touch %s %s%s\r\n" % (self.key(), self.exptime(), self.noreply()),
            lambda: self.pick(b"flush_all%s\r\n" % self.noreply(), b"verbosity 1\r\n", b"bogus\r\n", b"\r\n"),
        )()

    def case(self):
        """Steps of commands; a new step starts where a fresh CAS value may be used, and between a
        get and an incr (EXCEPTIONS: padding)."""
        steps = []
        for _ in range(self.random.randrange(1, 20)):
            steps.append([])
            for _ in range(self.pick(1, 2, 3, 3, 10, 40)):
                swallowed = self.swallowed_bytes
                command = self.command()
                if swallowed > 0:
                    command = command.replace(b"@CAS@", b"1")
                    self.swallowed_bytes = max(self.swallowed_bytes - len(command), 0)
                counts = command[:4] in (b"incr", b"decr") or command[:2] == b"ma"
                if counts and any(b[:1] == b"g" or b[:2] == b"mg" for b in steps[-1]):
                    steps.append([])
                steps[-1].append(command)
        return steps


def cuts_of(step, chance, generator):
    """Below 1 it is the chance of random cuts; from 1 on the offset of the only one."""
    size = sum(len(command) for command in step)
    if chance == EVERY_BYTE:
        return list(range(1, size))
    if chance >= 1:
        return [chance] if chance < size else []
    if size < 2 or generator.random() >= chance:
        return []
    return sorted(generator.sample(range(1, size), min(size - 1, generator.randrange(1, 6))))


def ask_both(pair, step, cuts):
    """Both at once; True if the replies agree."""
    other = threading.Thread(target=pair[1].ask, args=(b"".join(step), cuts))
    other.start()
    pair[0].ask(b"".join(step), cuts)
    other.join()
    left, right = pair[0].reply, pair[1].reply
    if left.endswith(b"<waits>") and right.endswith(b"<waits>"):
        return True  # what came before it is an exception
    return left.replace(b"<ended>", b"") == right.replace(b"<ended>", b"")


def has_ended(pair):
    return any(server.reply.endswith((b"<waits>", b"<closed>", b"<ended>", b"<silent>"))
               for server in pair)


def run_case(pair, case, chance, seed):
    """The number of the step whose replies differ, or None. The last step shows every key."""
    generator = random.Random(seed)
    for server in pair:
        server.open()
    try:
        for number, step in enumerate([[pair[0].FLUSH]] + case):
            if not ask_both(pair, step, cuts_of(step, chance, generator)):
                return number
            if has_ended(pair):
                break
    finally:
        for server in pair:
            server.close()
    return None


def without(case, start, count):
    """The case with `count` of its commands left out."""
    shorter, number = [], 0
    for step in case:
        kept = [command for i, command in enumerate(step, number) if not start <= i < start + count]
        number += len(step)
        if kept:
            shorter.append(kept)
    return shorter


def cut_down(pair, case, seed):
    """Leaves commands out in halving pieces, while the uncut replies still differ."""
    if run_case(pair, case, 0, seed) is None:
        return case
    replays = 0
    piece = max(1, sum(map(len, case)) // 2)
    while piece >= 1:
        start = 0
        while start < sum(map(len, case)) and replays < REPLAYS_MAX:
            shorter = without(case, start, piece)
            replays += 1
            if shorter and run_case(pair, shorter, 0, seed) is not None:
                case = shorter
            else:
                start += piece
        piece //= 2
    return case


def shorten(data):
    return repr(data if len(data) <= 300 else data[:200] + b" ... " + data[-80:])


def report(pair, name, case, chance, seed):
    """Whether it is seen again."""
    print("difference: %s" % name)
    first = [server.reply for server in pair]
    if all(run_case(pair, case, chance, seed) is None for _ in range(AGAIN)):
        print("(not seen again)")
        for server, reply in zip(pair, first):
            print("  %-9s %s" % (server.name, shorten(reply[-200:])))
        return False
    case = cut_down(pair, case, seed)
    differed = run_case(pair, case, 0, seed)
    if differed is None:
        print("(only when it is cut into several sends)")
        differed = run_case(pair, case, 0.3, seed) or len(case)
    for step in case[:differed][-HISTORY_MAX:]:
        print("  %s" % shorten(b"".join(step)))
    left, right = pair[0].reply, pair[1].reply
    at = next((i for i, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))
    print("  from byte %d on, of %d and %d:" % (max(0, at - 40), len(left), len(right)))
    for server in pair:
        print("  %-9s %s" % (server.name, shorten(server.reply[max(0, at - 40):])))
    return True


def cases_of(arguments):
    """Names, cases, and how often a step is cut. The fixed ones whole, as they are meant, and last:
    they leave minus signs in the reference's memory (EXCEPTIONS)."""
    done = number = 0
    while done < arguments.count:
        name = "seed %d, conversation %d" % (arguments.seed, number)
        case = Generator(name).case() + [[ALL_KEYS]]
        yield name, case, 0.3
        done += sum(len(step) for step in case)
        number += 1
    for number, step in enumerate(FIXED):
        yield "fixed %d" % number, [[step], [ALL_KEYS]], 0
        if len(step) <= EVERY_BYTE_MAX:
            yield "fixed %d, byte by byte" % number, [[step], [ALL_KEYS]], EVERY_BYTE


def run(pair, arguments, cases):
    progress = servers.Progress(arguments.seed, arguments.count)
    done = 0
    for name, case, chance in cases:
        if run_case(pair, case, chance, name) is not None:
            progress.note(report(pair, name, case, chance, name))
        done += sum(len(step) for step in case)
        if progress.ends_early(FAILURES_MAX):
            break
        progress.show(done)
    return progress.finish(done)


def main(title=__doc__.splitlines()[0], exceptions=EXCEPTIONS, kind=Server, cases=cases_of):
    arguments = servers.parse_arguments(title, "memcached")
    if arguments.print_exceptions:
        servers.print_exceptions(exceptions)
        return 0
    servers.require("memcached")
    ports = servers.free_ports(2)
    reference = start_reference(ports[0])
    subject = start_reference(ports[1]) if arguments.server == "reference" \
        else servers.start_subject(arguments.server, 0, ports[1])
    reference.wait_for_port(ports[0])
    subject.wait_for_port(ports[1])
    try:
        pair = [kind("reference", ports[0]), kind("subject", ports[1])]
        result = run(pair, arguments, cases(arguments))
    except ConnectionRefusedError as error:
        print("error: seed %d: %s" % (arguments.seed, error))
        result = 2
    return servers.finish(result, subject)


if __name__ == "__main__":
    sys.exit(main())
