"""Schedules as pictures: every step is there, and what may follow."""

from __future__ import annotations

from xml.etree import ElementTree

from testbed.explore.breadth import Search
from testbed.explore.flp import Stays
from testbed.explore.model import Time, model_of
from testbed.explore.worlds import Rules, Verb, Worlds
from testbed.report.schedule_diagram import schedule_diagram

SVG = "{http://www.w3.org/2000/svg}"


def parts(svg: str, tag: str, kind: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(svg).iter(f"{SVG}{tag}") if one.get("class") == kind]


def words(svg: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_step_is_a_row_and_every_message_that_comes_an_arrow_down_from_its_sender() -> None:
    stays = Stays(Worlds(model_of("paxos", inputs="random", seed=5), Rules()))
    ever = stays.ever(24)
    svg = schedule_diagram(stays.worlds, ever.steps, "paxos", ever.ways)
    steps = [*ever.steps, *(step for way in ever.ways.values() for step in way)]
    arrows = parts(svg, "line", "deliver")
    assert len(arrows) == sum(step.verb is Verb.DELIVER for step in steps)
    assert all(float(arrow.get("y1", "")) < float(arrow.get("y2", "")) for arrow in arrows)
    assert len(parts(svg, "circle", "fire")) == sum(step.verb is Verb.FIRE for step in steps)
    assert [one for one in words(svg) if one.isdigit()] == [
        str(row + 1) for way in (ever.steps, *dict(sorted(ever.ways.items())).values()) for row in range(len(way))
    ]
    said = " ".join(words(svg))
    assert "n1 hears n0: prepare, ballot 1" in said
    assert "decides 0" in said
    assert "decides 1" in said


def test_what_is_lost_and_who_dies_is_crossed_out() -> None:
    worlds = Worlds(model_of("link", time=Time.TIMELY), Rules(drops=1))
    svg = schedule_diagram(worlds, Search(worlds).run().path, "link")
    assert len(parts(svg, "path", "drop")) == 1
    assert any("does not hear" in one for one in words(svg))
    worlds = Worlds(model_of("floodset", f=1, pitfalls=["one_round_short"]), Rules(crashes=1))
    svg = schedule_diagram(worlds, Search(worlds).run().path, "floodset")
    assert len(parts(svg, "path", "died")) == 1
    assert any(one.endswith(", and dies") for one in words(svg))
