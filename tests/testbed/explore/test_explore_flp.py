"""What can still be decided, and schedules along which nothing ever is: Fischer, Lynch and Paterson's impossibility."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from testbed.cli.main import app
from testbed.errors import UserError
from testbed.explore.flp import Initial, Stays, Valence, initials, long_enough
from testbed.explore.model import Time, model_of
from testbed.explore.schedule import Asked
from testbed.explore.valence import Decisions, Reach
from testbed.explore.worlds import UNBOUNDED, Rules, Verb, World, Worlds
from testbed.nodes.core import values

ZERO, ONE = values.of_int(0), values.of_int(1)


def valences(asked: Asked, most: int = 5000) -> dict[tuple[int, ...] | None, Initial]:
    return {one.inputs: one for one in initials(asked, most)}


# -- what can be decided -----------------------------------------------------------------------------------------------


def naive(worlds: Worlds, world: World) -> frozenset[bytes]:
    """All that is decided in any world that can be come to: by walking to each of them."""
    decisions, seen, waiting = Decisions(worlds), {world}, [world]
    found: frozenset[bytes] = frozenset()
    while waiting:
        here = waiting.pop()
        found |= decisions(here)
        for step in worlds.choices(here):
            new = worlds.after(here, step)
            if new not in seen:
                seen.add(new)
                waiting.append(new)
    return found


def test_valences_of_all_configurations_are_those_that_a_walk_from_each_of_them_finds() -> None:
    """Of two nodes that flood their least value, of which one may die."""
    worlds = Worlds(model_of("floodset", 2, 1, inputs="random", seed=10), Rules(crashes=1))
    reach = Reach(worlds, worlds.begin(), 10_000)
    seen, waiting, bivalent = {worlds.begin()}, [worlds.begin()], 0
    while waiting:
        here = waiting.pop()
        bivalent += len(naive(worlds, here)) > 1
        following = {worlds.after(here, step) for step in worlds.choices(here)} - seen
        seen |= following
        waiting += following
    assert (reach.complete, reach.states, reach.open) == (True, len(seen), 0)
    assert reach.bivalent == bivalent > 0


def test_what_was_not_looked_at_as_a_whole_is_never_called_univalent() -> None:
    """Of Ben-Or's nodes that all begin with 0 it takes 699 configurations to know that they decide nothing else."""
    asked = Asked("ben_or", rules=Rules(timers=0))
    assert next(initials(asked, 698)).valence is Valence.OPEN
    found = next(initials(asked, 699))
    assert found.inputs == (0, 0, 0)
    assert (found.valence, found.values, found.states) == (Valence.UNIVALENT, (ZERO,), 699)


@pytest.mark.parametrize("engine", ["paxos", "ben_or"])
def test_some_inputs_leave_the_decision_open_and_equal_ones_do_not(engine: str) -> None:
    """Lemma 2; and validity."""
    found = valences(Asked(engine), 200)
    assert len(found) == 8
    assert {found[0, 0, 0].values, found[1, 1, 1].values} == {(ZERO,), (ONE,)}
    assert found[0, 1, 1].valence is Valence.BIVALENT


# -- a schedule that decides nothing -----------------------------------------------------------------------------------


def stay(asked: Asked, steps: int) -> tuple[Stays, Any]:
    start = next(one for one in initials(asked, 100) if one.valence is Valence.BIVALENT)
    stays = Stays(long_enough(start.asked, steps).worlds())
    for event in stays.events(stays.worlds.begin()):
        assert stays.successor(stays.worlds.begin(), event).steps, "Lemma 3"
    return stays, stays.ever(steps)


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        (Asked("paxos"), 300),
        (Asked("ben_or", rules=Rules(timers=0)), 100),
        (Asked("oae"), 40),
        (Asked("oae", time=Time.TIMELY, rules=Rules(omits=2)), 40),
        (Asked("multi_paxos"), 40),
        (Asked("raft"), 40),
    ],
    ids=["paxos", "ben_or", "oae, clocks at will", "oae, omissions", "multi_paxos", "raft"],
)
def test_an_engine_is_kept_from_deciding_though_every_message_comes(asked: Asked, steps: int) -> None:
    stays, ever = stay(asked, steps)
    worlds, decisions = stays.worlds, stays.valences.decisions
    assert (len(ever.steps), ever.stuck) == (steps, None)
    world, lost = worlds.begin(), 0
    waiting = dict.fromkeys(world.wire, 0)
    for place, step in enumerate(ever.steps, 1):
        assert step in worlds.choices(world)
        lost += step.verb is Verb.DROP
        world = worlds.after(world, step)
        assert not decisions(world)
        for since in waiting.values():
            assert place - since <= ever.longest_wait
        waiting = {packet: waiting.get(packet, place) for packet in world.wire if packet != step.event}
        waiting |= {packet: place for packet in world.wire if packet == step.event}  # said more than once
    assert lost == 0 or asked.rules.omits
    ends: set[bytes] = set()
    for way in ever.ways.values():
        end = world
        for step in way:
            assert step in worlds.choices(end)
            end = worlds.after(end, step)
        assert len(decisions(end)) == 1
        ends |= decisions(end)
    assert len(ends) > 1


# -- rounds that hold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [Asked("oae", nodes=2, f=0), Asked("floodset", f=1)], ids=lambda asked: asked.engine)
def test_in_rounds_that_hold_the_inputs_settle_the_decision(asked: Asked) -> None:
    """Bisynchrony: no message is late and none is lost. All that can happen was looked at."""
    found = valences(replace(asked, time=Time.TIMELY))
    assert {one.valence for one in found.values()} == {Valence.UNIVALENT}


def test_a_crash_leaves_it_open_in_the_first_round_only() -> None:
    """Which is why floodset takes f + 1 rounds (Aguilera, Toueg 1999)."""
    found = valences(Asked("floodset", nodes=2, f=1, rules=Rules(crashes=1)))
    reaches = [one.reach for one in found.values() if one.reach is not None]
    assert all(reach.complete and not reach.broken for reach in reaches)
    period_ns = model_of("floodset").configs[0].protocol.period_ns
    assert 0 <= max(reach.last_ns for reach in reaches if reach.last_ns is not None) < period_ns


def test_omissions_of_one_sender_a_round_break_floodset_which_decides_all_the_same() -> None:
    found = valences(Asked("floodset", nodes=2, f=1, rules=Rules(omits=1)))
    assert any("agreement" in one.reach.broken for one in found.values() if one.reach is not None)


def test_omissions_are_one_senders_in_a_round_and_as_many_as_there_may_be() -> None:
    worlds = Worlds(model_of("oae", time=Time.TIMELY), Rules(omits=2))
    packets = worlds.states.packets
    world = worlds.begin()
    rounds: set[int] = set()
    while len(rounds) < 3:
        steps = worlds.choices(world)
        senders = {packets[step.event].src for step in steps if step.verb is Verb.DROP and isinstance(step.event, int)}
        step = next((one for one in steps if one.verb is Verb.DROP), steps[0])
        if step.verb is Verb.DROP and world.left.omits == 1:
            assert senders == {world.left.omitting}
        if world.left.omits == 0:
            assert not senders
            rounds.add(world.now_ns)
        world = worlds.after(world, step)


# -- the command -------------------------------------------------------------------------------------------------------


def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["flp", *words])


def test_the_command_tells_it_and_its_schedule_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("paxos", "--steps", "30", "--states", "100")
    assert done.exit_code == 0
    assert "inputs 0 0 0  open" in done.stdout
    assert "undecided  30 steps" in done.stdout
    again = CliRunner().invoke(app, ["explore", "--replay", "paxos.flp.schedule.yaml"])
    assert again.exit_code == 0
    assert again.stdout.rstrip().endswith("every invariant holds")
    assert " 30. " in again.stdout
    assert "decide " not in again.stdout
    told = json.loads(call("oae", "--nodes", "2", "--time", "timely", "--json").stdout)
    assert {one["valence"] for one in told["initial"]} == {"univalent"}
    assert "ever" not in told
    broken = call("floodset", "--nodes", "2", "--f", "1", "--omissions", "1")
    assert broken.exit_code == 1
    assert "agreement" in broken.stdout


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked("link"), "engine of consensus"),
        (Asked("paxos", nodes=9), "--nodes 9"),
        (Asked("paxos", settings={"inputs": "random"}), "--set inputs"),
        (Asked("oae", rules=Rules(omits=1)), "--omissions 1"),
        (Asked("floodset", rules=Rules(omits=1, drops=UNBOUNDED)), "--drops"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(asked: Asked, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        list(initials(asked, 10))
    assert "\n" not in str(refused.value)
