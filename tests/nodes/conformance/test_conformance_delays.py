"""What each engine costs without failures: message delays, counted on a fabric on which all messages take equally long.

The figures are those of the literature (Paxos 4, its leader-based kin 2, Fast Paxos and EPaxos 2, a round of Ben-Or 2,
phases 1 to 3 of Chandra and Toueg 3, the fourth tells the others), and the ones that docs/engines.md tells.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.nodes.consensus.spec import INSTANCES, LOG, EngineSpec
from testbed.nodes.core import Decide, Propose
from testbed.nodes.registry import engine_spec, engine_specs
from testbed.scenario import compile_plan, from_data

DOC = Path(__file__).resolve().parents[3] / "docs" / "engines.md"
DELAY_NS = 100_000  # of a message, over both links
LED_BY_NS = 20_000_000  # whoever leads does so by now
DECIDING = [spec for spec in engine_specs() if spec.decides]


class Delays(NamedTuple):
    """From a proposal until somebody knows the decision, until who proposed does, and until all do."""

    somebody: int
    proposer: int
    everybody: int


def counted(spec: EngineSpec, **parameters: object) -> list[Delays]:
    """Of all that was decided; in whole delays, for a window is a little longer than one."""
    hosts = 6 if spec.name == "hydra" else 5
    protocol = {"consensus": spec.name, "f": 1, "retry": "1ms", "parameters": parameters}
    if spec.made_of_swaps:
        protocol |= {"rounds": 30, "handshake": "simultaneous", "window": "101us", "period": "101us"}
    else:
        protocol |= {"instances": 12, "window": "1ms", "period": "5ms"}
    scenario = {
        "name": "delays",
        "topology": {"kind": "star", "hosts": hosts},
        "links": {"default": {"delay": f"{DELAY_NS // 2000}us"}},
        "protocol": protocol,
    }
    history = SimEngine(hops=False).run(compile_plan(from_data(scenario)))
    return _of(history, spec, hosts)


def _of(history: History, spec: EngineSpec, hosts: int) -> list[Delays]:
    asked: dict[object, tuple[int, str]] = {}
    decided: dict[object, dict[str, int]] = {}
    for t_ns, node, what in history.events.of_kind(Propose, Decide):
        assert isinstance(what, Propose | Decide)
        key = what.instance if spec.order == INSTANCES else what.value
        if isinstance(what, Propose):
            asked.setdefault(key, (t_ns, node))
        else:
            decided.setdefault(key, {}).setdefault(node, t_ns)
    found = []
    for key, (t_ns, node) in asked.items():
        times = decided.get(key, {})
        if len(times) == hosts and (spec.made_of_swaps or t_ns >= LED_BY_NS):
            ends = min(times.values()), times[node], max(times.values())
            found.append(Delays(*((end - t_ns) // DELAY_NS for end in ends)))
    return found


def documented() -> dict[str, Delays]:
    """The table of docs/engines.md."""
    rows = re.findall(
        r"^\| \[(\w+)\]\(.*?\) \|(?:[^|]*\|){3} (\d+) \| (\d+) \| (\d+) \|", DOC.read_text(), re.MULTILINE
    )
    return {name: Delays(*map(int, figures)) for name, *figures in rows}


LITERATURE = {
    "paxos": 4,
    "multi_paxos": 2,
    "raft": 2,
    "vrr": 2,
    "zab": 2,
    "fast_paxos": 2,
    "epaxos": 2,
    "ben_or": 2,
    "chandra_toueg": 3,
}


@pytest.mark.parametrize("spec", DECIDING, ids=[spec.name for spec in DECIDING])
def test_an_engine_takes_as_many_message_delays_as_its_papers_and_its_page_say(spec: EngineSpec) -> None:
    best = min(counted(spec))
    assert best == documented()[spec.name]
    assert best.proposer == LITERATURE.get(spec.name, best.proposer)


def test_conflicts_cost_epaxos_a_second_round_trip() -> None:
    """Five submit at the same time, and of their values, five numbers in a row, the first and the last conflict."""
    assert max(counted(engine_spec("epaxos"), classes=4)) == Delays(4, 4, 5)


def test_fast_paxos_without_its_fast_ballot_takes_three() -> None:
    assert min(counted(engine_spec("fast_paxos"), fast=False)).everybody == 3


def test_the_page_tells_of_every_engine_what_it_says_of_itself() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\(.*?\) \|[^|]*\| (\w+) \| ([^|]*) \|.*\| ([^|]*) \|$", DOC.read_text(), re.MULTILINE
    )
    told = {name: (order, rule, reads) for name, order, rule, reads in rows}
    for spec in DECIDING:
        order, rule, reads = told.pop(spec.name)
        assert order == spec.order
        assert rule in (spec.rule, "a minority of each site")
        assert reads == (", ".join(mode for mode in spec.reads if mode != LOG) or "none")
    assert told == {}
