#!/usr/bin/python3
"""Probes to which our TCP answers otherwise than Linux does, and the clause that says why.

    differences.py --print-differences     as a table for docs/tcp_conformance.md
"""
import sys

# Probe -> our outcome, Linux's outcome, why.
DIFFERENCES = {
    "T30 urgent pointer": (
        "answered", "other",
        "RFC 6093 6: urgent data are part of the stream. Linux takes the byte before the pointer out of it, unless "
        "the program sets SO_OOBINLINE, which redis-server does not"),
    "T27 fin again in time wait and reset": (
        "ACK; again: ACK", "ACK; again: RST",
        "RFC 1337 3: a reset does not end TIME-WAIT. Linux does the same with net.ipv4.tcp_rfc1337=1, "
        "which is not its default"),
}


def main():
    if sys.argv[1:] != ["--print-differences"]:
        sys.exit(__doc__)
    print("| probe | here | Linux | why |\n|---|---|---|---|")
    for name, words in DIFFERENCES.items():
        print("| %s | %s |" % (name, " | ".join(words)))


if __name__ == "__main__":
    main()
