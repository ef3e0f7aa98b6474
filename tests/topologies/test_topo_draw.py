"""Pictures of fabrics: what they show of small ones, byte by byte, and that large ones stay legible.

GOLDEN_UPDATE=1 writes the golden files anew; look at the pictures before keeping them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from testbed.topologies.build import KINDS, make_fabric
from testbed.topologies.draw import draw_mermaid, draw_text
from testbed.topologies.fabric import Fabric
from testbed.topologies.impairment import Impairment
from testbed.topologies.layout import BOX, MOST_IN_A_ROW, collapsed, layout
from testbed.topologies.svg import draw_svg

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "drawings"
SMALL = {
    "leaf_spine": {},
    "ring": {"switches": 5},
    "torus": {"x": 3, "y": 3},
    "lattice": {},
    "dumbbell": {},
    "dragonfly": {"a": 2, "p": 1, "h": 1},
}
LARGE = {
    "fat_tree": {"k": 16},
    "leaf_spine": {"spines": 8, "leaves": 32, "hosts_per_leaf": 32},
    "clos": {"pods": 16, "leaves": 8, "aggregations": 4, "cores": 4, "oversubscription": 2},
    "star": {"hosts": 1024},
    "ring": {"switches": 256, "hosts_per_switch": 4},
    "torus": {"x": 16, "y": 16, "z": 4},
    "dragonfly": {"a": 8, "p": 4, "h": 4},
    "lattice": {"rows": 32, "columns": 32},
    "bcube": {"n": 4, "levels": 5},
    "dumbbell": {"left": 512, "right": 512},
}


def golden(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("GOLDEN_UPDATE"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"differs from {name}; if meant: GOLDEN_UPDATE=1"


def impaired(built: Fabric) -> Fabric:
    way = Impairment(delay_ns=5000, jitter_ns=1000)
    return replace(built, links=tuple(replace(link, ab=way) for link in built.links))


@pytest.mark.parametrize("kind", SMALL)
def test_the_picture_is_the_golden_one(kind):
    golden(f"{kind}.svg", draw_svg(make_fabric(kind, SMALL[kind])))


def test_what_links_do_stands_at_them_where_there_is_room_and_in_tooltips_always():
    few, many = impaired(make_fabric("dumbbell")), impaired(make_fabric("fat_tree", {"k": 8}))
    assert "5us +- 1us uniform / clean</text>" in draw_svg(few)
    assert "5us +- 1us uniform / clean</text>" not in draw_svg(many)
    assert "<title>left&lt;-&gt;right: 5us +- 1us uniform / clean</title>" in draw_svg(few)


def texts(svg: str) -> list[str]:
    """What is written in a picture; also checks that it is XML."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_node_of_a_small_fabric_is_named_in_every_language(kind):
    built = make_fabric(kind)
    written = " ".join(texts(draw_svg(built)))
    for node in built.switches or built.hosts:
        assert node in written
    for drawing in (draw_mermaid(built), draw_text(built)):
        nodes = {node for box in collapsed(built) for node in box.nodes if len(box.nodes) == 1}
        assert all(node in drawing for node in nodes)


@pytest.mark.parametrize("kind", LARGE)
def test_a_thousand_hosts_stay_legible(kind):
    """No box lies on another, none is beside the paper, and no row has more boxes than an eye can follow."""
    built = make_fabric(kind, LARGE[kind])
    assert len(built.hosts) >= 1024
    drawing = layout(built)
    shown = [node for box in drawing.boxes for node in box.nodes]
    assert sorted(shown) == sorted((*built.hosts, *built.switches)), "each node stands in exactly one box"
    placed = sorted(drawing.boxes, key=lambda box: box.x - box.width / 2)
    for number, one in enumerate(placed):
        for other in placed[number + 1 :]:
            if other.x - other.width / 2 >= one.x + one.width / 2:
                break
            assert abs(one.y - other.y) >= BOX, f"{one.title} lies on {other.title}"
    drawn = sum(len(links) for links in (*drawing.links.values(), *drawing.open.values()))
    inside = {node: number for number, box in enumerate(drawing.boxes) for node in box.nodes}
    assert drawn == sum(inside[link.a.node] != inside[link.b.node] for link in built.links)
    on_a_grid = kind in ("torus", "lattice")
    tiers = [box.tier for box in drawing.boxes]
    assert on_a_grid or max(tiers.count(tier) for tier in tiers) <= MOST_IN_A_ROW
    ElementTree.fromstring(draw_svg(built))
    assert len(draw_mermaid(built).splitlines()) <= 1 + 4 * MOST_IN_A_ROW + 800
    assert len(draw_text(built).splitlines()) <= 1 + 6 * MOST_IN_A_ROW


def test_groups_say_what_is_in_them():
    drawing = draw_mermaid(make_fabric("fat_tree", {"k": 16}))
    assert '["pod3<br/>8 × edge"]' in drawing
    assert '(("pod3<br/>64 × host"))' in drawing
    assert '["core1 – core64<br/>64 × core"]' in drawing
    told = draw_text(make_fabric("star", {"hosts": 1024}))
    assert "  switch1                         host1–host1024*1024\n" in told
    assert "  host1 – host1024 (1024 × host)  switch1*1024\n" in told


def test_mermaid_draws_a_dumbbell():
    golden("dumbbell.mermaid", draw_mermaid(make_fabric("dumbbell")))


def test_a_node_whose_name_is_markup_can_not_break_the_picture():
    from mininet.topo import Topo

    from testbed.topologies.build import fabric

    topo = Topo()
    for name in ("h1", "h2"):
        topo.addHost(name, group="<b>&")
    topo.addLink("h1", "h2")
    assert "h1" in texts(draw_svg(fabric(topo, "a<b>&c")))
