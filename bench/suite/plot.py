"""Lines over two logarithmic axes, as SVG. Equal factors are equal distances:
growth by a power is a straight line, and a curve shows at once."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 170, 40, 50
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#a16207", "#be123c",
           "#334155", "#0f766e")


class _Axis:
    """Maps values onto pixels; covers all of `values` and whole ticks."""

    def __init__(self, values, first, last):
        self.low = math.log10(min(values))
        self.high = math.log10(max(values))
        if self.high - self.low < 0.3:  # A line of nearly equal values.
            middle = (self.high + self.low) / 2
            self.low, self.high = middle - 0.15, middle + 0.15
        margin = (self.high - self.low) * 0.05
        self.low -= margin
        self.high += margin
        self.first, self.last = first, last

    def at(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def ticks(self):
        found = []
        digits = (1, 2, 5) if self.high - self.low > 0.8 else range(1, 10)
        for power in range(math.floor(self.low), math.ceil(self.high) + 1):
            for digit in digits:
                value = digit * 10.0 ** power
                if self.low <= math.log10(value) <= self.high:
                    found.append(value)
        return found


def _label(value):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _text(x, y, content, anchor="middle", extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>'
            f"{escape(content)}</text>")


def svg(series):
    """`series` as Section.draw keeps it. Values must be positive."""
    points = [point for line in series["lines"].values() for point in line]
    xs = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    ys = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
        f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, TOP - 18, series["title"], "start",
              ' font-size="14" font-weight="bold"')]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in xs.ticks():
        x = xs.at(value)
        parts += [f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#e5e7eb"/>',
                  _text(x, bottom + 16, _label(value))]
    for value in ys.ticks():
        y = ys.at(value)
        parts += [f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#e5e7eb"/>',
                  _text(LEFT - 6, y + 4, _label(value), "end")]
    parts += [
        f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" '
        'stroke="#111827"/>',
        _text((LEFT + right) / 2, HEIGHT - 12, series["x"]),
        _text(0, 0, series["y"], "middle",
              f' transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)"')]
    for number, (name, line) in enumerate(series["lines"].items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{xs.at(x):.1f} {ys.at(y):.1f}" for x, y in line)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" '
                     'stroke-width="2"/>')
        parts += [f'<circle cx="{xs.at(x):.1f}" cy="{ys.at(y):.1f}" r="3" '
                  f'fill="{colour}"/>' for x, y in line]
        y = TOP + 10 + 18 * number
        parts += [f'<rect x="{right + 12}" y="{y - 8}" width="10" height="10" '
                  f'fill="{colour}"/>',
                  _text(right + 28, y + 1, name, "start")]
    return "\n".join(parts) + "\n</svg>\n"
