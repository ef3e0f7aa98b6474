"""Cells: what every lost message does to a swap on its way over them, who answers whom, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from cell_line import PERIOD_NS, WINDOW_NS, Line, line
from work import steps

from testbed.nodes.core import Life, Note
from testbed.nodes.frames import NO_ENDS, Carried, Kind, Message, carried, carry, ends_of
from testbed.nodes.oae.cell import Cell

DEPTHS = (2, 3, 4, 5)


def losing(cells: int, numbers: set[int], **protocol: object) -> Line:
    """The line, with these transmissions lost."""
    run = line(cells, **protocol)
    run.loses = lambda number, _: number in numbers
    run.until(WINDOW_NS)
    return run


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cells", [1, 2])
def test_without_loss_everybody_commits_and_the_ends_hold_each_others_registers(cells: int, depth: int) -> None:
    run = losing(cells, set(), depth=depth)
    assert run.outcomes == ["committed"] * (cells + 2)
    assert len(run.hops) == depth * (cells + 1)
    low, high = run.values[0][0], run.values[-1][0]
    assert low != high
    assert {passed for values in run.values[1:-1] for passed in values} == {high + low}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cells", [1, 2])
def test_the_ends_split_exactly_when_one_link_does(cells: int, depth: int) -> None:
    """Every transmission is lost in turn. Those of the last message, and only they, split the swap, on their link."""
    for lost in range(depth * (cells + 1)):
        run = losing(cells, {lost}, depth=depth)
        apart = [{place, place + 1} for place, (one, other) in enumerate(pairwise(run.outcomes)) if one != other]
        is_last = lost >= (depth - 1) * (cells + 1)
        assert set(run.outcomes) <= {"committed", "aborted"}
        assert (run.outcomes[0] != run.outcomes[-1]) == is_last
        assert apart == ([{run.hops[lost].src, run.hops[lost].dst}] if is_last else [])


def test_under_hold_nobody_splits_and_what_comes_late_is_passed_on() -> None:
    run = losing(2, {10}, horizon="hold")  # step 4 on the middle link
    assert run.outcomes == ["in_doubt", "in_doubt", "committed", "committed"]
    run.say(run.hops[10])  # it was only slow
    run.settle()
    assert run.outcomes == ["committed"] * 4


@pytest.mark.parametrize("horizon", ["hold", "reconcile"])
def test_a_cells_round_takes_no_more_work_however_many_swaps_before_it_are_in_doubt(horizon: str) -> None:
    run = line(1, horizon=horizon, rounds=200)
    cell = run.machines[1]

    def nothing_heard(round_: int) -> None:
        cell.on_timer("round", round_ * PERIOD_NS)
        cell.on_timer("horizon", round_ * PERIOD_NS + WINDOW_NS)

    work = [steps(nothing_heard, round_) for round_ in range(200)]
    assert max(work) <= 2 * work[0]


def test_after_the_abort_a_cell_passes_nothing_on() -> None:
    run = losing(2, {10})
    run.say(run.hops[10])
    assert run.outcomes == ["aborted", "aborted", "committed", "committed"]
    assert not run.waiting
    assert (1, "late") in run.notes


@pytest.mark.parametrize(("lost", "knows"), [(9, 3), (10, 2), (11, 1)])
def test_a_reconciling_end_is_answered_by_the_nearest_that_knows(lost: int, knows: int) -> None:
    """Step 4 is lost on each link in turn; its receiver asks at W + retry. Who has it answers, be it a cell."""
    run = losing(2, {lost}, horizon="reconcile", retry="50us")
    before = len(run.hops)
    assert run.outcomes == ["in_doubt"] * knows + ["committed"] * (4 - knows)
    run.until(WINDOW_NS + 60_000)
    assert run.outcomes == ["committed"] * 4
    asked = [(place, place + 1) for place in range(knows)]
    assert ways(run, before) == asked + [(other, one) for one, other in reversed(asked)]


def test_an_answer_that_gets_halfway_shortens_the_next_question() -> None:
    """Step 4 is lost on the far link, its repetition on the middle one: the second question ends at the far cell."""
    run = losing(2, {9, 14}, horizon="reconcile", retry="50us")
    run.until(WINDOW_NS + 60_000)
    assert ways(run, 10) == [(0, 1), (1, 2), (2, 3), (3, 2), (2, 1)]
    assert run.outcomes == ["in_doubt", "in_doubt", "committed", "committed"]
    run.until(WINDOW_NS + 110_000)
    assert ways(run, 15) == [(0, 1), (1, 2), (2, 1), (1, 0)]
    assert run.outcomes == ["committed"] * 4


def ways(run: Line, since: int) -> list[tuple[int, int]]:
    """Between whom transmissions went."""
    return [(hop.src, hop.dst) for hop in run.hops[since:]]


def test_a_cell_that_was_restarted_passes_questions_on_and_joins_the_next_round() -> None:
    run = losing(2, {11}, horizon="reconcile", retry="50us", rounds=3)
    run.begin(1, epoch=2)
    before = len(run.hops)
    run.until(WINDOW_NS + 60_000)
    assert run.outcomes[0] == "committed"
    assert ways(run, before) == [(0, 1), (1, 2), (2, 1), (1, 0)]
    assert len(run.endings[1]) == 1  # the second life tells nothing of the first one's round
    run.until(PERIOD_NS + WINDOW_NS)
    assert len(run.endings[1]) == 2


def test_a_cell_forgets_what_nobody_asks_about_any_more() -> None:
    for horizon in ("abort", "hold", "reconcile"):
        run = losing(1, set(), horizon=horizon, rounds=30)
        run.until(30 * PERIOD_NS)
        cell = run.machines[1]
        assert isinstance(cell, Cell)
        assert run.endings[1] == ["committed"] * 30
        assert all(len(branch.passing) <= 2 for branch in cell.branches.values())


def test_what_belongs_on_no_way_is_dropped_and_said() -> None:
    run = line(1)
    run.until(0)
    cell, said = run.machines[1], run.hops[0]
    known = said.known
    to_low, to_high = (run.configs[1].ways[0].to_low, run.configs[1].ways[0].to_high)
    stray = [
        (to_high, said.message),  # of the low end, from the other side
        (to_low, carry(known._replace(dst=7), 0, 1, 0)),
        (to_low, said.message._replace(body=b"short")),
        (to_low, Message(Kind.SWAP, 0, 1)),
        (to_low, said.message._replace(step=2)),  # which is the high end's to say
        (to_low, said.message._replace(step=9)),
    ]
    for port, message in stray:
        (note,) = cell.on_message(port, message, Life(1, 0), 10)
        assert isinstance(note, Note)
        assert note.what == "stray"


def test_a_message_of_an_ends_earlier_life_is_stale() -> None:
    run = line(1)
    run.until(0)
    cell, first = run.machines[1], run.hops[0]
    newer = carry(first.known._replace(epoch=3), 0, 1, 0)
    assert [note.what for note in cell.on_message(0, newer, Life(1, 0), 10) if isinstance(note, Note)] == ["duplicate"]
    (note,) = cell.on_message(0, first.message, Life(1, 0), 11)
    assert isinstance(note, Note)
    assert note.what == "stale"


def test_a_round_that_begins_early_elsewhere_is_waited_for() -> None:
    """The cell's timer is late: step 1 comes before its round has begun there."""
    run = line(1)
    run.timers[1, "round"] = 5_000
    run.until(0)
    assert ways(run, 0) == [(0, 1)]
    run.until(WINDOW_NS)
    assert run.outcomes == ["committed"] * 3


def test_a_simultaneous_handshake_can_not_be_carried() -> None:
    config = line(1).configs[1]
    wrong = replace(config, protocol=replace(config.protocol, handshake="simultaneous"))
    with pytest.raises(ValueError, match="switch1: a cell carries alternating handshakes, not simultaneous"):
        Cell(wrong)


def test_an_envelope_says_who_speaks_to_whom_in_which_lives() -> None:
    known = Carried(Kind.SWAP, 3, 9, 2, 1, bytes(range(16)))
    message = carry(known, 5, 2, 1)
    assert (carried(message), message.round, message.step, message.flags) == (known, 5, 2, 1)
    assert ends_of(message) == ends_of(carry(known._replace(src=9, dst=3), 5, 2, 1)) == 3 << 16 | 9
    for other in (Message(Kind.CARRIED, 1, 1, bytes(30)), message._replace(body=bytes(8)), Message(Kind.SWAP, 1, 1)):
        assert (carried(other), ends_of(other)) == (None, NO_ENDS)
