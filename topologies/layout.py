"""Where the nodes of a fabric stand on paper. Large ones are drawn as groups: hosts by switch, switches by pod.

layered   a row per tier, hosts at the bottom: fabrics whose switches stand in tiers, and all that are of no other kind
circle    switches round a circle, their hosts in their boxes: rings, dragonflies and others of one tier
grid      by the places that the fabric's class gives (``Place.at``); the third dimension is a grid beside the last one
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import cos, pi, sin

from testbed.topologies.fabric import Fabric, Link

MOST_IN_A_ROW = 40
LETTER, PADDING, GAP = 7.0, 10.0, 14.0  # widths in px: a letter of 12 px, what is left and right of text, between boxes
ROW, BOX = 120.0, 40.0  # heights in px: from one row to the next, of a box


@dataclass
class Box:
    """One node, or several drawn as one. title, subtitle: its two lines of text. x, y: its middle."""

    nodes: tuple[str, ...]
    title: str
    subtitle: str
    tier: int
    is_host: bool
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        """Of the box, in px."""
        return max(len(self.title), len(self.subtitle)) * LETTER + 2 * PADDING


@dataclass
class Drawing:
    """boxes; links between two boxes (places in ``boxes``), all of a pair together; open: links of a grid that lead
    around it or to the next layer. captions: text and where."""

    boxes: list[Box]
    links: dict[tuple[int, int], list[Link]] = field(default_factory=dict)
    open: dict[tuple[int, int], list[Link]] = field(default_factory=dict)
    captions: list[tuple[float, float, str]] = field(default_factory=list)


def layout(fabric: Fabric) -> Drawing:
    """The drawing that suits the fabric."""
    if _on_a_grid(fabric):
        return _grid(fabric)
    tiers = {fabric.place(switch).tier for switch in fabric.switches}
    among = any(link.a.node in fabric.forwarding and link.b.node in fabric.forwarding for link in fabric.links)
    drawing = Drawing(collapsed(fabric, hosts_with_switches=len(tiers) == 1 and among))
    if len(tiers) == 1 and among:
        _circle(drawing)
    else:
        _rows(drawing)
    _join(drawing, fabric)
    return drawing


def collapsed(fabric: Fabric, hosts_with_switches: bool = False) -> list[Box]:
    """The boxes of a fabric, tier by tier: the finest that make no more than MOST_IN_A_ROW of each.

    hosts_with_switches: hosts stand in the boxes of their switches, where each has but one.
    """
    access = _access(fabric)
    rows: dict[int, list[str]] = defaultdict(list)
    for node in (*fabric.hosts, *fabric.switches):
        if not (hosts_with_switches and node in access):
            rows[fabric.place(node).tier].append(node)
    boxes: list[Box] = []
    for tier in sorted(rows):
        boxes += _row(fabric, tier, rows[tier], access)
    if hosts_with_switches:
        for box in boxes:
            inside = [host for host in fabric.hosts if access.get(host) in box.nodes]
            box.subtitle = ", ".join(filter(None, (box.subtitle, _span(inside, "hosts"))))
            box.nodes += tuple(inside)
    return boxes


def _row(fabric: Fabric, tier: int, nodes: list[str], access: dict[str, str]) -> list[Box]:
    finest: list[Callable[[str], str]] = [
        lambda node: node,
        lambda node: access.get(node, node),
        _arc(fabric, nodes),
        lambda node: fabric.place(node).group or fabric.place(node).role,
        lambda node: fabric.place(node).role,
    ]
    for key in finest:
        parts: dict[str, list[str]] = defaultdict(list)
        for node in nodes:
            parts[key(node)].append(node)
        if len(parts) <= MOST_IN_A_ROW:
            break
    return [_box(fabric, tier, name, members) for name, members in parts.items()]


def _arc(fabric: Fabric, nodes: Sequence[str]) -> Callable[[str], str]:
    """Neighbours on a ring together."""
    at = {node: place[0] for node in nodes if len(place := fabric.place(node).at) == 1}
    whole = 1 + max(at.values(), default=0)
    return lambda node: f"arc {at[node] * MOST_IN_A_ROW // whole}" if node in at else node


def _box(fabric: Fabric, tier: int, name: str, members: list[str]) -> Box:
    is_host = members[0] not in fabric.forwarding
    if len(members) == 1:
        return Box((members[0],), members[0], "", tier, is_host)
    role = fabric.place(members[0]).role
    same = {fabric.place(member).group for member in members} == {name}
    title = name if same else f"{members[0]} – {members[-1]}"
    return Box(tuple(members), title, f"{len(members)} × {role}", tier, is_host)


def _span(hosts: Sequence[str], what: str) -> str:
    if len(hosts) < 2:
        return "".join(hosts)
    return f"{hosts[0]}, {hosts[1]}" if len(hosts) == 2 else f"{len(hosts)} {what}"


def _access(fabric: Fabric) -> dict[str, str]:
    """Host -> its switch, of hosts with one link, which leads to a switch."""
    far: dict[str, list[str]] = defaultdict(list)
    for link in fabric.links:
        far[link.a.node].append(link.b.node)
        far[link.b.node].append(link.a.node)
    return {host: far[host][0] for host in fabric.hosts if len(far[host]) == 1 and far[host][0] in fabric.forwarding}


def joined(boxes: Sequence[Box], fabric: Fabric) -> list[tuple[int, int, list[Link]]]:
    """The pairs of boxes (by number) with links between them, as the links stand; those inside a box are left out."""
    box_of = {node: number for number, box in enumerate(boxes) for node in box.nodes}
    found: dict[tuple[int, int], list[Link]] = {}
    for link in fabric.links:
        one, other = box_of[link.a.node], box_of[link.b.node]
        if one != other:
            found.setdefault((other, one) if (other, one) in found else (one, other), []).append(link)
    return [(one, other, links) for (one, other), links in found.items()]


def _join(drawing: Drawing, fabric: Fabric) -> None:
    drawing.links = {(one, other): links for one, other, links in joined(drawing.boxes, fabric)}


# -- layered -----------------------------------------------------------------------------------------------------


def _rows(drawing: Drawing) -> None:
    rows: dict[int, list[Box]] = defaultdict(list)
    for box in drawing.boxes:
        rows[box.tier].append(box)
    pitch = {tier: max(box.width for box in row) + GAP for tier, row in rows.items()}
    whole = max(pitch[tier] * len(row) for tier, row in rows.items())
    for place, tier in enumerate(sorted(rows, reverse=True)):
        row = rows[tier]
        for number, box in enumerate(row):
            box.x = whole * (number + 0.5) / len(row)
            box.y = place * ROW


# -- circle ------------------------------------------------------------------------------------------------------


def _circle(drawing: Drawing) -> None:
    """In order, the first one at the top, clockwise; two of them side by side."""
    boxes = [box for box in drawing.boxes if not box.is_host]
    beside = [box for box in drawing.boxes if box.is_host]
    widest = max(box.width for box in boxes)
    radius = max(len(boxes) * (widest + GAP) / (2 * pi) * 1.05, widest + 4 * GAP, BOX * 2)
    turned = -0.5 if len(boxes) == 2 else 0.0
    for number, box in enumerate(boxes):
        angle = 2 * pi * (number + turned) / len(boxes)
        box.x, box.y = radius * sin(angle), -radius * cos(angle)
    for number, box in enumerate(beside):  # hosts on several switches
        box.x, box.y = (number - (len(beside) - 1) / 2) * (box.width + GAP), radius + ROW


# -- grid --------------------------------------------------------------------------------------------------------


def _on_a_grid(fabric: Fabric) -> bool:
    """Whether switches, or where there are none hosts, have places in two or three dimensions."""
    return all(len(fabric.place(node).at) in (2, 3) for node in fabric.switches or fabric.hosts)


def _grid(fabric: Fabric) -> Drawing:
    nodes = fabric.switches or fabric.hosts
    access = _access(fabric)
    at = {node: fabric.place(node).at for node in nodes}
    hosts: dict[str, list[str]] = defaultdict(list)
    for host, switch in access.items():
        hosts[switch].append(host)
    boxes = [
        Box((node,), node, _span(hosts[node], "hosts"), fabric.place(node).tier, node in fabric.hosts) for node in nodes
    ]
    pitch = max(box.width for box in boxes) + 2 * GAP
    columns = 1 + max(place[0] for place in at.values())
    drawing = Drawing(boxes)
    for box in boxes:
        x, y, *layer = at[box.nodes[0]]
        box.x = (x + (layer[0] * (columns + 1) if layer else 0)) * pitch
        box.y = y * (BOX + 2.5 * GAP)
        box.nodes += tuple(hosts[box.nodes[0]])
    _join(drawing, fabric)
    far = {
        pair: links for pair, links in drawing.links.items() if not _next_to(*(at[boxes[end].nodes[0]] for end in pair))
    }
    drawing.open = far
    drawing.links = {pair: links for pair, links in drawing.links.items() if pair not in far}
    for number in sorted({place[2] for place in at.values() if len(place) == 3}):
        middle = (number * (columns + 1) + (columns - 1) / 2) * pitch
        drawing.captions.append((middle, -BOX - GAP, f"z = {number + 1}, linked place by place to the layers beside"))
    return drawing


def _next_to(one: Iterable[int], other: Iterable[int]) -> bool:
    (x, y, *layer), (u, v, *far_layer) = one, other
    return layer == far_layer and abs(x - u) <= 1 and abs(y - v) <= 1
