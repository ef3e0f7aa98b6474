"""Counts as bars: how often, over time and by name. SVG whose every bar says in words what it stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from testbed.report.canvas import GREY, VERMILION, Canvas

_BINS = 40
_NAMED = 12
_LETTER, _ROW = 7.2, 22.0  # px: of a letter, from one bar to the next


def over_rounds(broken: Sequence[int], rounds: int) -> str:
    """How many rounds broke, early and late in a run of so many."""
    width = max(1, -(-rounds // _BINS))
    bins = Counter(number // width for number in broken)
    most = max(bins.values(), default=1)
    canvas = Canvas(height=190)
    top, bottom, left = 26.0, 150.0, 56.0
    step = (canvas.width - left - 10) / -(-rounds // width)
    for index in range(-(-rounds // width)):
        first, last = index * width, min(rounds, (index + 1) * width) - 1
        where = f"rounds {first} to {last}" if last > first else f"round {first}"
        height = (bottom - top) * bins[index] / most
        title = f"{where}: {bins[index]} of {last - first + 1} broke"
        canvas.bar(left + index * step, bottom - height, max(1.0, step - 1), height, VERMILION, title)
    canvas.line(left, bottom, canvas.width - 10, bottom, GREY, "axis", 1.0)
    canvas.text(left - 6, top + 8, str(most), "count", "end", GREY)
    canvas.text(left - 6, bottom, "0", "count", "end", GREY)
    canvas.text(left, bottom + 18, "0", "round", "start", GREY)
    canvas.text(canvas.width - 10, bottom + 18, str(rounds - 1), "round", "end", GREY)
    canvas.text((left + canvas.width) / 2, bottom + 34, f"round; broken rounds in every {width}", "axis", colour=GREY)
    return canvas.svg(f"Broken rounds over time: {len(broken)} of {rounds}")


def by_name(counts: Mapping[str, int], what: str) -> str:
    """How many fall to each name, the most first. what: what is counted, in the plural."""
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    rest = sum(count for _, count in ranked[_NAMED:])
    rows = [*ranked[:_NAMED], *([(f"{len(ranked) - _NAMED} others", rest)] if rest else ())]
    left = 16 + _LETTER * max((len(name) for name, _ in rows), default=1)
    canvas = Canvas(height=14 + _ROW * len(rows))
    most = max((count for _, count in rows), default=1)
    for row, (name, count) in enumerate(rows):
        y = 6 + _ROW * row
        length = (canvas.width - left - 70) * count / most
        canvas.text(left - 8, y + 14, name, "name", "end")
        canvas.bar(left, y + 2, max(1.0, length), _ROW - 7, VERMILION, f"{name}: {count} {what}")
        canvas.text(left + length + 6, y + 14, f"{count:,}".replace(",", "\u202f"), "count", "start", GREY)
    total = sum(counts.values())
    return canvas.svg(f"{total} {what} by place: " + ", ".join(f"{name} {count}" for name, count in rows))
