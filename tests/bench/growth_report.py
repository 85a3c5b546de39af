#!/usr/bin/env python3
"""Makes docs/benchmarks/growth.md and growth.svg from the results of store_growth_bench with both indexes.

    growth_report.py RTE_HASH.json BUCKETS.json EXPIRY.txt FLUSH.txt [LARGER.txt]

LARGER.txt: what the program printed in a run with more keys.
"""
import json
import math
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
WIDTH, HEIGHT, LEFT, TOP, INNER_WIDTH = 760, 560, 60, 30, 670
PANEL_HEIGHT, GAP = 200, 70

TEXT = """# The store while it grows

What one core does with an index that grows from nothing and shrinks again, without a key count in the configuration: rte_hash
([decision 7](../decisions/0007-index-segments.md)) and buckets ([decision 14](../decisions/0014-buckets-beside-rte-hash.md)).
Made by `tests/bench/growth_report.py` from

```sh
STORE_INDEX=rte_hash build-bench/tests/unit/store/store_growth_bench growth {keys} --json rte_hash.json
STORE_INDEX=buckets build-bench/tests/unit/store/store_growth_bench growth {keys} --json buckets.json
build-bench/tests/unit/store/store_growth_bench expiry 10000000 > expiry.txt
build-bench/tests/unit/store/store_growth_bench flush 10000000 > flush.txt
```

Keys of 16 bytes, values of 8; one pass of upkeep with each 32 inserts; a reclaimer thread as in the server. Look-ups are
batches of 32 random keys that are there, with the full key compared and the value touched; beside them rte_hash's own
bulk look-up of the same keys, in one table made for exactly that number, with the same comparison. Both are the best
of five rounds, turn and turn about. Release build, EAL without hugepages (4 KiB pages), on a quiet virtual machine of two cores: one
for each index, at the same time; compare columns, not machines. What our look-ups lose with more keys beyond what rte_hash's own lose
shows in the column "ratio".
{tables}

![Index bytes per key, and look-ups, over the number of keys](growth.svg)

"Growth in a pass" is all that growing added to one pass of the loop: the entries that its 32 writes moved, and the
upkeep at its end. Passes in which the kernel took the core away are left out; what the hypervisor took is not. *Empty loop*: a loop that does
nothing, right after each stretch and for as long as growing took in it, measured in the same way: what the machine takes by itself.
"Shrinking" is the same while all keys are deleted, 32 in each pass, in the order in which they came. rte_hash's few long passes up to 10^5 keys are
its own: segments of up to 16,384 entries are made on the spot, two of them for one that divides, and their pages are new.
{moves}

{larger}## Ten million keys expire

Nobody reads them; meanwhile 32 look-ups of other keys are served in each pass.

```
{expiry}
```

Passes in which the kernel took the core away are left out. Searching for expired items takes a quarter of the time
that passes and 30 us of a pass at most (and one slice more); freeing takes as long as the pass retired items, and
10 us more for what has piled up; moving items together 20 us.

## Ten million keys are flushed

FLUSHALL itself takes no time: what there was is taken apart and freed in slices, 10 us in each pass and one slice more.

```
{flush}
```
"""

TABLE = """
## {title}

| keys | inserts/s | look-ups/s | rte_hash alone | ratio | index bytes per key: average since the row above | least | most | growth in a pass, 99.99 % | longest | passes over 200 us | empty loop: longest | over 200 us | segments | made by the worker itself |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
{rows}
"""


def million(value):
    return f"{value / 1e6:.2f} M"


def passes(us):
    return (f"{us['p9999']:.0f} us | {us['longest']:.0f} us | {us['over_200us']} | {us['empty_longest']:.0f} us | "
            f"{us['empty_over_200us']}")


def table_row(row):
    each = row["index_bytes_per_key"]
    return (f"| {row['keys']:,} | {million(row['inserts_per_s'])} | {million(row['lookups_per_s'])} | "
            f"{million(row['plain_lookups_per_s'])} | {row['lookups_per_s'] / row['plain_lookups_per_s']:.2f} | "
            f"{each['average']:.1f} | {each['least']:.1f} | {each['most']:.1f} | {passes(row['growth_us'])} | "
            f"{row['segments']} | {row['emergencies']} |")


def table(title, results):
    shrinking = results["shrinking"]
    rows = [table_row(row) for row in results["rows"]]
    rows.append(f"| shrinking to 0 | | | | | {shrinking['bytes_left']:,} bytes left | | | {passes(shrinking)} | | |")
    return TABLE.format(title=title, rows="\n".join(rows))


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


COLOURS = {"rte_hash": "#b5531c", "buckets": "#1f5fa8", "rte_hash alone": "#777"}


def plot(results):
    curves = {name: [(keys, value) for keys, value in one["curve"] if keys >= 10000] for name, one in results.items()}
    x_range = (10000, max(curve[-1][0] for curve in curves.values()))
    memory = Panel(TOP, 80, "Index bytes per key", x_range)
    for number, (name, curve) in enumerate(curves.items()):
        memory.line(curve, COLOURS[name], name, number)
    top = TOP + PANEL_HEIGHT + GAP
    fastest = max(max(row["lookups_per_s"], row["plain_lookups_per_s"]) for one in results.values()
                  for row in one["rows"]) / 1e6
    lookups = Panel(top, math.ceil(fastest / 4) * 4, "Million look-ups per second", x_range)
    lines = [(name, "lookups_per_s", one) for name, one in results.items()]
    lines.append(("rte_hash alone", "plain_lookups_per_s", results["rte_hash"]))
    for number, (name, figure, one) in enumerate(lines):
        lookups.line([(row["keys"], row[figure] / 1e6) for row in one["rows"]], COLOURS[name], name, number)
    body = "\n".join(memory.parts + lookups.parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')


LARGER = """## With more keys

rte_hash, then buckets, on the same machine while nothing else ran. The passes over 200 us are as many as those of the empty
loop, the machine's own; but for rte_hash between 10^6 and 10^7 keys: 13 of 400,000, against 1.

```
{text}
```

"""


def listing(path):
    return "\n".join(line for line in pathlib.Path(path).read_text().splitlines() if not line.startswith("("))


def main():
    results = {name: json.loads(pathlib.Path(path).read_text())
               for name, path in zip(("rte_hash", "buckets"), sys.argv[1:3])}
    last = results["rte_hash"]["rows"][-1]
    moves = f"Between the last two rows rte_hash moved {last['moves_per_insert']:.1f} entries for each insert on average."
    tables = "".join(table(name, one) for name, one in results.items())
    larger = LARGER.format(text=listing(sys.argv[5])) if len(sys.argv) > 5 else ""
    (FOLDER / "growth.md").write_text(TEXT.format(keys=last["keys"], tables=tables, moves=moves, larger=larger,
                                                  expiry=listing(sys.argv[3]), flush=listing(sys.argv[4])))
    (FOLDER / "growth.svg").write_text(plot(results))


if __name__ == "__main__":
    main()
