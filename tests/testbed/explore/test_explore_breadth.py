"""Breadth-first over all that can happen: known numbers of states, known bugs, and the shortest way to them."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from needs import ROOT

from testbed.errors import UserError
from testbed.explore.breadth import End, Found, Search
from testbed.explore.disks import Disk
from testbed.explore.kept import keep, take_up
from testbed.explore.model import Time, model_of
from testbed.explore.schedule import Asked
from testbed.explore.worlds import Network, Rules, Verb, Worlds
from testbed.nodes.core.disk import Log, Record, State


def explore(engine: str, rules: Rules, **model: Any) -> Found:
    return Search(Worlds(model_of(engine, **model), rules)).run()


# -- two-phase commit: how many states it has is known -----------------------------------------------------------------


@pytest.mark.parametrize(("managers", "states", "depth"), [(1, 12, 5), (2, 56, 8), (3, 288, 11)])
def test_two_phase_commit_has_the_states_of_its_specification(managers: int, states: int, depth: int) -> None:
    """288 at depth 11 for three is what other tools count."""
    found = explore("two_phase_commit", Rules(Network.SET), nodes=managers)
    assert (found.end, found.states, found.levels) == (End.ALL, states, depth)


@pytest.mark.parametrize("managers", [1, 2, 3, 4])
def test_and_those_that_a_plain_search_over_tuples_counts(managers: int) -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from bench_explore import by_explorer, by_tuples

    assert by_explorer(managers) == by_tuples(managers)


# -- the bilateral link ------------------------------------------------------------------------------------------------


def test_a_swap_in_time_ends_alike_at_both_ends_whatever_the_order() -> None:
    found = explore("link", Rules(), time=Time.TIMELY)
    assert (found.end, found.broken) == (End.ALL, "")


def test_a_lost_message_splits_a_swap_that_aborts_and_the_shortest_way_loses_the_last_one() -> None:
    worlds = Worlds(model_of("link", time=Time.TIMELY), Rules(drops=1))
    found = Search(worlds).run()
    assert found.broken == "bisynchrony: the swap of round 0 has committed at n1 and aborted at n0"
    assert [str(step.verb) for step in found.path] == ["fire", "deliver", "fire", "deliver", "deliver", "drop", "fire"]
    lost = found.path[-2].event
    assert isinstance(lost, int)
    assert worlds.states.packets[lost].message.step == 4


@pytest.mark.parametrize("horizon", ["hold", "reconcile"])
def test_ends_that_hold_never_split_whatever_is_lost_late_or_dead(horizon: str) -> None:
    rules = Rules(crashes=1, drops=1, timers=6)
    assert explore("link", rules, horizon=horizon).broken == ""


def test_clocks_that_run_as_they_like_split_a_swap_without_any_loss() -> None:
    assert "bisynchrony" in explore("link", Rules(), time=Time.OWN).broken


# -- consensus --------------------------------------------------------------------------------------------------------


def test_paxos_agrees_whatever_comes_when() -> None:
    """Two nodes, whose proposer may ask again or be overtaken by the other."""
    found = explore("paxos", Rules(timers=1), nodes=2)
    assert (found.end, found.broken) == (End.ALL, "")


@pytest.mark.parametrize(("engine", "timers"), [("raft", 4), ("multi_paxos", 2)])
def test_logs_are_one_log_whatever_comes_when(engine: str, timers: int) -> None:
    """Of two nodes; what they submit are timers, and so is whatever makes one lead."""
    found = explore(engine, Rules(timers=timers), nodes=2)
    assert (found.end, found.broken) == (End.ALL, "")
    assert found.states > 100


# -- what it stands on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_a_disk_as_a_value_finds_what_the_real_one_finds(seed: int) -> None:
    rng = random.Random(seed)
    real, value = Log(bytearray(1 << 14)), Disk()
    real.recover(State.LOST)
    for _ in range(60):
        what = rng.random()
        if what < 0.6:
            record = Record(rng.choice("abc"), rng.choice((None, rng.randbytes(3))), rng.random() < 0.3)
            real.append(*record)
            value = value.written(record)
        elif what < 0.8:
            real.sync()
            value = value.synced()
        else:
            state = rng.choice(list(State)[:3])
            value = value.found(state)
            assert real.recover(state) == dict(value.held)


def test_what_makes_no_sense_is_refused_in_one_line() -> None:
    for engine, rules, model, words in (
        ("paxos", Rules(), {}, "--timers"),
        ("paxos", Rules(timers=1, restarts=1), {}, "--restarts"),
        ("paxos", Rules(Network.SET, timers=1, drops=1), {}, "--network set"),
        ("raxos", Rules(timers=1), {}, "raxos"),
        ("paxos", Rules(timers=1), {"pitfalls": ["none_such"]}, "none_such"),
        ("link", Rules(), {"nodes": 3}, "--nodes 3"),
        ("oae", Rules(), {"time": Time.STILL}, "--time still"),
    ):
        with pytest.raises(UserError, match=words) as refused:
            explore(engine, rules, **model)
        assert "\n" not in str(refused.value)


def test_a_crash_can_come_between_any_two_effects() -> None:
    """Of a node that says something to two others, each of the three prefixes leads elsewhere."""
    worlds = Worlds(model_of("two_phase_commit", 2), Rules(crashes=1))
    deaths = [step for step in worlds.choices(worlds.begin()) if step.node == 0 and step.verb is not Verb.DELIVER]
    aborting = [step for step in deaths if step.verb is Verb.FIRE]
    assert sorted(step.done or 0 for step in aborting) == [0, 3]  # it lives, or dies after the first send
    assert [step.verb for step in deaths if step not in aborting] == [Verb.CRASH]


# -- a search that stops and goes on ----------------------------------------------------------------------------------


def test_a_search_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    asked = Asked("paxos", nodes=2, rules=Rules(timers=1, drops=1))
    whole = Search(asked.worlds()).run()
    parted = Search(asked.worlds())
    for stop in range(50, whole.states, 50):
        parted.run(most_states=stop)
        keep(parted, asked, "code", tmp_path / "search")
        parted = take_up(tmp_path / "search", asked, "code")
    assert parted.run() == whole
    for other, code, words in ((Asked("paxos"), "code", "something else"), (asked, "newer", "other code")):
        with pytest.raises(UserError, match=words):
            take_up(tmp_path / "search", other, code)
    (tmp_path / "letter").write_text("dear reader")
    with pytest.raises(UserError, match="holds no search"):
        take_up(tmp_path / "letter", asked, "code")


def test_a_search_ends_when_it_is_told_to_and_says_so() -> None:
    search = Search(Worlds(model_of("paxos"), Rules(timers=2)))
    told = iter([None, None, None, End.MEMORY])
    found = search.run(stop=lambda: next(told))
    assert (found.end, found.levels) == (End.MEMORY, 4)
