#!/usr/bin/env python3
"""Makes docs/benchmarks/growth.md and growth.svg from the results of store_growth_bench.

    growth_report.py GROWTH.json EXPIRY.txt
"""
import json
import math
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
WIDTH, HEIGHT, LEFT, TOP, INNER_WIDTH = 760, 560, 60, 30, 670
PANEL_HEIGHT, GAP = 200, 70

TEXT = """# The store while it grows

What one core does with an index that grows from nothing, without a key count in the configuration
([decision 7](../decisions/0007-index-segments.md)). Made by `tests/bench/growth_report.py` from

```sh
build-test/tests/unit/store/store_growth_bench growth {keys} --json growth.json
build-test/tests/unit/store/store_growth_bench expiry 10000000 > expiry.txt
```

Keys of 16 bytes, values of 8; one pass of upkeep with each 32 inserts; a reclaimer thread as in the server. Look-ups are
batches of 32 random keys that are there, with the full key compared and the value touched; beside them rte_hash's own
bulk look-up of the same keys, in one table made for exactly that number, with the same comparison. Both are the best
of five rounds, turn and turn about. EAL without hugepages (4 KiB pages), on a shared virtual machine with other work on
its two cores: compare columns, not machines.

| keys | inserts/s | look-ups/s | rte_hash alone | ratio | index bytes per key: average since the row above | least | most | growth in a pass, 99.99 % | longest | passes over 200 us | segments | made by the worker itself |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
{rows}

"Growth in a pass" is all that growing added to one pass of the loop: the entries that its 32 writes moved, and the
upkeep at its end. Passes in which the kernel took the core away are left out; what the hypervisor took is not.
{moves}

![Index bytes per key, and look-ups, over the number of keys](growth.svg)

## Ten million keys expire

Nobody reads them; meanwhile 32 look-ups of other keys are served in each pass.

```
{expiry}
```

Passes in which the kernel took the core away are left out. Searching for expired items takes a quarter of the time
that passes and 30 us of a pass at most (and one slice more); freeing takes as long as the pass retired items, and
10 us more for what has piled up; moving items together 20 us.
"""


def million(value):
    return f"{value / 1e6:.2f} M"


def table_row(row):
    each, us = row["index_bytes_per_key"], row["growth_us"]
    return (f"| {row['keys']:,} | {million(row['inserts_per_s'])} | {million(row['lookups_per_s'])} | "
            f"{million(row['plain_lookups_per_s'])} | {row['lookups_per_s'] / row['plain_lookups_per_s']:.2f} | "
            f"{each['average']:.1f} | {each['least']:.1f} | {each['most']:.1f} | {us['p9999']:.0f} us | "
            f"{us['longest']:.0f} us | {us['over_200us']} | {row['segments']} | {row['emergencies']} |")


class Panel:
    """A diagram with a logarithmic x axis."""

    def __init__(self, top, y_max, title, x_range):
        self.top, self.y_max, self.x_range = top, y_max, [math.log10(x) for x in x_range]
        self.parts = [f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{title}</text>']
        for i in range(5):
            value = y_max * i / 4
            y = self.y(value)
            self.parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + INNER_WIDTH}" y2="{y:.1f}" stroke="#ddd"/>')
            self.parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for power in range(math.ceil(self.x_range[0]), math.floor(self.x_range[1]) + 1):
            x = self.x(10 ** power)
            self.parts.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + PANEL_HEIGHT}" stroke="#ddd"/>')
            self.parts.append(f'<text x="{x:.1f}" y="{top + PANEL_HEIGHT + 16}" text-anchor="middle">10^{power}</text>')

    def x(self, value):
        low, high = self.x_range
        return LEFT + INNER_WIDTH * (math.log10(value) - low) / (high - low)

    def y(self, value):
        return self.top + PANEL_HEIGHT * (1 - min(value, self.y_max) / self.y_max)

    def line(self, points, colour, label, number):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        self.parts.append(f'<text x="{LEFT + INNER_WIDTH - 8}" y="{self.top + 14 + 16 * number}" text-anchor="end" '
                          f'fill="{colour}">{label}</text>')


def plot(results):
    curve = [(keys, value) for keys, value in results["curve"] if keys >= 10000]
    rows = results["rows"]
    x_range = (curve[0][0], curve[-1][0])
    memory = Panel(TOP, 80, "Index bytes per key", x_range)
    memory.line(curve, "#1f5fa8", "nicached", 0)
    memory.line([(x, 40) for x in x_range], "#999", "aim: 40 on average", 1)
    rows_range = (rows[0]["keys"], rows[-1]["keys"])
    top = TOP + PANEL_HEIGHT + GAP
    fastest = max(row["plain_lookups_per_s"] for row in rows) / 1e6
    lookups = Panel(top, math.ceil(fastest / 4) * 4, "Million look-ups per second", rows_range)
    for number, (name, colour, label) in enumerate((("lookups_per_s", "#1f5fa8", "nicached"),
                                                    ("plain_lookups_per_s", "#b5531c", "rte_hash alone"))):
        lookups.line([(row["keys"], row[name] / 1e6) for row in rows], colour, label, number)
    body = "\n".join(memory.parts + lookups.parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')


def main():
    results = json.loads(pathlib.Path(sys.argv[1]).read_text())
    rows = results["rows"]
    expiry = [line for line in pathlib.Path(sys.argv[2]).read_text().splitlines() if not line.startswith("(")]
    last = rows[-1]
    moves = (f"Between the last two rows each insert moved {last['moves_per_insert']:.1f} entries on average.")
    text = TEXT.format(keys=last["keys"], rows="\n".join(map(table_row, rows)), moves=moves, expiry="\n".join(expiry))
    (FOLDER / "growth.md").write_text(text)
    (FOLDER / "growth.svg").write_text(plot(results))


if __name__ == "__main__":
    main()
