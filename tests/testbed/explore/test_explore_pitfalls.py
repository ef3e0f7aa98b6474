"""Known bugs that are a matter of schedules: each is found within a budget, which the sound engine passes."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from testbed.explore.breadth import Search
from testbed.explore.model import model_of
from testbed.explore.random_walks import follow, hunt
from testbed.explore.schedule import Asked, read_schedule, replay, schedule_of, story, write_schedule
from testbed.explore.worlds import UNBOUNDED, Rules, Verb, Worlds
from testbed.nodes.core.disk import State


class Bug(NamedTuple):
    """most: the budget, in states or in schedules. length: steps that show it."""

    engine: str
    pitfall: str
    rules: Rules
    model: dict[str, Any]
    most: int
    length: int
    seed: int = 0


BY_BREADTH = [
    # two nodes that each count as a quorum of themselves
    Bug("oae", "half_is_enough", Rules(), {"nodes": 2, "f": 0}, 1500, 8),
    # the one that has seen the least value tells it to one of two, and dies
    Bug("floodset", "one_round_short", Rules(crashes=1), {"f": 1}, 1500, 8),
]
AT_RANDOM = [
    Bug("paxos", "any_vote", Rules(drops=UNBOUNDED), {}, 100, 15, seed=13),
    # of four nodes, one hears a proposal that two others don't, and decides on it alone
    Bug("ben_or", "one_proposal", Rules(drops=UNBOUNDED), {"nodes": 4}, 30, 43, seed=2),
    # an acceptor votes, dies before its disk knows it, and votes otherwise in its next life
    Bug("paxos", "answer_not_kept", Rules(drops=UNBOUNDED, crashes=2, restarts=2), {}, 60, 16, seed=29),
    Bug(
        "paxos",
        "answer_not_synced",
        Rules(drops=UNBOUNDED, crashes=2, restarts=2, finds=(State.UNSYNCED_LOST,)),
        {},
        60,
        19,
        seed=3,
    ),
    pytest.param(
        Bug("floodset", "no_forwarding", Rules(crashes=2), {"f": 2}, 100, 12, seed=53), marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize("bug", BY_BREADTH, ids=lambda bug: bug.pitfall)
def test_breadth_first_finds_it_by_the_shortest_way(bug: Bug) -> None:
    found = Search(Worlds(model_of(bug.engine, pitfalls=[bug.pitfall], **bug.model), bug.rules)).run(bug.most)
    assert found.broken.startswith("agreement")
    assert len(found.path) == bug.length
    assert not Search(Worlds(model_of(bug.engine, **bug.model), bug.rules)).run(bug.most).broken


@pytest.mark.parametrize("bug", AT_RANDOM, ids=lambda bug: bug.pitfall)
def test_random_schedules_find_it_and_are_shrunk_until_no_step_can_be_spared(bug: Bug) -> None:
    worlds = Worlds(model_of(bug.engine, pitfalls=[bug.pitfall], **bug.model), bug.rules)
    found = hunt(worlds, bug.most, seed=bug.seed)
    assert found.broken.startswith("agreement")
    assert len(found.shrunk) <= bug.length < len(found.path)
    for place in range(len(found.shrunk)):
        assert not follow(worlds, found.shrunk[:place] + found.shrunk[place + 1 :])[1]
    sound = hunt(Worlds(model_of(bug.engine, **bug.model), bug.rules), bug.most, seed=bug.seed)
    assert (sound.broken, sound.schedules) == ("", bug.most)


def test_the_same_seed_draws_the_same_schedules_and_another_seed_others() -> None:
    def steps(seed: int) -> list[Any]:
        drawn: list[Any] = []
        worlds = Worlds(model_of("paxos"), Rules(drops=UNBOUNDED))
        hunt(worlds, 30, seed, progress=lambda found: drawn.append(found.steps))
        return drawn

    assert steps(1) == steps(1) != steps(2)


def test_a_schedule_in_a_file_is_what_was_found_and_tells_the_same_story() -> None:
    asked = Asked("floodset", f=1, pitfalls=("one_round_short",), rules=Rules(crashes=1))
    worlds = asked.worlds()
    found = Search(worlds).run()
    text = write_schedule(schedule_of(asked, worlds, found.path, found.broken), "some.yaml")
    read = read_schedule(text, "some.yaml")
    assert read.asked == asked
    anew = read.asked.worlds()
    told = list(story(anew, replay(anew, read.steps)))
    assert told == list(story(worlds, found.path))
    assert told[-1].strip() == read.breaks == found.broken
    died = next(step for step in found.path if step.done is not None)
    assert died.verb is Verb.FIRE
    assert "dies here" in "".join(told)
