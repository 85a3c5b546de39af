#!/usr/bin/env python3
"""A small Redis server that is wrong in one way of choice: what the checker must find.

    wrong_server.py FAULT PORT-FILE [--one-in N] [--refuse-one-in N]    FAULT: one of FAULTS, or 'none'

It speaks what tests/history asks, keeps everything in a dictionary and serves one command at a time, so
without a fault it is right by construction. Each fault happens to one command in N. With --refuse-one-in it
refuses writes as if memory were short.
"""

import argparse
import asyncio
import pathlib
import random
import time

FAULTS = {
    "stale": "a read answers what the key held before its last change",
    "lost": "SET answers OK and does nothing",
    "reordered": "two neighbours of one connection's pipeline change places",
    "late": "SET answers OK and takes effect a moment later",
    "torn-write": "MSET lets others in after its first key",
    "torn-read": "MGET lets others in after its first key",
    "torn-rename": "RENAME lets others in before it removes the source",
    "twice": "INCR counts twice and answers as if once",
    "resurrected": "a key that was found expired comes back",
    "overdue": "a key is served long after it expired",
    "premature": "a key expires long before it should",
    "flush-misses": "FLUSHDB leaves every fourth key",
    "miscounted": "DBSIZE counts one too many",
    "blind-nx": "SET NX writes although the key exists, and says it did",
    "invented": "GET answers what nobody wrote",
    "forgotten-append": "APPEND replaces instead",
}
FAULTS_OF_REFUSALS = {"done-refused": "a write is refused and takes effect"}
OVERDUE_S = 0.3


class Store:
    def __init__(self, fault, one_in, refuse_one_in):
        self.fault, self.one_in, self.refuse_one_in = fault, one_in, refuse_one_in
        self.values, self.before, self.expiry, self.expired = {}, {}, {}, {}
        self.random = random.Random(1)

    def strikes(self, fault):
        return self.fault == fault and self.random.randrange(self.one_in) == 0

    def refuses(self, name):
        return name in NEED_MEMORY and self.refuse_one_in > 0 and self.random.randrange(self.refuse_one_in) == 0

    def expire(self, key):
        due = self.expiry.get(key)
        if due is not None and time.monotonic() >= due:
            self.expired[key] = self.values.pop(key)
            del self.expiry[key]

    def get(self, key):
        self.expire(key)
        if key in self.expired and key not in self.values and self.strikes("resurrected"):
            self.values[key] = self.expired.pop(key)
        return self.values.get(key)

    def read(self, key):
        value = self.get(key)
        return self.before[key] if key in self.before and self.strikes("stale") else value

    def set(self, key, value, ttl_ms=None):
        self.before[key] = self.values.get(key)
        self.values[key] = value
        self.expiry.pop(key, None)
        if ttl_ms is not None:
            ttl = ttl_ms / 1000
            if self.fault == "overdue":  # always: few keys are read again after their time
                ttl += OVERDUE_S
            elif self.strikes("premature"):
                ttl = 0
            self.expiry[key] = time.monotonic() + ttl

    def remove(self, key):
        self.expire(key)
        self.before[key] = self.values.get(key)
        self.expiry.pop(key, None)
        return int(self.values.pop(key, None) is not None)


def bulk(value):
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def number(value):
    return b":%d\r\n" % value


OK = b"+OK\r\n"
OUT_OF_MEMORY = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
NEED_MEMORY = {b"SET", b"INCR", b"APPEND", b"MSET", b"MSETNX", b"COPY"}


class Commands:
    """One coroutine for each command; those that are torn wait in between."""

    def __init__(self, store):
        self.store = store

    async def others(self):
        for _ in range(3):
            await asyncio.sleep(0)

    async def get(self, key):
        value = self.store.read(key)
        return bulk(b"v4000000000." if value is not None and self.store.strikes("invented") else value)

    async def mget(self, *keys):
        values = [self.store.read(keys[0])]
        if self.store.strikes("torn-read"):
            await self.others()
        values += [self.store.read(key) for key in keys[1:]]
        return b"*%d\r\n" % len(values) + b"".join(bulk(value) for value in values)

    async def exists(self, *keys):
        return number(sum(self.store.get(key) is not None for key in keys))

    async def set(self, key, value, *options):
        store = self.store
        held = store.get(key)
        if b"NX" in options and held is not None and not store.strikes("blind-nx"):
            return bulk(None)
        if b"XX" in options and held is None:
            return bulk(None)
        ttl_ms = int(options[1]) if options and options[0] == b"PX" else None
        if store.strikes("late"):
            asyncio.get_running_loop().call_later(0.005, store.set, key, value, ttl_ms)
        elif not store.strikes("lost"):
            store.set(key, value, ttl_ms)
        return bulk(held) if b"GET" in options else OK

    async def getdel(self, key):
        value = self.store.get(key)
        self.store.remove(key)
        return bulk(value)

    async def incr(self, key):
        value = self.store.get(key)
        if value is not None and not value.isdigit():
            return b"-ERR value is not an integer or out of range\r\n"
        result = int(value or b"0") + 1
        self.store.values[key] = b"%d" % (result + self.store.strikes("twice"))
        return number(result)

    async def append(self, key, suffix):
        value = self.store.get(key) or b""
        self.store.values[key] = suffix if self.store.strikes("forgotten-append") else value + suffix
        return number(len(value + suffix))

    async def delete(self, *keys):
        return number(sum(self.store.remove(key) for key in keys))

    async def mset(self, *words):
        self.store.set(words[0], words[1])
        if self.store.strikes("torn-write"):
            await self.others()
        for key, value in zip(words[2::2], words[3::2]):
            self.store.set(key, value)
        return OK

    async def msetnx(self, *words):
        if any(self.store.get(key) is not None for key in words[0::2]):
            return number(0)
        for key, value in zip(words[0::2], words[1::2]):
            self.store.set(key, value)
        return number(1)

    def move(self, source, target):
        store = self.store
        store.set(target, store.values[source])
        if source in store.expiry:
            store.expiry[target] = store.expiry[source]

    async def rename(self, source, target):
        if self.store.get(source) is None:
            return b"-ERR no such key\r\n"
        self.move(source, target)
        if self.store.strikes("torn-rename"):
            await self.others()
        self.store.remove(source)
        return OK

    async def copy(self, source, target, *options):
        taken = self.store.get(target) is not None and not options
        if self.store.get(source) is None or taken:
            return number(0)
        self.move(source, target)
        return number(1)

    async def flushdb(self):
        kept = list(self.store.values.items())[::4] if self.store.fault == "flush-misses" else []
        for table in (self.store.values, self.store.before, self.store.expiry, self.store.expired):
            table.clear()
        self.store.values.update(kept)
        return OK

    async def persist(self, key):
        self.store.expire(key)
        if key not in self.store.values:
            return number(0)
        return number(self.store.expiry.pop(key, None) is not None)

    async def dbsize(self):
        return number(len(self.store.values) + (self.store.fault == "miscounted"))


def parse(data):
    """The complete commands at the front of `data`, and what is left over."""
    commands, position = [], 0
    while True:
        end = data.find(b"\r\n", position)
        if end < 0:
            return commands, data[position:]
        words, place = [], end + 2
        for _ in range(int(data[position + 1:end])):
            end = data.find(b"\r\n", place)
            if end < 0:
                return commands, data[position:]
            size = int(data[place + 1:end])
            if len(data) < end + 2 + size + 2:
                return commands, data[position:]
            words.append(bytes(data[end + 2:end + 2 + size]))
            place = end + 2 + size + 2
        commands.append(words)
        position = place


async def answer(store, words, table):
    name = words[0].upper()
    refused = store.refuses(name)
    if refused and not store.strikes("done-refused"):
        return OUT_OF_MEMORY
    reply = await table[name](*words[1:])
    return OUT_OF_MEMORY if refused else reply


async def answer_all(store, commands, table):
    order = list(range(len(commands)))
    for i in range(len(order) - 1):
        if store.strikes("reordered"):
            order[i], order[i + 1] = order[i + 1], order[i]
    replies = [b""] * len(commands)
    for i in order:
        replies[i] = await answer(store, commands[i], table)
    return b"".join(replies)


async def serve(arguments):
    store = Store(arguments.fault, arguments.one_in, arguments.refuse_one_in)
    commands = Commands(store)
    names = ("get mget exists set getdel incr append mset msetnx rename copy flushdb dbsize "
             "persist").split()
    table = {name.upper().encode(): getattr(commands, name) for name in names}
    table[b"DEL"] = commands.delete
    table[b"FLUSHALL"] = commands.flushdb

    async def converse(reader, writer):
        left = b""
        try:
            while data := await reader.read(65536):
                whole, left = parse(left + data)
                writer.write(await answer_all(store, whole, table))
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    pathlib.Path(arguments.port_file).write_text(str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", choices=["none", *FAULTS, *FAULTS_OF_REFUSALS])
    parser.add_argument("port_file")
    parser.add_argument("--one-in", type=int, default=20, metavar="N")
    parser.add_argument("--refuse-one-in", type=int, default=0, metavar="N")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
