#!/usr/bin/env python3
"""Holds the documents that are made from tables against what the program prints today.

    tests/documents.py build/control/nicached             exit 1 and the differences if one is stale
    tests/documents.py build/control/nicached --write     writes them anew
"""
import difflib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Document -> the arguments that print it.
PRINTED = {
    "config/nicached.conf": ["--print-sample"],
    "docs/commands.md": ["--print-reference", "commands"],
    "docs/configuration.md": ["--print-reference", "configuration"],
    "docs/metrics.md": ["--print-reference", "metrics"],
}


def printed(program, arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


# These hold parts that scripts of ours print.
FILLED = ["docs/support.md", "docs/tcp_conformance.md"]


# Between these lines of such a document stands what a script of ours prints.
PART = re.compile(r"(<!-- from: (\S+) (\S+) -->\n).*?(<!-- end -->\n)", re.S)


def fill_parts(text):
    return PART.sub(lambda part: part[1] + "\n" + printed(sys.executable, [str(ROOT / part[2]), part[3]]) +
                    "\n" + part[4], text)


def report_stale(name, committed, current):
    """Whether the committed text is the current one; shows where it is not."""
    if committed == current:
        return True
    lines = difflib.unified_diff(committed.splitlines(), current.splitlines(), name, "current",
                                 lineterm="", n=0)
    print("\n".join(list(lines)[:20]))
    print("%s is stale: tests/documents.py PROGRAM --write makes it anew" % name)
    return False


def main():
    program, write = sys.argv[1], "--write" in sys.argv[2:]
    good = True
    for name in [*PRINTED, *FILLED]:
        path = ROOT / name
        committed = path.read_text() if path.exists() else ""
        current = printed(program, PRINTED[name]) if name in PRINTED else fill_parts(committed)
        if write:
            path.write_text(current)
        else:
            good = report_stale(name, committed, current) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
