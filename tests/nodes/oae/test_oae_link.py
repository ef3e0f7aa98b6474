"""The bilateral link: two ends, a script of what the network does, and who ends how."""

from __future__ import annotations

import heapq
import itertools
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from work import steps

from testbed.nodes.core import Effects, Life, LinkState, Note, Outcome, Resolve, Send, Transition
from testbed.nodes.frames import Kind, Message
from testbed.nodes.oae.link import SETTLED, Link

W = 1000
VALUES = {0: b"a" * 16, 1: b"b" * 16}


def link(me: int, depth: int = 4, horizon: str = "abort", handshake: str = "alternating", epoch: int = 1) -> Link:
    return Link(me, 1 - me, 0, depth, handshake, horizon, epoch)


class Said(NamedTuple):
    """A message on the wire to ``dst``."""

    dst: int
    message: Message
    life: Life


def sends(end: Link, effects: Effects, epoch: int = 0) -> list[Said]:
    """What ``end`` says in its life ``epoch``; 0 stands for the one that its state began with."""
    life = Life(epoch or end.first_epoch, end.peer_epoch)
    return [Said(end.peer, effect.message, life) for effect in effects if isinstance(effect, Send)]


def hear(end: Link, said: Said, now: int) -> Effects:
    """It comes in."""
    assert said.dst == end.me
    return end.on_message(said.message, said.life, now)


def told(effects: Effects) -> list[str]:
    """The notes."""
    return [effect.what for effect in effects if isinstance(effect, Note)]


FIRST = Life(1, 0)
ANSWERS = Life(1, 1)


class Pair:
    """Two ends; ``fate(said)`` says after which delays a message arrives ([] = lost, two entries = duplicated)."""

    def __init__(self, fate, **kwargs) -> None:
        self.ends = [link(me, **kwargs) for me in (0, 1)]
        self.fate = fate
        self.queue: list[tuple[int, int, Said]] = []
        self.order = itertools.count()
        self.resolved: dict[int, list[tuple[int, Outcome, bytes]]] = {0: [], 1: []}
        self.states: dict[int, list[LinkState]] = {0: [], 1: []}
        self.notes: list[str] = []

    def perform(self, me: int, effects: Effects, now: int) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                [said] = sends(self.ends[me], [effect])
                for delay in self.fate(said):
                    heapq.heappush(self.queue, (now + delay, next(self.order), said))
            elif isinstance(effect, Resolve):
                self.resolved[me].append((now, effect.outcome, effect.value))
            elif isinstance(effect, Transition):
                self.states[me].append(effect.new)
            elif isinstance(effect, Note):
                self.notes.append(effect.what)

    def deliver(self, until: int) -> None:
        while self.queue and self.queue[0][0] <= until:
            now, _, said = heapq.heappop(self.queue)
            self.perform(said.dst, hear(self.ends[said.dst], said, now), now)

    def run(self, round_: int = 0, until: int = 10 * W, retries: int = 0) -> tuple[Outcome | None, Outcome | None]:
        for me in (0, 1):
            self.perform(me, self.ends[me].start(round_, VALUES[me], W, 0), 0)
        self.deliver(W)
        for me in (0, 1):
            self.perform(me, self.ends[me].expire(W), W)
        for retry in range(1, retries + 1):
            self.deliver(W + retry * W)
            for me in (0, 1):
                self.perform(me, self.ends[me].retry(), W + retry * W)
        self.deliver(until)
        return self.outcome(0), self.outcome(1)

    def outcome(self, me: int) -> Outcome | None:
        return self.resolved[me][-1][1] if self.resolved[me] else None


def on_time(_: Said) -> list[int]:
    return [10]


def lose(*steps: int):
    return lambda said: [] if said.message.step in steps else [10]


COMMITTED, ABORTED, IN_DOUBT = Outcome.COMMITTED, Outcome.ABORTED, Outcome.IN_DOUBT


@pytest.mark.parametrize("depth", range(2, 9))
def test_on_a_clean_link_both_commit_the_others_value(depth: int) -> None:
    pair = Pair(on_time, depth=depth)
    assert pair.run() == (COMMITTED, COMMITTED)
    assert pair.resolved[0][0][2] == VALUES[1]
    assert pair.resolved[1][0][2] == VALUES[0]
    assert pair.states[0] == pair.states[1] == [LinkState.TENTATIVE, LinkState.REFLECTING, LinkState.COMMITTED]
    # the last message decides one end, the message before it the other: they differ by one delay
    assert sorted(pair.resolved[me][0][0] for me in (0, 1)) == [(depth - 1) * 10, depth * 10]


def test_simultaneous_offers_commit_after_one_delay() -> None:
    pair = Pair(on_time, handshake="simultaneous")
    assert pair.run() == (COMMITTED, COMMITTED)
    assert [pair.resolved[me][0][0] for me in (0, 1)] == [10, 10]


@pytest.mark.parametrize("depth", range(2, 8))
def test_losing_the_last_message_splits_and_no_other_loss_does(depth: int) -> None:
    for lost in range(1, depth + 1):
        outcomes = Pair(lose(lost), depth=depth).run()
        assert (outcomes[0] != outcomes[1]) == (lost == depth), f"step {lost} of {depth}"


@pytest.mark.parametrize("depth", range(2, 8))
def test_split_probability_is_that_of_two_generals(depth: int) -> None:
    """P(split) = q (1 - q)^(k-1) for independent losses q, summed over all loss patterns."""
    q = Fraction(1, 7)
    split = Fraction(0)
    for lost in itertools.product((False, True), repeat=depth):
        outcomes = Pair(lose(*(i + 1 for i in range(depth) if lost[i])), depth=depth).run()
        if outcomes[0] != outcomes[1]:
            weight = Fraction(1)
            for gone in lost:
                weight *= q if gone else 1 - q
            split += weight
    assert split == q * (1 - q) ** (depth - 1)


def test_simultaneous_split_probability() -> None:
    """2 q (1 - q): exactly one of the two offers is lost."""
    splits = 0
    for lost in itertools.product((False, True), repeat=2):
        outcomes = Pair(lambda said, lost=lost: [] if lost[said.dst] else [10], handshake="simultaneous").run()
        splits += outcomes[0] != outcomes[1]
    assert splits == 2


def test_a_frame_at_the_window_counts_and_one_behind_it_does_not() -> None:
    def arriving_at(when: int):
        return lambda said: [when] if said.message.step == 1 else [0]

    assert Pair(arriving_at(W), depth=2).run() == (COMMITTED, COMMITTED)
    assert Pair(arriving_at(W + 1), depth=2).run() == (ABORTED, ABORTED)


def test_hold_blocks_where_abort_splits_and_late_frames_complete_it() -> None:
    assert Pair(lose(4), horizon="hold").run() == (IN_DOUBT, COMMITTED)
    pair = Pair(lambda said: [2 * W] if said.message.step == 4 else [10], horizon="hold")
    assert pair.run() == (COMMITTED, COMMITTED)
    assert [outcome for _, outcome, _ in pair.resolved[0]] == [IN_DOUBT, COMMITTED]


def test_reconcile_resolves_once_the_link_has_healed() -> None:
    healed = W + 3 * W

    class Healing(Pair):
        def perform(self, me: int, effects: Effects, now: int) -> None:
            self.fate = on_time if now >= healed else lose(3)
            super().perform(me, effects, now)

    pair = Healing(None, horizon="reconcile")
    assert pair.run(retries=5) == (COMMITTED, COMMITTED)
    assert pair.resolved[0][0][1] is IN_DOUBT


def test_a_duplicate_changes_nothing() -> None:
    pair = Pair(lambda _: [10, 11])
    assert pair.run() == (COMMITTED, COMMITTED)
    assert [len(pair.resolved[me]) for me in (0, 1)] == [1, 1]
    assert "duplicate" in pair.notes


def answer(life: Life, step: int = 2) -> Said:
    """Node 1's words in round 0."""
    return Said(0, Message(Kind.SWAP, 0, step, VALUES[1]), life)


def test_a_message_for_my_earlier_life_is_stale_unless_i_kept_my_state() -> None:
    fresh = link(0, epoch=2)
    fresh.start(0, VALUES[0], W, 0)
    assert told(hear(fresh, answer(Life(1, 1)), 5)) == ["stale"]
    kept = link(0, epoch=1)  # whichever life it is in now
    kept.start(0, VALUES[0], W, 0)
    assert sends(kept, hear(kept, answer(Life(1, 1)), 5))


def test_what_was_kept_for_the_round_to_come_is_stale_if_the_peer_has_restarted_since() -> None:
    """Its new life has said something of an older round before ours begins."""
    ours = link(1)
    opening = Message(Kind.SWAP, 0, 1, VALUES[0])
    assert ours.on_message(opening, FIRST, 0) == []
    ours.on_message(opening._replace(round=7), Life(2, 0), 0)
    assert told(ours.start(0, VALUES[1], W, 0)) == ["stale"]


def test_frames_of_the_next_round_wait_for_it() -> None:
    """The peer's clock is a moment ahead, or its frame ties with our timer."""
    ours = link(1)
    assert ours.on_message(Message(Kind.SWAP, 0, 1, VALUES[0]), FIRST, 0) == []
    assert [said.message.step for said in sends(ours, ours.start(0, VALUES[1], W, 0))] == [2]


def test_strays_are_noted_and_ignored() -> None:
    ours = link(0)
    ours.start(3, VALUES[0], W, 0)

    def notes(message: Message) -> list[str]:
        return told(ours.on_message(message, FIRST, 1))

    base = Message(Kind.SWAP, 3, 2, VALUES[1])
    assert notes(base._replace(step=1)) == ["stray"]  # a step that only we send
    assert notes(base._replace(step=0)) == ["stray"]
    assert notes(base._replace(step=6)) == ["stray"]  # beyond the depth
    assert notes(base._replace(round=1)) == ["stale"]
    assert notes(base._replace(round=9)) == ["stale"]
    for round_ in (1, 4, 9):
        assert notes(base._replace(kind=Kind.RESET, round=round_)) == ["stale"]
    assert ours.early == []


def test_reconcile_tells_a_peer_that_it_lost_its_state_and_the_peer_stops_asking() -> None:
    ours = link(0, horizon="reconcile")
    ours.start(0, VALUES[0], W, 0)
    ours.expire(W)
    [ask] = sends(ours, ours.retry())
    reborn = link(1, horizon="reconcile", epoch=2)
    reborn.start(1, VALUES[1], 3 * W, 2 * W)
    [answered] = sends(reborn, hear(reborn, ask, 2 * W))
    assert answered.message.kind is Kind.RESET
    hear(ours, answered, 2 * W + 10)
    assert ours.retry() == []
    assert ours.ends[0].state is LinkState.IN_DOUBT  # still in doubt: nothing can resolve it any more


Epochs = tuple[int, int]
FRESH = (0, 0)


def answers(ends: list[Link], wire: list[Said], now: int, epochs: Epochs = FRESH) -> list[Said]:
    """All of ``wire`` arrives; what is said to it."""
    heard = [(said.dst, hear(ends[said.dst], said, now)) for said in wire]
    return [back for dst, effects in heard for back in sends(ends[dst], effects, epochs[dst])]


def heal(ends: list[Link], retries: int = 3, epochs: Epochs = FRESH) -> int:
    """Both ends retry, and every frame arrives at once. Returns how many frames that took."""
    count = 0
    for _ in range(retries):
        wire = [said for end in ends for said in sends(end, end.retry(), epochs[end.me])]
        while wire:
            count += len(wire)
            assert count < 1000, "answers to answers never end"
            wire = answers(ends, wire, 10 * W, epochs)
    return count


def in_doubt(**kwargs) -> list[Link]:
    """Two reconciling ends whose first round has brought nothing at all."""
    ends = [link(me, horizon="reconcile", **kwargs) for me in (0, 1)]
    for me, end in enumerate(ends):
        end.start(0, VALUES[me], W, 0)
        end.expire(W)
    return ends


def states(ends: list[Link], round_: int = 0) -> list[LinkState]:
    return [end.ends[round_].state for end in ends]


@pytest.mark.parametrize("hears", [0, 1])
def test_a_reconciling_end_of_a_simultaneous_swap_is_answered_by_one_that_has_committed(hears: int) -> None:
    """One offer arrives, the other is lost. Who has committed must say its value again, though it expects no answer."""
    pair = Pair(
        lambda said: [10] if said.dst == hears else [], handshake="simultaneous", horizon="reconcile"
    )  # fmt: skip
    pair.run(until=W)
    assert sorted(states(pair.ends)) == ["COMMITTED", "IN_DOUBT"]
    assert heal(pair.ends) == 2  # the offer once more, and the answer
    assert states(pair.ends) == ["COMMITTED", "COMMITTED"]


def test_offers_that_the_network_doubles_are_not_answered_for_ever() -> None:
    pair = Pair(lambda _: [10, 11], handshake="simultaneous", horizon="reconcile")
    assert pair.run() == (COMMITTED, COMMITTED)
    assert pair.notes == ["duplicate"] * 6  # two offers doubled, their two answers too
    assert [len(pair.resolved[me]) for me in (0, 1)] == [1, 1]


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_held_up_initiator_opens_the_swap_when_it_reconciles(depth: int) -> None:
    """It began the round after its horizon and said nothing; somebody must, or both would wait for ever."""
    ends = [link(me, depth, "reconcile") for me in (0, 1)]
    assert sends(ends[0], ends[0].start(0, VALUES[0], W, W + 1)) == []
    ends[1].start(0, VALUES[1], W, 0)
    for end in ends:
        end.expire(W + 1)
    heal(ends)
    assert states(ends) == ["COMMITTED", "COMMITTED"]


def begun(ends: list[Link], round_: int, deadline: int, now: int, epochs: Epochs = FRESH) -> list[Said]:
    """Both begin ``round_``."""
    effects = [end.start(round_, VALUES[end.me], deadline, now) for end in ends]
    return [said for end in ends for said in sends(end, effects[end.me], epochs[end.me])]


def opened(ends: list[Link], round_: int, epochs: Epochs = FRESH) -> list[Said]:
    """Both begin ``round_``; what node 1 says to node 0's opening."""
    return answers(ends, begun(ends, round_, (2 * round_ + 1) * W, 0, epochs), 0, epochs)


@pytest.mark.parametrize("keep_state", [True, False])
def test_who_has_sent_nothing_asks_a_restarted_peer_with_step_0(keep_state: bool) -> None:
    """The opening is the other's part; but a life that knows nothing of the round will never open it."""
    ends = in_doubt()
    assert ends[1].retry() == []
    if not keep_state:
        ends[0] = link(0, horizon="reconcile", epoch=2)
        ends[0].round = 0
    lives = (2, 1)
    assert [said.message.flags & SETTLED for said in opened(ends, 1, lives)] == [0]  # round 1 tells of the new life
    [ask] = sends(ends[1], ends[1].retry())
    assert (ask.message.step, ask.message.round) == (0, 0)
    [answered] = answers(ends, [ask], W, lives)
    assert (answered.message.kind, answered.message.step) == ((Kind.SWAP, 1) if keep_state else (Kind.RESET, 0))
    for end in ends:
        end.expire(3 * W)
    heal(ends, epochs=lives)
    assert ends[1].ends[0].state is (LinkState.COMMITTED if keep_state else LinkState.IN_DOUBT)
    assert ends[1].retry() == []
    assert [said.message.flags & SETTLED for said in opened(ends, 2, lives)] == [
        SETTLED
    ]  # nor must node 0 remember for ever


def test_late_copies_of_what_is_settled_are_not_answered() -> None:
    """The peer has said that it asks about nothing before this round: to tell it of lost state would be untrue."""
    ends = [link(me, horizon="reconcile") for me in (0, 1)]
    opened(ends, 0)
    for end in ends:
        end.expire(W)
    [ask, *_] = sends(ends[1], ends[1].retry())
    heal(ends)
    for round_ in (1, 2):
        [answered] = opened(ends, round_)
        hear(ends[0], answered, 0)
        for end in ends:
            end.expire(W)
        heal(ends)
    assert list(ends[0].ends) == [1, 2]
    [note] = hear(ends[0], ask, W)
    assert isinstance(note, Note)
    assert note.what == "stale"


def test_a_frame_for_an_earlier_life_is_answered_with_a_reset_at_once() -> None:
    """Before the reborn end has said anything in its new life that would tell the peer of it."""
    ours = link(0, horizon="reconcile")
    ours.start(0, VALUES[0], W, 0)
    hear(ours, answer(ANSWERS), 5)
    ours.expire(W)
    reborn = link(1, horizon="reconcile", epoch=2)
    reborn.round = 0
    [ask] = sends(ours, ours.retry())
    assert (ask.message.step, ask.life.answers) == (3, 1)
    assert heal([ours, reborn]) == 2
    assert ours.in_doubt() == []
    assert reborn.early == []


def test_a_reconciling_end_remembers_until_the_peer_is_settled_and_no_longer() -> None:
    """Round 0: the last message is lost, so that only node 1 commits. It may be asked for as long as that takes."""
    ends = [link(me, horizon="reconcile") for me in (0, 1)]

    def swap(round_: int, lost: int = 0) -> None:
        now = round_ * W
        wire = begun(ends, round_, now + W, now)
        while wire:
            wire = answers(ends, [said for said in wire if said.message.step != lost], now + 10)
        for end in ends:
            end.expire(now + W)

    swap(0, lost=4)
    for round_ in range(1, 300):
        swap(round_)
    assert states(ends) == ["IN_DOUBT", "COMMITTED"]
    assert len(ends[0].ends) < 4  # node 1 has nothing in doubt, and says so in every round
    heal(ends)
    assert states(ends) == ["COMMITTED", "COMMITTED"]
    for round_ in range(300, 303):
        swap(round_)
    assert max(len(end.ends) for end in ends) < 4


def test_what_comes_late_counts_for_the_swap_and_not_for_the_round() -> None:
    """A held-up node handles a frame after the horizon, and before its timer."""
    for horizon in ("hold", "reconcile"):
        ours = link(1, 2, horizon)
        ours.start(0, VALUES[1], W, 0)
        effects = ours.on_message(Message(Kind.SWAP, 0, 1, VALUES[0]), FIRST, W + 1)
        assert [effect.outcome for effect in effects if isinstance(effect, Resolve)] == [IN_DOUBT, COMMITTED]
        assert ours.committed() is None


def test_a_held_up_end_aborts_late_instead_of_committing_late() -> None:
    """A frame that arrived in time but is handled after the window (a paused node) comes too late."""
    ours = link(0, depth=2)
    ours.start(0, VALUES[0], W, 0)
    effects = hear(ours, answer(ANSWERS), W + 5)
    assert [effect.outcome for effect in effects if isinstance(effect, Resolve)] == [ABORTED]
    assert ours.expire(W + 6) == []
    held_up = link(0, depth=2)
    assert not any(isinstance(effect, Send) for effect in held_up.start(0, VALUES[0], W, W + 1))


def test_a_restart_with_kept_state_repeats_how_the_last_swap_ended() -> None:
    pair = Pair(on_time)
    pair.run()
    [again] = pair.ends[0].resume()
    assert isinstance(again, Resolve)
    assert again.outcome is COMMITTED
    assert link(0).resume() == []
    # what the crash may have swallowed is what was told last, be it of an earlier round
    ends = in_doubt(depth=2)
    [ask] = sends(ends[0], ends[0].retry())
    ends[1].start(1, VALUES[1], 3 * W, 2 * W)
    hear(ends[1], ask, 2 * W)
    [again] = ends[1].resume()
    assert isinstance(again, Resolve)
    assert (again.swap.round, again.outcome) == (0, COMMITTED)


@pytest.mark.parametrize("horizon", ["hold", "reconcile"])
def test_a_round_takes_no_more_work_however_many_swaps_before_it_are_in_doubt(horizon: str) -> None:
    ours = link(0, horizon=horizon)

    def unanswered(round_: int) -> None:
        now = round_ * W
        ours.start(round_, VALUES[0], now + W, now)
        ours.expire(now + W)

    work = [steps(unanswered, round_) for round_ in range(200)]
    assert ours.ends[0].state is LinkState.IN_DOUBT
    assert max(work) <= 2 * work[0]


def test_a_round_takes_no_more_work_however_many_swaps_the_peer_may_still_ask_about() -> None:
    """All that we say is lost, and so the peer is never settled; what it says arrives, and so we commit."""
    ours = link(0, horizon="reconcile", handshake="simultaneous")

    def committed(round_: int) -> None:
        now = round_ * W
        ours.start(round_, VALUES[0], now + W, now)
        ours.on_message(Message(Kind.SWAP, round_, 1, VALUES[1]), FIRST, now)
        ours.expire(now + W)

    work = [steps(committed, round_) for round_ in range(200)]
    assert ours.ends[0].state is LinkState.COMMITTED
    assert max(work) <= 2 * work[0]


def test_expiring_before_the_deadline_or_without_a_round_does_nothing() -> None:
    ours = link(0)
    assert ours.expire(0) == []
    ours.start(0, VALUES[0], W, 0)
    assert ours.expire(W - 1) == []
    assert ours.committed() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 1}, "depth of 2 or more"),
        ({"handshake": "triple"}, "none of alternating, simultaneous"),
        ({"horizon": "guess"}, "none of abort, hold, reconcile"),
    ],
)
def test_impossible_links_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        link(0, **arguments)


fates = st.lists(st.lists(st.integers(0, 3 * W), max_size=3), min_size=1, max_size=24)


@settings(max_examples=400, deadline=None)
@given(fates, st.integers(2, 6), st.sampled_from(["abort", "hold", "reconcile"]), st.booleans())
def test_whatever_the_network_does(fates: list[list[int]], depth: int, horizon: str, simultaneous: bool) -> None:
    """Any loss, duplication, delay and order: values are never mixed up, abort always ends, hold never splits."""
    script = itertools.chain(fates, itertools.repeat([]))
    handshake = "simultaneous" if simultaneous else "alternating"
    pair = Pair(lambda _: next(script), depth=depth, horizon=horizon, handshake=handshake)
    outcomes = pair.run(retries=4 if horizon == "reconcile" else 0, until=100 * W)
    for me in (0, 1):
        assert pair.resolved[me], "every end says something by the horizon"
        for when, outcome, value in pair.resolved[me]:
            assert value == VALUES[1 - me if outcome is COMMITTED else me]
            assert horizon != "abort" or when <= W
        final = [outcome for _, outcome, _ in pair.resolved[me] if outcome is not IN_DOUBT]
        assert len(final) <= 1, "an end resolves once"
    if horizon != "abort":
        assert ABORTED not in outcomes
    if horizon == "reconcile":
        heal(pair.ends)
        assert states(pair.ends) == ["COMMITTED", "COMMITTED"]
