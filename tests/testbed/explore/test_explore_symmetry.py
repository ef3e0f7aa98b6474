"""Worlds that differ in names only: one of each is looked at, nothing is missed, and who differs is told apart."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from needs import ROOT

from testbed.errors import UserError
from testbed.explore.breadth import End, Search
from testbed.explore.kept import keep, take_up
from testbed.explore.model import Time, model_of
from testbed.explore.schedule import Asked
from testbed.explore.symmetry import Symmetry
from testbed.explore.worlds import Network, Rules, World, Worlds

ENGINES: list[tuple[str, Rules, dict[str, Any], int]] = [
    ("two_phase_commit", Rules(Network.SET), {"nodes": 4}, 24),
    ("raft", Rules(timers=3), {}, 6),
    ("oae", Rules(), {"time": Time.TIMELY}, 6),
    ("epaxos", Rules(timers=2), {}, 2),
    (
        "link",
        Rules(drops=1, network=Network.FIFO),
        {"time": Time.TIMELY, "handshake": "simultaneous", "horizon": "hold"},
        2,
    ),
]


def every_world(worlds: Worlds, symmetry: Symmetry) -> Iterator[World]:
    """All that there are, looked at one by one, while the symmetry learns from each step."""
    layer, seen = [worlds.begin()], {worlds.begin()}
    for world in layer:
        yield world
        for step in worlds.choices(world):
            symmetry.learn(world, step)
            new = worlds.after(world, step)
            if new not in seen:
                seen.add(new)
                layer.append(new)


@pytest.mark.parametrize(("engine", "rules", "model", "renamings"), ENGINES, ids=[engine for engine, *_ in ENGINES])
def test_as_many_are_looked_at_as_there_are_that_no_renaming_makes_the_same(
    engine: str, rules: Rules, model: dict[str, Any], renamings: int
) -> None:
    worlds = Worlds(model_of(engine, **model), rules)
    search = Search(worlds, symmetric=True)
    found = search.run()
    assert (found.end, found.broken, search.renamings) == (End.ALL, "", renamings)
    whole = Worlds(model_of(engine, **model), rules)
    assert search.symmetry is not None
    symmetry = Symmetry(whole, search.symmetry.group)
    everything = list(every_world(whole, symmetry))
    assert len({symmetry.canonical(world)[0] for world in everything}) == found.states < len(everything)


@pytest.mark.parametrize(("managers", "states"), [(2, 34), (3, 80), (4, 166)])
def test_of_two_phase_commit_as_many_as_a_search_over_tuples_finds_when_it_sorts_the_managers(
    managers: int, states: int
) -> None:
    """Independently of machines and images: each tuple's renamings are written down, and the least stands for all."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from bench_explore import following

    def told(state: Any) -> Any:
        tm, prepared, said, rms = state
        ways = [
            (
                tm,
                sorted(turn[rm] for rm in prepared),
                sorted(str(turn[w]) if isinstance(w, int) else w for w in said),
                [rms[turn.index(rm)] for rm in range(managers)],
            )
            for turn in permutations(range(managers))
        ]
        return str(min(ways))

    layer = [("init", frozenset(), frozenset(), ("working",) * managers)]
    seen = set(layer)
    for state in layer:
        for new in following(state):  # type: ignore[arg-type]
            if new not in seen:
                seen.add(new)
                layer.append(new)
    assert len({told(state) for state in seen}) == states
    assert (
        Search(Worlds(model_of("two_phase_commit", managers), Rules(Network.SET)), symmetric=True).run().states
        == states
    )


@pytest.mark.parametrize("engine", ["chandra_toueg", "fast_paxos"])
def test_an_engine_that_tells_its_nodes_apart_is_explored_as_without(engine: str) -> None:
    plain = Search(Worlds(model_of(engine), Rules(timers=0))).run()
    search = Search(Worlds(model_of(engine), Rules(timers=0)), symmetric=True)
    found = search.run()
    assert search.renamings == 1
    assert (found.states, found.made, found.levels) == (plain.states, plain.made, plain.levels)


@pytest.mark.parametrize(
    ("engine", "rules", "model"),
    [
        ("link", Rules(drops=1), {"time": Time.TIMELY, "handshake": "simultaneous"}),
        ("link", Rules(), {"time": Time.OWN, "handshake": "simultaneous"}),
        ("epaxos", Rules(timers=4), {"pitfalls": ["small_fast_quorum"]}),
    ],
    ids=["a lost message", "clocks as they like", "a quorum too small"],
)
def test_what_is_wrong_is_found_in_as_few_steps_and_the_way_there_can_be_walked(
    engine: str, rules: Rules, model: dict[str, Any]
) -> None:
    plain = Search(Worlds(model_of(engine, **model), rules)).run()
    worlds = Worlds(model_of(engine, **model), rules)
    search = Search(worlds, symmetric=True)
    found = search.run()
    assert search.renamings > 1
    assert len(found.path) == len(plain.path) > 0
    world = worlds.begin()
    for step in found.path:
        assert step in worlds.choices(world)
        world = worlds.after(world, step)
    assert worlds.broken(world)


def test_crashes_are_refused_for_whom_a_dying_node_has_told_is_no_symmetry() -> None:
    with pytest.raises(UserError, match="--symmetry and --crashes"):
        Search(Worlds(model_of("raft"), Rules(crashes=1, timers=1)), symmetric=True)


def test_a_search_goes_on_with_its_renamings_and_not_with_others(tmp_path: Path) -> None:
    asked = Asked("raft", rules=Rules(timers=3))
    search = Search(asked.worlds(), symmetric=True)
    assert search.run(most_states=50).end is End.STATES
    keep(search, asked, "code", tmp_path / "kept")
    with pytest.raises(UserError, match="something else"):
        take_up(tmp_path / "kept", asked, "code")
    again = take_up(tmp_path / "kept", asked, "code", symmetric=True)
    assert again.renamings == 6
    whole = Search(asked.worlds(), symmetric=True).run()
    found = again.run()
    assert (found.end, found.states, found.levels, found.made) == (End.ALL, whole.states, whole.levels, whole.made)
