"""Plots as SVG, without a library: bars with their spread, and latency by percentile."""

import math
from html import escape

COLOURS = {"nicached": "#1f6fb2", "nicached, poll-mode busy": "#7fb4e0", "redis-server": "#d1602f",
           "memcached": "#3d8f4d", "testpmd 5tswap": "#8457a8"}
OTHER_COLOUR = "#8a8a8a"
FONT = 'font-family="sans-serif" font-size="12"'
PERCENTILES = (0, 0.5, 0.9, 0.99, 0.999, 0.9999)
PERCENTILE_RANGE = 4.0     # decades of 1 / (1 - q)
BAR, GAP, LEFT, WIDTH, RIGHT = 13, 12, 250, 560, 150
PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 300, 260, 55


def percentile_position(quantile):
    """0 at the least, 1 at p90, 2 at p99, ..."""
    return min(PERCENTILE_RANGE, -math.log10(max(1 - quantile, 1e-12)))


def _colour(name):
    return COLOURS.get(name, OTHER_COLOUR)


def _document(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" {FONT}>\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def _text(x, y, text, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _line(x1, y1, x2, y2, colour="#dddddd", width=1.0):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def _short(value):
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"


class _Decades:
    """A logarithmic axis over whole decades."""

    def __init__(self, values, start, length):
        positive = [value for value in values if value > 0]
        self.low = math.floor(math.log10(min(positive)))
        self.high = max(math.ceil(math.log10(max(positive))), self.low + 1)
        self.start, self.length = start, length

    def at(self, value):
        share = (math.log10(max(value, 10.0 ** self.low)) - self.low) / (self.high - self.low)
        return self.start + share * self.length

    def ticks(self):
        return [10.0 ** exponent for exponent in range(self.low, self.high + 1)]


def _bar(axis, y, name, values):
    middle = sorted(values)[len(values) // 2]
    low, high = axis.at(min(values)), axis.at(max(values))
    return [f'<rect x="{LEFT}" y="{y}" width="{max(axis.at(middle) - LEFT, 1):.1f}" height="{BAR - 2}" '
            f'fill="{_colour(name)}"/>',
            _line(low, y + BAR / 2 - 1, high, y + BAR / 2 - 1, "black", 1.5),
            _text(max(axis.at(middle), high) + 6, y + BAR - 3, f"{name} {_short(middle)}", more='font-size="10"')]


def throughput(groups):
    """groups: [(title, Group)]. Ours, the peers' and published figures; a logarithmic axis."""
    values = [value for _, each in groups for line in each.lines for value in (line.ours, *line.peers.values())]
    axis = _Decades(values, LEFT, WIDTH)
    parts, y = [], 40
    for title, each in groups:
        parts.append(_text(LEFT - 8, y + BAR - 2, title, "end"))
        bars = [("nicached", [line.ours for line in each.lines])]
        bars += [(name, [line.peers[name] for line in each.lines if name in line.peers]) for name in each.peers()]
        bars += [(f"{name}, published", [value]) for name, value in each.first.bars.items()]
        for name, figures in bars:
            parts += _bar(axis, y, name, figures)
            y += BAR
        y += GAP
    grid = [_line(axis.at(tick), 32, axis.at(tick), y) for tick in axis.ticks()]
    grid += [_text(axis.at(tick), 28, _short(tick), "middle") for tick in axis.ticks()]
    grid.append(_text(8, 14, "requests, packets, keys or bytes a second (of a busy core, of CPU, or by the clock: see "
                             "the report); median, smallest to largest"))
    return _document(LEFT + WIDTH + RIGHT, y + 10, grid + parts)


def _panel(x, title, curves, axis):
    parts = [_text(x + PANEL_WIDTH / 2, 20, title, "middle", 'font-weight="bold"')]
    bottom = MARGIN + PANEL_HEIGHT - 25
    def across(position):
        return x + position / PERCENTILE_RANGE * PANEL_WIDTH
    for quantile in PERCENTILES:
        place = across(percentile_position(quantile))
        parts += [_line(place, 30, place, bottom), _text(place, bottom + 16, f"{100 * quantile:g}", "middle",
                                                         'font-size="10"')]
    for tick in axis.ticks():
        parts += [_line(x, axis.at(tick), x + PANEL_WIDTH, axis.at(tick)),
                  _text(x - 5, axis.at(tick) + 4, _short(tick), "end", 'font-size="10"')]
    for name, points in curves.items():
        path = " ".join(f"{across(position):.1f},{axis.at(value):.1f}" for position, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{_colour(name)}" stroke-width="1.8"/>')
    return parts


def latency(panels):
    """panels: {title: {name: [(percentile position, us)]}}; one logarithmic axis of us for all."""
    values = [value for curves in panels.values() for points in curves.values() for _, value in points]
    bottom = MARGIN + PANEL_HEIGHT - 25
    axis = _Decades(values, bottom, 30 - bottom)
    parts, x = [], MARGIN
    for title, curves in panels.items():
        parts += _panel(x, title, curves, axis)
        x += PANEL_WIDTH + MARGIN
    names = list(next(iter(panels.values())))
    for index, name in enumerate(names):
        place = MARGIN + index * 190
        parts += [_line(place, bottom + 38, place + 22, bottom + 38, _colour(name), 2),
                  _text(place + 28, bottom + 42, name)]
    parts.append(_text(x - MARGIN, bottom + 42, "latency in us by percentile", "end"))
    return _document(x, bottom + 56, parts)


def sizes(curves):
    """curves: {name: [(bytes of a value, bytes a second)]}; both axes logarithmic."""
    points = [point for curve in curves.values() for point in curve]
    bottom = MARGIN + PANEL_HEIGHT - 25
    axis = _Decades([rate for _, rate in points], bottom, 30 - bottom)
    wide = _Decades([size for size, _ in points], MARGIN, 2 * PANEL_WIDTH)
    parts = []
    for tick in axis.ticks():
        parts += [_line(MARGIN, axis.at(tick), MARGIN + 2 * PANEL_WIDTH, axis.at(tick)),
                  _text(MARGIN - 5, axis.at(tick) + 4, _short(tick), "end", 'font-size="10"')]
    for size in sorted({size for size, _ in points}):
        parts += [_line(wide.at(size), 30, wide.at(size), bottom),
                  _text(wide.at(size), bottom + 16, _short(size), "middle", 'font-size="10"')]
    for index, (name, curve) in enumerate(curves.items()):
        path = " ".join(f"{wide.at(size):.1f},{axis.at(rate):.1f}" for size, rate in curve)
        place = MARGIN + index * 190
        parts += [f'<polyline points="{path}" fill="none" stroke="{_colour(name)}" stroke-width="1.8"/>',
                  _line(place, bottom + 38, place + 22, bottom + 38, _colour(name), 2),
                  _text(place + 28, bottom + 42, name)]
    parts.append(_text(MARGIN, 18, "bytes of values a second, of a busy core or of CPU, by the size of a value"))
    return _document(2 * (MARGIN + PANEL_WIDTH), bottom + 56, parts)
