"""A fabric as a picture: SVG, without a library; people zoom into it, so text is text and every line has a tooltip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import hypot, log2
from typing import NamedTuple

from testbed.topologies.draw import link_label
from testbed.topologies.fabric import Fabric, Link
from testbed.topologies.layout import BOX, LETTER, Box, Drawing, layout

MARGIN = 40.0
MOST_LABELS = 24  # links whose impairments are written at them; more would lie over each other
STUB = 22.0  # px: what is drawn of a link that leads around the grid
HOST = "#ffffff"
FILLS = ("#d7e8f7", "#fbe3c4", "#dcedd0", "#ead9ee")  # of switches, by tier
STRUCK = "#a33b00"
STYLE = (
    ".fabric text{font:12px sans-serif;text-anchor:middle;fill:#1d2733}.fabric .s{font-size:11px;fill:#51606f}"
    ".fabric .w{paint-order:stroke;stroke:#ffffff;stroke-width:4px}.fabric rect{stroke:#44525f}"
    ".fabric .l{stroke:#8796a5;fill:none}.fabric .o{stroke:#8796a5;stroke-dasharray:3 3;fill:none}"
)
"""Scoped: the picture may stand inside a page."""
MARKED = f".fabric .m{{stroke:{STRUCK};fill:none}}.fabric .t{{fill:{STRUCK};font-weight:700}}"


class Mark(NamedTuple):
    """Something that befalls a node (its name), or the NIC at one end of a link, or a link (nodes: its ends, the struck
    one first; nic: whether it is that end's NIC alone). text: what is written there; title: what is told of it."""

    nodes: tuple[str, ...]
    nic: bool
    text: str
    title: str


def draw_svg(fabric: Fabric, marks: Sequence[Mark] = (), most_labels: int = MOST_LABELS) -> str:
    """The whole picture, with crosses at what is marked; equal fabrics give equal text. most_labels: links up to which
    their impairments are written at them."""
    drawing = layout(fabric)
    boxes = drawing.boxes
    left = min(box.x - box.width / 2 for box in boxes) - MARGIN
    bends = [bent[0] for one, other in drawing.links if (bent := _bent(boxes, boxes[one], boxes[other]))]
    right = max([box.x + box.width / 2 for box in boxes] + bends) + MARGIN
    top = min([box.y for box in boxes] + [y for _, y, _ in drawing.captions]) - BOX / 2 - MARGIN
    bottom = max(box.y for box in boxes) + BOX / 2 + MARGIN
    title = f"{fabric.name}: {len(fabric.hosts)} hosts, {len(fabric.switches)} switches, {len(fabric.links)} links"
    width, height = max(right - left, len(title) * LETTER + MARGIN), bottom - top + 40
    left -= (width - (right - left)) / 2  # under a title that is wider, the fabric stands in the middle
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="{left:.0f} {top - 40:.0f} {width:.0f} {height:.0f}"'
    return "\n".join(
        [
            f'<svg class="fabric" xmlns="http://www.w3.org/2000/svg" role="img" {size}>',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}{MARKED if marks else ''}</style>",
            f'<rect x="{left:.0f}" y="{top - 40:.0f}" width="{width:.0f}" height="{height:.0f}" fill="#ffffff" '
            'style="stroke:none"/>',
            *_open(drawing),
            *_links(drawing, most_labels),
            *(_box(box) for box in boxes),
            *(_text(x, y, "", text) for x, y, text in drawing.captions),
            *_marks(drawing, marks),
            f'<text x="{left + MARGIN / 2:.0f}" y="{top - 12:.0f}" style="text-anchor:start">{escape(title)}</text>',
            "</svg>",
            "",
        ]
    )


def _links(drawing: Drawing, most_labels: int) -> Iterator[str]:
    named = len(drawing.links) <= most_labels
    labels = []
    for (one, other), links in drawing.links.items():
        a, b = drawing.boxes[one], drawing.boxes[other]
        thick = 1 + log2(len(links)) / 2
        bent = _bent(drawing.boxes, a, b)
        way = f"M{a.x:.1f} {a.y:.1f}" + (f"Q{bent[0]:.1f} {bent[1]:.1f} " if bent else "L") + f"{b.x:.1f} {b.y:.1f}"
        yield f'<path class="l" stroke-width="{thick:.1f}" d="{way}"><title>{_told(links)}</title></path>'
        label = link_label(links[0])
        if named and label:
            labels.append(_text((a.x + b.x) / 2, (a.y + b.y) / 2 - 4, "s w", label))
    yield from labels


def _bent(boxes: Sequence[Box], a: Box, b: Box) -> tuple[float, float] | None:
    """Where a line bends that would else run through a third box of the same row or column."""
    if a.y == b.y and any(box.y == a.y and min(a.x, b.x) < box.x < max(a.x, b.x) for box in boxes):
        return (a.x + b.x) / 2, a.y - BOX - abs(a.x - b.x) / 4
    if a.x == b.x and any(box.x == a.x and min(a.y, b.y) < box.y < max(a.y, b.y) for box in boxes):
        return a.x + (a.width + b.width) / 2 + abs(a.y - b.y) / 4, (a.y + b.y) / 2
    return None


def _open(drawing: Drawing) -> Iterator[str]:
    """Stubs, at both ends, away from each other."""
    for (one, other), links in drawing.open.items():
        for here, there in ((one, other), (other, one)):
            a, b = drawing.boxes[here], drawing.boxes[there]
            length = hypot(b.x - a.x, b.y - a.y)
            dx, dy = (a.x - b.x) / length, (a.y - b.y) / length
            reach = min(a.width / 2 / abs(dx) if dx else BOX, BOX / 2 / abs(dy) if dy else a.width) + STUB
            yield (
                f'<path class="o" d="M{a.x:.1f} {a.y:.1f}L{a.x + dx * reach:.1f} {a.y + dy * reach:.1f}">'
                f"<title>{_told(links)}</title></path>"
            )


def _box(box: Box) -> str:
    fill = HOST if box.is_host else FILLS[(box.tier - 1) % len(FILLS)]
    round_ = 14 if box.is_host else 3
    shape = (
        f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y - BOX / 2:.1f}" width="{box.width:.1f}" height="{BOX:.0f}" '
        f'rx="{round_}" fill="{fill}"/>'
    )
    if not box.subtitle:
        return f"<g>{shape}{_text(box.x, box.y + 4, '', box.title)}</g>"
    lines = _text(box.x, box.y - 3, "", box.title) + _text(box.x, box.y + 12, "s", box.subtitle)
    whole = f"<title>{escape(', '.join(box.nodes))}</title>" if len(box.nodes) <= 64 else ""
    return f"<g>{shape}{lines}{whole}</g>"


def _text(x: float, y: float, style: str, text: str) -> str:
    chosen = f' class="{style}"' if style else ""
    return f'<text{chosen} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _marks(drawing: Drawing, marks: Sequence[Mark]) -> Iterator[str]:
    """A cross, what is written there beside it, and round a node, or a box with it inside, a dashed line."""
    box_of = {node: box for box in drawing.boxes for node in box.nodes}
    for mark in marks:
        boxes = [box_of[node] for node in mark.nodes]
        here, there = boxes[0], boxes[-1]
        if here is there:
            x, y = here.x + here.width / 2, here.y - BOX / 2
            around = (
                f'<rect x="{here.x - here.width / 2 - 5:.1f}" y="{here.y - BOX / 2 - 5:.1f}" '
                f'width="{here.width + 10:.1f}" height="{BOX + 10:.0f}" rx="6" class="m" '
                f'style="stroke:{STRUCK};stroke-width:2;stroke-dasharray:5 3"/>'
            )
        else:
            length = hypot(there.x - here.x, there.y - here.y)
            share = min(0.45, (BOX / 2 + 18) / length) if mark.nic else 0.5
            x, y, around = here.x + (there.x - here.x) * share, here.y + (there.y - here.y) * share, ""
        cross = f'<path class="m" style="stroke-width:3" d="M{x - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12"/>'
        words = (
            f'<text class="t w" x="{x + 10:.1f}" y="{y + 4:.1f}" style="text-anchor:start">{escape(mark.text)}</text>'
        )
        yield f"<g><title>{escape(mark.title)}</title>{around}{cross}{words}</g>"


def _told(links: Sequence[Link]) -> str:
    """A line's tooltip."""
    if len(links) > 1:
        return escape(f"{len(links)} links: {links[0].name}, ... {links[-1].name}")
    label = link_label(links[0])
    return escape(links[0].name + (f": {label}" if label else ""))
