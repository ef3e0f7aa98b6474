"""Schedules at random are lived through by machines that nobody copies: what comes of them is what states tell."""

from __future__ import annotations

import random

import pytest

from testbed.explore.model import LINK, TWO_PHASE_COMMIT, Time, model_names
from testbed.explore.random_walks import Walk, follow
from testbed.explore.schedule import Asked
from testbed.explore.worlds import UNBOUNDED, Network, Rules
from testbed.nodes.core.disk import State

_WALKS = 6
_STEPS = 60
_ROUGH = Rules(crashes=2, restarts=2, drops=UNBOUNDED, copies=3, finds=tuple(State))

ASKED = [
    *(Asked(name, rules=_ROUGH) for name in model_names() if name not in (TWO_PHASE_COMMIT, "hydra")),
    Asked("hydra", 6, rules=_ROUGH),
    Asked(TWO_PHASE_COMMIT, rules=Rules(Network.SET)),
    Asked("paxos", rules=Rules(Network.FIFO, crashes=1)),
    Asked(LINK, time=Time.TIMELY, rules=Rules(crashes=1, restarts=1, drops=3)),
    Asked("floodset", f=1, rules=Rules(omits=1)),
]


def walk_of(asked: Asked, number: int) -> Walk:
    walk = Walk(asked.model(), asked.rules, random.Random(number), _STEPS)
    walk.run()
    return walk


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: f"{asked.engine}-{asked.rules.network}-{asked.time}")
def test_what_is_told_alive_is_what_states_tell_of_the_same_steps(asked: Asked) -> None:
    walks = [walk_of(asked, number) for number in range(_WALKS)]
    assert max(len(walk.path) for walk in walks) > 4
    for walk in walks:
        worlds = asked.worlds()
        steps = walk.steps_in(worlds)
        world = worlds.begin()
        for step in steps:
            world = worlds.after(world, step)
        assert len(steps) == len(walk.path)
        assert [worlds.states.distinct_facts[worlds.states.facts[state]] for state in world.nodes] == walk.told
        assert [worlds.states.timers[state] for state in world.nodes] == [
            tuple(sorted(walk.lives.timers[state])) for state in walk.world.nodes
        ]
        assert len(world.wire) == len(walk.world.wire)
        assert (world.now_ns, world.left) == (walk.world.now_ns, walk.world.left)


def test_they_die_between_two_effects_and_come_back() -> None:
    """Else what is told of rough schedules would be told of smooth ones."""
    walks = [walk_of(Asked("raft", rules=_ROUGH), number) for number in range(30)]
    done = [step.done for walk in walks for step in walk.path if step.done is not None]
    found = {step.event for walk in walks for step in walk.path if isinstance(step.event, State)}
    assert set(done) >= {1, 2, 3, 4, 5}
    assert found == set(State)


def test_a_state_that_has_been_left_is_gone() -> None:
    walk = walk_of(Asked("paxos"), 1)
    with pytest.raises(AssertionError, match="left"):
        walk.lives.killed(0)


def test_a_walk_that_states_do_not_confirm_is_no_finding() -> None:
    """Given a walk that claims what is not so, then nobody is told of a bug."""
    walk = walk_of(Asked("paxos"), 1)
    walk.broken = "agreement: made up"
    with pytest.raises(AssertionError, match="what lives told"):
        walk.steps_in(Asked("paxos").worlds())


def test_steps_that_can_not_happen_are_left_out_when_steps_are_followed() -> None:
    asked = Asked("paxos", rules=Rules(crashes=1))
    walk, worlds = walk_of(asked, 2), asked.worlds()
    steps = walk.steps_in(worlds)
    first = next(step for step in steps if isinstance(step.event, int))
    assert follow(worlds, [first, first, *steps])[0].count(first) == steps.count(first)
