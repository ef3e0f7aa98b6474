"""Viewstamped Replication: two message delays, views in turn, lives that recover from the others and lose nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from builders import node_config
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import RETRY_NS, Clocked, LogWorld, Staged, goes_wrong

from testbed.engines.sim import SimEngine
from testbed.errors import UserError
from testbed.nodes.consensus import logs
from testbed.nodes.consensus.changes import Change
from testbed.nodes.consensus.vrr.epochs import Epochs, epoch_of, over
from testbed.nodes.consensus.vrr.machine import Status, VrrMachine
from testbed.nodes.consensus.vrr.messages import (
    Commit,
    DoViewChange,
    EndEpoch,
    EpochStarted,
    GetState,
    NewState,
    Prepare,
    PrepareOk,
    Recovery,
    RecoveryResponse,
    Said,
    StartView,
    StartViewChange,
    State,
    Step,
    message,
    read,
)
from testbed.nodes.consensus.vrr.oplog import Entry
from testbed.nodes.consensus.vrr.pitfalls import Pitfall
from testbed.nodes.core import Life
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import State as Disk
from testbed.nodes.core.record import Sent
from testbed.nodes.frames import Frame, Kind, Message
from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge

PATIENCE = 3
T = PATIENCE * RETRY_NS
PREPARING = (Step.PREPARE, Step.PREPARE_OK)


def built(pitfalls: Iterable[Pitfall] = (), epochs: Epochs | None = None) -> Callable[[NodeConfig], VrrMachine]:
    return lambda config: VrrMachine(config, frozenset(pitfalls), PATIENCE, epochs)


def vrr(world: LogWorld, number: int) -> VrrMachine:
    """The machine of a node that is up."""
    machine: VrrMachine = world.nodes[number].machine.machine
    return machine


def views(world: LogWorld) -> set[int]:
    """In which views those are that are up, where these have begun."""
    machines = [vrr(world, node.config.node) for node in world.nodes if node.machine is not None]
    return {machine.term if machine.status is Status.NORMAL else -1 for machine in machines}


def value(number: int) -> bytes:
    """The number-th value that a world submits, from 1 on."""
    return number.to_bytes(4, "big")


# -- without failures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_what_the_primary_submits_is_decided_after_two_message_delays_there_and_three_elsewhere(n: int) -> None:
    world = Clocked(n, built())
    world.wait(RETRY_NS + 50)
    asked_ns, world.sent = world.now_ns, []
    world.submit(0)
    world.wait(3 * world.DELAY_NS)
    delays = {number: (at_ns - asked_ns) / world.DELAY_NS for at_ns, number, _ in world.told}
    assert delays == {number: 3 if number else 2 * (n > 1) for number in range(n)}
    assert len(world.sent) == 3 * (n - 1), "prepare, prepared, commit"


def test_what_another_submits_takes_one_delay_more_to_the_primary() -> None:
    world = Clocked(3, built())
    world.wait(RETRY_NS + 50)
    asked_ns = world.now_ns
    world.submit(1)
    world.wait(4 * world.DELAY_NS)
    assert {number: (at_ns - asked_ns) / world.DELAY_NS for at_ns, number, _ in world.told} == {0: 3, 1: 4, 2: 4}


def test_entries_side_by_side_share_the_word_that_they_are_decided() -> None:
    world = Clocked(3, built())
    world.wait(RETRY_NS + 50)
    world.sent = []
    for _ in range(3):
        world.submit(0)
    world.wait(3 * world.DELAY_NS)
    assert all(held == [value(1), value(2), value(3)] for held in world.held)
    assert len(world.sent) == 3 * 2 * 2 + 2


def test_an_idle_primary_says_one_thing_to_each_every_retry_and_is_answered() -> None:
    world = Clocked(5, built())
    world.wait(RETRY_NS + 50)
    world.sent = []
    world.wait(10 * RETRY_NS)
    assert len(world.sent) == 10 * 2 * 4
    assert {frame.message.step for _, frame in world.sent} == {Step.COMMIT, Step.PREPARE_OK}


def test_a_read_at_the_primary_takes_one_round_trip_and_no_entry() -> None:
    world = Clocked(3, built())
    world.submit(0)
    world.wait(RETRY_NS + 50)
    for number, delays in ((0, 2), (1, 4)):
        world.read(number)
        world.wait(delays * world.DELAY_NS - 1)
        assert len(world.reads) == 1
        world.wait(1)
        assert not world.reads
    assert vrr(world, 0).entries.end == 1


# -- views -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 5])
def test_when_the_primary_dies_the_next_in_turn_takes_over_after_patience_and_three_delays(n: int) -> None:
    world = Clocked(n, built())
    world.submit(1)
    world.wait(RETRY_NS)
    world.kill(0)
    heard_ns = world.now_ns + world.DELAY_NS  # its last heartbeat
    world.submit(1)
    world.run(heard_ns + T + 3 * world.DELAY_NS)
    assert views(world) == {2}
    world.wait(4 * world.DELAY_NS)
    assert world.order == [value(1), value(2)]


def test_a_turn_of_one_that_is_down_passes_and_five_bear_two_deaths_but_not_three() -> None:
    world = Clocked(5, built())
    world.wait(RETRY_NS)
    world.kill(0)
    world.kill(1)
    world.submit(4)
    world.wait(6 * T)
    assert views(world) == {3}
    assert world.order == [value(1)]
    world.kill(2)
    world.submit(4)
    world.wait(30 * T)
    assert world.order == [value(1)], "two of five are no quorum"
    world.start(2)
    world.wait(30 * T)
    assert vrr(world, 2).status is Status.RECOVERING, "nor can they tell anybody what was decided"
    assert world.order == [value(1)]


def test_a_minority_that_is_cut_off_changes_to_the_next_view_and_waits_there() -> None:
    """However long it lasts: there are no views that others would have to catch up with."""
    world = Clocked(3, built())
    world.part(2)
    world.wait(50 * T)
    assert vrr(world, 2).term == 2
    assert vrr(world, 0).leader() == 0
    world.part()
    world.submit(0)
    world.wait(4 * T)
    assert len(views(world)) == 1
    assert world.order == [value(1)]


def test_a_primary_that_is_heard_but_hears_nobody_makes_way() -> None:
    world = Clocked(3, built())
    world.wait(RETRY_NS)
    world.cuts = {(1, 0), (2, 0)}
    world.submit(1)
    world.wait(6 * T)
    assert world.order == [value(1)]
    assert vrr(world, 1).leader() == 1


def test_delays_longer_than_anybodys_patience_are_waited_out() -> None:
    world = Clocked(3, built())
    world.DELAY_NS = 2 * T
    world.submit(2)
    world.wait(40 * world.DELAY_NS)
    assert world.order == [value(1)]
    decided_in = vrr(world, 0).term
    for _ in range(5):
        world.submit(1)
        world.wait(world.DELAY_NS)
    world.wait(10 * world.DELAY_NS)
    assert len(world.order) == 6
    assert views(world) == {decided_in}


# -- lives -------------------------------------------------------------------------------------------------------------


def test_a_later_life_takes_part_again_after_a_round_trip_and_counts() -> None:
    world = Clocked(3, built())
    world.submit(0)
    world.wait(RETRY_NS + 50)
    world.start(2)
    assert vrr(world, 2).leader() is None
    world.wait(2 * world.DELAY_NS)
    assert world.held[2] == [value(1)]
    world.kill(1)
    world.submit(2)
    world.wait(4 * world.DELAY_NS)
    assert world.order == [value(1), value(2)]


def test_all_may_be_replaced_one_after_the_other_and_nothing_is_lost() -> None:
    world = Clocked(3, built())
    for number in range(12):
        world.start(number % 3)
        world.submit((number + 1) % 3)
        if number % 4 == 3:
            world.compact((number + 1) % 3)
        world.wait(6 * T)
    assert len(world.order) == 12
    assert all(held == world.order for held in world.held)
    assert {node.epoch for node in world.nodes} == {5}


def test_f_and_one_more_lost_at_a_time_are_lost_for_good_and_what_is_left_is_silent_and_right() -> None:
    """What a disk is for: the others are up again, and nobody can tell them what they had vouched for."""
    world = Clocked(3, built())
    world.submit(0)
    world.wait(RETRY_NS)
    world.kill(1)
    world.kill(2)
    world.start(1)
    world.start(2)
    world.submit(0)
    world.wait(30 * T)
    assert [vrr(world, number).status for number in (1, 2)] == [Status.RECOVERING] * 2
    assert world.order == [value(1)]


def test_nothing_is_written_to_a_disk() -> None:
    world = Clocked(3, built())
    written: list[str] = []
    for node in world.nodes:
        node.persist = lambda key, *rest, write=node.persist: written.append(key) or write(key, *rest)  # type: ignore[method-assign, misc]
    for _ in range(5):
        world.submit(0)
        world.wait(50)
    world.compact(0)
    assert all(key.startswith("driver") for key in written)


def test_who_lacks_what_is_forgotten_gets_the_state_in_its_place() -> None:
    world = Clocked(3, built())
    world.part(2)
    for _ in range(5):
        world.submit(0)
        world.wait(50)
    world.compact(0)
    world.compact(1)
    assert vrr(world, 0).entries.first == 5
    world.part()
    world.submit(0)
    world.wait(6 * T)
    assert world.held[2] == world.order
    assert len(world.order) == 6


# -- schedules by hand -------------------------------------------------------------------------------------------------


class Stage(Staged):
    """Three nodes, or five, in view 1, whose primary is node 0."""

    def __init__(self, pitfalls: Iterable[Pitfall], n: int = 3, epochs: Epochs | None = None) -> None:
        super().__init__(n, built(pitfalls, epochs))

    def between(self, src: int, dst: int, *steps: Step) -> list[Frame]:
        """What is under way there."""
        return [
            frame
            for frame in self.wire
            if (frame.key.src, frame.dst) == (src, dst) and (frame.message.step in steps or not steps)
        ]

    def change(self, *numbers: int) -> None:
        """The first of them waits no longer for its primary; they agree on the next view, all else is lost."""
        self.lose()
        self.fire(numbers[0], "view")
        self.let(*numbers)
        self.lose()

    def recover(self, number: int, *asked: int) -> None:
        """A later life of it begins, and hears these alone; what else it says is lost, and nothing else."""
        others = list(self.wire)
        self.start(number)
        for other in asked:
            self.deliver(number, other)
            for answer in self.between(other, number, Step.RECOVERY_RESPONSE):
                self.arrive(answer)
        self.wire = others


def recovery_without_nonce(pitfalls: Iterable[Pitfall]) -> None:
    """What node 2 was told when it recovered comes a second time, in its next life; it has vouched for more since."""
    stage = Stage(pitfalls)
    stage.start(2)
    for other in (0, 1):
        stage.deliver(2, other)
    told = stage.between(0, 2) + stage.between(1, 2)
    stage.let(0, 1, 2)
    stage.submit(0)
    stage.let(0, 2)
    assert len(stage.order) == 1
    stage.start(2)
    stage.wire = told
    stage.let(0, 1, 2)
    stage.change(1, 2)
    stage.submit(1)
    stage.let(1, 2)


def recovery_from_minority(pitfalls: Iterable[Pitfall]) -> None:
    """Node 0 does not know that there is a later view; node 2, which was in it, asks node 0 alone."""
    stage = Stage(pitfalls)
    stage.change(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert len(stage.order) == 1
    stage.lose()
    stage.recover(2, 0)
    stage.submit(0)
    stage.let(0, 2)


def recovers_from_old_primary(pitfalls: Iterable[Pitfall]) -> None:
    """The same, but it hears both of them, each of whom is a primary."""
    stage = Stage(pitfalls)
    stage.change(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert len(stage.order) == 1
    stage.lose()
    stage.recover(2, 0, 1)
    stage.submit(0)
    stage.let(0, 2)
    stage.let(1, 2)


def votes_while_recovering(pitfalls: Iterable[Pitfall]) -> None:
    """Nodes 0 and 2 have an entry; node 2's next life agrees with node 1, which has not, on a view."""
    stage = Stage(pitfalls)
    stage.submit(0)
    stage.let(0, 2)
    assert len(stage.order) == 1
    stage.start(2)
    stage.change(1, 2)
    stage.submit(1)
    stage.let(1, 2)


def longest_log(pitfalls: Iterable[Pitfall]) -> None:
    """Node 0 has two entries of an old view that nobody else has seen, node 2 one of a later view that is
    decided, which it has not heard."""
    stage = Stage(pitfalls)
    stage.submit(0)
    stage.submit(0)
    stage.change(1, 2)
    stage.submit(1)
    stage.let(1, 2, only=PREPARING)
    assert len(stage.order) == 1
    stage.kill(1)
    stage.change(2, 0)
    stage.submit(2)
    stage.let(0, 2)


def acts_in_old_view(pitfalls: Iterable[Pitfall]) -> None:
    """Node 2 has said its word for the next view when an entry of the view before comes in."""
    stage = Stage(pitfalls)
    stage.submit(0)
    stage.fire(1, "view")
    stage.deliver(1, 2)
    stage.let(0, 2, only=PREPARING)
    stage.let(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert stage.order


def transfer_as_published(pitfalls: Iterable[Pitfall]) -> None:
    """Node 2 hears of a view that has begun without it, and of the next one before the log of that view has come."""
    stage = Stage(pitfalls)
    stage.submit(0)
    stage.let(0, 2, only=PREPARING)
    assert len(stage.order) == 1
    stage.lose()
    stage.fire(1, "view")
    stage.deliver(1, 0)
    stage.deliver(0, 1)
    stage.deliver(0, 1)
    assert vrr(stage, 1).leader() == 1
    stage.lose()
    stage.fire(1, "beat")
    stage.deliver(1, 2)
    stage.kill(1)
    stage.change(2, 0)
    stage.submit(2)
    stage.let(0, 2)
    assert len(stage.order) == 2


def transfer_keeps_tail(pitfalls: Iterable[Pitfall]) -> None:
    """Node 0 has an entry that was never decided, and gets the log of a later view."""
    stage = Stage(pitfalls)
    stage.submit(0)
    stage.change(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert len(stage.order) == 1
    stage.lose()
    stage.fire(1, "beat")
    stage.let(0, 1)
    assert len(stage.held[0]) == 1


def read_unconfirmed(pitfalls: Iterable[Pitfall]) -> None:
    """A primary that was held up does not know yet that there is another."""
    stage = Stage(pitfalls)
    stage.change(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert len(stage.order) == 1
    stage.read(0)
    stage.let(0, 1, 2)


def read_before_first(pitfalls: Iterable[Pitfall]) -> None:
    """Node 1 leads and does not know that what it began with is decided; node 2 reads, and is answered before it hears
    that."""
    stage = Stage(pitfalls)
    stage.submit(0)
    stage.let(0, 1, only=PREPARING)
    assert len(stage.order) == 1
    stage.lose()
    stage.fire(1, "view")
    stage.let(1, 2, only=(Step.START_VIEW_CHANGE, Step.DO_VIEW_CHANGE, Step.START_VIEW))
    stage.lose()
    stage.read(2)
    stage.let(1, 2, only=(logs.Step.READ,))
    stage.let(1, 2, only=(Step.PREPARE_OK,))
    stage.deliver(1, 2)
    stage.let(1, 2, only=(Step.PREPARE_OK,))
    stage.let(1, 2, only=(logs.Step.READ_AT,))
    assert pitfalls or len(stage.reads) == 1
    stage.let(1, 2)
    assert not stage.reads


def recovery_as_published(pitfalls: Iterable[Pitfall]) -> None:
    """Two of five say their word for view 2, die, and recover into view 1, for those that they ask know no better; with
    these words, that come late, and its own node 1 begins view 2, while view 1 goes on with a quorum. Never are two
    nodes down or on their way back at a time."""
    stage = Stage(pitfalls, 5)

    def leaves(number: int, to: int) -> list[Frame]:
        """It asks for view 2; only one of the others is going to hear that."""
        stage.fire(number, "view")
        said = stage.between(number, to, Step.START_VIEW_CHANGE)
        stage.lose()
        return said

    def votes(number: int, heard: list[Frame]) -> list[Frame]:
        """What it says to node 1 when it hears these."""
        stage.wire = list(heard)
        for frame in heard:
            stage.arrive(frame)
        said = stage.between(number, 1, Step.DO_VIEW_CHANGE)
        stage.lose()
        return said

    four = leaves(4, to=2)
    stage.recover(4, 0, 1, 3)
    three = leaves(3, to=2)
    stage.recover(3, 0, 1, 4)
    word_of_two = votes(2, four + three)
    stage.recover(2, 0, 3, 4)
    four = leaves(4, to=3)
    stage.recover(4, 0, 1, 2)
    one = leaves(1, to=3)
    word_of_three = votes(3, four + one)
    stage.recover(3, 0, 2, 4)
    stage.submit(0)
    stage.let(0, 2, 3, 4)
    assert stage.order == [value(1)]
    stage.wire = [*word_of_two, *word_of_three]
    for frame in tuple(stage.wire):
        stage.arrive(frame)
    stage.submit(1)
    stage.let(0, 1, 2, 3, 4)
    for number in range(5):
        stage.fire(number, "view" if number else "beat")
    stage.let(0, 1, 2, 3, 4)
    stage.let(0, 1, 2, 3, 4, only=(*Step, *logs.Step))
    assert len(stage.order) == 2, "and goes on"


def epoch_from_one(pitfalls: Iterable[Pitfall]) -> None:
    """Voters 0 to 4 become 0 1 5, and node 0 is the first to know. Nodes 2 3 4 don't, and change to a view of their
    own, in which node 1 recovers when it has died; then they end the epoch as well."""
    stage = Stage(pitfalls, 6, Epochs((0, 1, 2, 3, 4), (Change(0, (0, 1, 5)),)))
    stage.fire(0, "beat")
    stage.let(0, 1, 2, only=PREPARING)
    stage.let(0, 1)
    stage.submit(0)
    stage.let(0, 1)
    assert pitfalls or not stage.order
    stage.lose()
    stage.change(2, 3, 4)  # to that of node 1 ..
    stage.fire(2, "view")  # .. and on to that of node 2
    stage.let(2, 3, 4, only=(Step.START_VIEW_CHANGE, Step.DO_VIEW_CHANGE, Step.START_VIEW))
    assert vrr(stage, 3).leader() == vrr(stage, 4).leader() == 2
    stage.lose()
    stage.recover(1, 2, 3, 4)
    stage.fire(2, "beat")
    stage.let(1, 2, 3, 4, 5)
    assert epoch_of(vrr(stage, 5).normal) == epoch_of(vrr(stage, 1).normal) == 1
    stage.change(1, 5)
    stage.submit(1)
    stage.let(1, 5)
    assert stage.order


def epoch_without_log(pitfalls: Iterable[Pitfall]) -> None:
    """Voters 0 1 2 become 2 3 4. What nodes 0 and 1 have decided has not come to the others when these hear that the
    epoch is over."""
    stage = Stage(pitfalls, 5, Epochs((0, 1, 2), (Change(0, (2, 3, 4)),)))
    stage.submit(0)
    stage.fire(0, "beat")
    stage.let(0, 1)
    assert len(stage.order) == 1
    stage.let(0, 1, 2, 3, 4, only=(Step.END_EPOCH,))
    stage.lose()
    stage.submit(2)
    stage.let(2, 3, 4)
    for number in (0, 1):
        stage.fire(number, "epoch")
    stage.let(0, 1, 2, 3, 4)
    assert len(stage.order) == 2, "when it has come"


def view_before_epoch(pitfalls: Iterable[Pitfall]) -> None:
    """The same; node 2, whose turn it is, has all, and dies before the others have it."""
    stage = Stage(pitfalls, 5, Epochs((0, 1, 2), (Change(0, (2, 3, 4)),)))
    stage.submit(0)
    stage.fire(0, "beat")
    stage.let(0, 1)
    stage.let(0, 1, 2)
    assert len(stage.order) == 1
    stage.lose()
    stage.fire(2, "beat")
    stage.deliver(2, 3)
    stage.deliver(2, 4)
    stage.kill(2)
    stage.change(3, 4)
    stage.submit(3)
    stage.let(3, 4)
    for number in (0, 1):
        stage.fire(number, "epoch")
    stage.let(0, 1, 3, 4)
    stage.fire(4, "beat")
    stage.let(0, 1, 3, 4)
    assert len(stage.order) == 2, "those that ended the epoch before have helped"


STORIES: dict[Pitfall, Callable[[Iterable[Pitfall]], None]] = {
    Pitfall.RECOVERY_WITHOUT_NONCE: recovery_without_nonce,
    Pitfall.RECOVERY_FROM_MINORITY: recovery_from_minority,
    Pitfall.RECOVERS_FROM_OLD_PRIMARY: recovers_from_old_primary,
    Pitfall.RECOVERY_AS_PUBLISHED: recovery_as_published,
    Pitfall.VOTES_WHILE_RECOVERING: votes_while_recovering,
    Pitfall.LONGEST_LOG: longest_log,
    Pitfall.ACTS_IN_OLD_VIEW: acts_in_old_view,
    Pitfall.TRANSFER_AS_PUBLISHED: transfer_as_published,
    Pitfall.TRANSFER_KEEPS_TAIL: transfer_keeps_tail,
    Pitfall.READ_UNCONFIRMED: read_unconfirmed,
    Pitfall.READ_BEFORE_FIRST: read_before_first,
    Pitfall.EPOCH_FROM_ONE: epoch_from_one,
    Pitfall.EPOCH_WITHOUT_LOG: epoch_without_log,
    Pitfall.VIEW_BEFORE_EPOCH: view_before_epoch,
}
"""Schedules, each of which one bug does not bear."""

FOUND_HERE = tuple(Pitfall)


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_schedule_that_a_bug_does_not_bear_is_borne_without_it(story: Callable[[Iterable[Pitfall]], None]) -> None:
    story(())


def finds(name: str) -> bool:
    """Whether a schedule shows a planted bug, and nothing without it (for the conformance suite)."""
    story = STORIES[Pitfall(name)]
    return goes_wrong(story, (Pitfall(name),)) and not goes_wrong(story)


# -- epochs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voters", [(0, 1, 2, 3, 4), (2, 3, 4), (4,), (0, 3)])
def test_voters_change_while_values_are_submitted_and_nothing_is_lost(voters: tuple[int, ...]) -> None:
    world = Clocked(5, built(epochs=Epochs((0, 1, 2), (Change(6 * T, voters),))))
    for number in range(60):
        world.submit(number % 5)
        world.wait(T // 5)
    world.wait(10 * T)
    assert views(world) == {over(1) + 1}
    assert vrr(world, 1).leader() == voters[0]
    assert all(held == world.order for held in world.held)
    assert len(world.order) == 60


def test_an_epoch_begins_three_delays_after_the_last_entry_of_the_one_before_was_decided() -> None:
    """Who has a vote in the one before says that it is over, or asks for what it does not know to be decided yet."""
    world = Clocked(3, built(epochs=Epochs((0, 1, 2), (Change(RETRY_NS, (1, 2)),))))
    world.run(RETRY_NS + 2 * world.DELAY_NS)
    assert vrr(world, 0).status is Status.ENDED
    assert vrr(world, 1).status is Status.NORMAL
    world.wait(3 * world.DELAY_NS)
    assert vrr(world, 1).leader() == vrr(world, 2).leader() == 1
    world.wait(world.DELAY_NS)
    assert views(world) == {over(1) + 1}


def test_after_a_change_the_new_voters_alone_suffice_and_are_needed() -> None:
    world = Clocked(5, built(epochs=Epochs((0, 1, 2), (Change(6 * T, (2, 3, 4)),))))
    world.wait(15 * T)
    world.kill(0)
    world.kill(1)
    world.submit(2)
    world.wait(2 * T)
    assert world.order == [value(1)]
    world.kill(2)
    world.submit(3)
    world.wait(10 * T)
    assert len(world.order) == 2
    world.kill(4)
    world.submit(3)
    world.wait(20 * T)
    assert len(world.order) == 2, "one of three is no quorum"


def test_a_change_that_its_primary_did_not_finish_is_finished_by_the_next() -> None:
    world = Clocked(5, built(epochs=Epochs((0, 1, 2), (Change(6 * T, (2, 3, 4)),))))
    while not vrr(world, 0)._closes():
        world.wait(1)
    world.wait(world.DELAY_NS)  # the others have it as well
    world.kill(0)
    world.wait(10 * T)
    assert views(world) == {over(1) + 1}


def test_who_does_not_vote_learns_and_asks_for_no_view() -> None:
    world = Clocked(4, built(epochs=Epochs((0, 1, 2))))
    world.submit(3)
    world.wait(50)
    assert world.held[3] == [value(1)]
    world.kill(1)
    world.kill(2)
    world.submit(0)
    world.wait(20 * T)
    assert len(world.order) == 1, "the primary and who learns are no quorum"
    assert vrr(world, 3).term == 1
    world.start(3)
    world.wait(20 * T)
    assert vrr(world, 3).status is Status.RECOVERING, "nor can they tell one that comes back what was decided"


def test_a_life_that_comes_back_in_a_later_epoch_finds_it() -> None:
    world = Clocked(5, built(epochs=Epochs((0, 1, 2), (Change(6 * T, (2, 3, 4)), Change(12 * T, (0, 1, 4))))))
    for number in range(5):
        world.wait(4 * T)
        world.submit(number)
        world.start((number + 1) % 5)
    world.wait(6 * T)
    (term,) = views(world)
    assert epoch_of(term) == 2
    assert all(held == world.order for held in world.held)
    assert len(world.order) == 5


def test_one_that_has_slept_through_an_epoch_has_all_of_it_when_it_leads_the_next() -> None:
    """Node 2 hears from a quorum that epoch 1 is over before it knows that epoch 0 is."""
    stage = Stage((), 3, Epochs((0, 1, 2), (Change(0, (0, 1, 2)), Change(0, (2, 0, 1)))))
    stage.fire(0, "beat")
    stage.let(0, 1)
    stage.submit(0)
    stage.let(0, 1)
    assert len(stage.order) == 1
    stage.fire(0, "beat")
    stage.let(0, 1)
    stage.lose()
    for number in (0, 1):
        stage.fire(number, "epoch")
        stage.deliver(number, 2)
    stage.let(0, 1, 2)
    assert vrr(stage, 2).leader() == 2
    stage.submit(2)
    stage.let(0, 1, 2)
    assert stage.order == [value(1), value(2)]
    assert stage.held[2] == stage.order


def test_what_was_decided_is_taken_as_a_whole_or_entries_that_were_vouched_for_would_be_given_up() -> None:
    stage = Stage((), 3, Epochs((0, 1, 2), (Change(0, (0, 1, 2)),)))
    for _ in range(2):
        stage.submit(0)
    stage.let(0, 2, only=(Step.PREPARE,))
    machine = vrr(stage, 2)
    first = machine.entries.at(0)
    machine.receive(1, message(over(1), EndEpoch(3, (1, 1, 1))), 0)
    machine.receive(1, message(over(1), NewState(State(0, 1, (first,)))), 0)
    assert machine.entries.end == 2


def test_what_a_scenario_plans_is_done_on_the_simulator_and_what_can_not_be_is_refused() -> None:
    def plan_of(**parameters: Any) -> Plan:
        protocol = {"consensus": "vrr", "f": 1, "window": "1ms", "retry": "300us", "instances": 24}
        data = {"name": "x", "topology": {"kind": "star", "hosts": 5}, "links": {"default": {"delay": "20us"}}}
        return compile_plan(from_data({**data, "protocol": {**protocol, "parameters": parameters}}))

    plan = plan_of(voters=3, changes=[{"at_ns": "8ms", "members": [2, 3, 4]}])
    history = SimEngine().run(plan)
    verdict = judge(plan, history).consensus
    assert verdict is not None
    assert (verdict.decided, verdict.undecided, verdict.disagreements) == (5 * 24, (), ())
    said = [(event.what.round, event.node) for event in history.events.of_kind(Sent) if event.what.step == Step.PREPARE]
    assert dict(said) == {1: "host1", over(1) + 1: "host3"}
    with pytest.raises(UserError, match="2 voters bear fewer than f = 1 crashes"):
        plan_of(changes=[{"at_ns": "8ms", "members": [2, 3]}])


# -- schedules by chance -----------------------------------------------------------------------------------------------


class Borne(LogWorld):
    """No more nodes are down, or on their way back, than any epoch bears."""

    borne = 1

    def start(self, number: int, state: Disk = Disk.KEPT) -> None:
        if self.nodes[number].machine is None or self._may_die(number):
            super().start(number, state)

    def kill(self, number: int) -> None:
        if self._may_die(number):
            super().kill(number)

    def strike(self, node: Any, index: int) -> bool:
        return not self._may_die(node.config.node) or super().strike(node, index)

    def _may_die(self, number: int) -> bool:
        others = (node.machine for node in self.nodes if node.config.node != number)
        return sum(machine is None or not machine.machine.takes_part for machine in others) < self.borne


def raged(seed: int, pitfalls: Iterable[Pitfall] = ()) -> Borne:
    """A random world, calmed down: voters change, nodes lose all that they had, one at a time or two of five."""
    rng = random.Random(f"vrr {seed}")
    n = rng.choice((3, 5, 5))
    size, step_ns = rng.choice((3, n)), rng.choice((T, 3 * T))
    times = sorted(rng.randrange(40 * step_ns // 2) for _ in range(rng.randrange(4)))
    changes = [Change(at_ns, tuple(rng.sample(range(n), size))) for at_ns in times]
    epochs = Epochs(tuple(rng.sample(range(n), size)), changes)
    world = Borne(seed, n, built(pitfalls, epochs), rng.choice((0.0, 0.05, 0.2)))
    world.borne = size // 2
    world.rage(40, step_ns, rng.choice((0.05, 0.1, 0.3)), rng.choice((0.0, 0.1)))
    world.calm(60 * T)
    return world


def test_one_log_in_every_world_and_all_of_it_when_it_is_calm_again() -> None:
    decided = answered = lives = 0
    for seed in range(12):
        world = raged(seed)
        decided, answered = decided + len(world.order), answered + world.answered
        lives += sum(node.epoch for node in world.nodes)
        (term,) = views(world)
        assert epoch_of(term) == len(vrr(world, 0).epochs.changes)
        for number, held in enumerate(world.held):
            assert held == world.order
            assert not vrr(world, number).pending
            assert not vrr(world, number).reading
    assert decided > 200
    assert answered > 100
    assert lives > 100


# -- bytes -------------------------------------------------------------------------------------------------------------

_ENTRIES = (Entry(3, b"one"), Entry(4, b""))
_BASE = logs.Base(7, 5, b"", b"state").pack()
SAID: tuple[Said, ...] = (
    Prepare(3, 2, Entry(1, b"entry")),
    PrepareOk(9, 1),
    Commit(3, 2, 1),
    StartViewChange((1, 2, 0)),
    DoViewChange(2, (1, 1, 3), State(2, 3, _ENTRIES)),
    StartView(State(7, 8, _ENTRIES, _BASE)),
    Recovery(2, (0, 2, 0)),
    RecoveryResponse(2, (1, 2, 1)),
    RecoveryResponse(2, (1, 2, 1), State(0, 0)),
    GetState(4),
    NewState(State(1, 1, ())),
    EndEpoch(4, (1, 2, 3)),
    EpochStarted(),
)


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_messages_come_back_and_cut_ones_are_none_or_others(said: Said) -> None:
    sent = message(5, said)
    assert read(sent) == said
    for length in range(len(sent.body)):
        assert read(sent._replace(body=sent.body[:length])) != said


def test_a_base_that_is_not_right_below_the_entries_is_none() -> None:
    assert read(message(1, NewState(State(8, 8, _ENTRIES, _BASE)))) is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_bytes_bring_a_machine_down(data: st.DataObject) -> None:
    """Neither one in its first life nor one that recovers, whatever is said to it and by whom."""
    epoch = data.draw(st.integers(1, 2))
    machine = VrrMachine(node_config(0, 3, retry_ns=RETRY_NS, epoch=epoch), (), PATIENCE)
    machine.on_start(0, {})
    known = st.builds(
        lambda said, at, by: _bent(message(5, said).body, at, by), st.sampled_from(SAID), *[st.integers(0, 255)] * 2
    )
    for now_ns in range(data.draw(st.integers(1, 12))):
        body = data.draw(st.one_of(known, st.binary(max_size=40)))
        said = Message(Kind.DATA, data.draw(st.integers(0, 7)), data.draw(st.sampled_from([*Step, 99])), body)
        machine.on_message(data.draw(st.integers(0, 1)), said, Life(1, 1), now_ns)
        machine.on_timer(data.draw(st.sampled_from(["view", "beat", "again"])), now_ns)


def _bent(body: bytes, at: int, by: int) -> bytes:
    """One byte is another one, if there is any."""
    bent = bytearray(body or b"x")
    bent[at % len(bent)] ^= by
    return bytes(bent)
