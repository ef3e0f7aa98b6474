"""One node's log: what an append may take back, what a snapshot leaves standing."""

from __future__ import annotations

import random

import pytest

from testbed.nodes.consensus.raft.entries import NOWHERE, Entries, Entry, Spot


def entry(term: int, text: str = "") -> Entry:
    return Entry(term, text.encode())


def log(*terms: int) -> Entries:
    """A log whose entries have these terms."""
    made = Entries()
    for term in terms:
        made.append(entry(term))
    return made


def terms(made: Entries) -> list[int]:
    return [one.term for one in made.kept]


def test_entries_count_from_1_and_the_log_ends_nowhere_before_them() -> None:
    made = log()
    assert made.last == NOWHERE
    assert made.append(entry(3, "a")) == 1
    assert (made.last, made.term(0), made.term(1), made.term(2)) == (Spot(1, 3), 0, 3, None)
    assert made.entry(1) == entry(3, "a")
    assert made.entry(0) is None


# Figure 7 of the paper: the leader of term 8 has entries of the terms 1 1 1 4 4 5 5 6 6 6, and its followers ..
LEADER = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
FOLLOWERS = {
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}


@pytest.mark.parametrize(("follower", "asked"), list(zip(FOLLOWERS, (2, 2, 1, 1, 3, 3), strict=True)))
def test_the_followers_of_figure_7_become_like_their_leader_in_few_questions(follower: str, asked: int) -> None:
    """At most one for each term in which they differ."""
    leader, made = log(*LEADER), log(*FOLLOWERS[follower])
    made_by_leader = leader.append(entry(8))
    after, questions = leader.last.at - 1, 1
    while True:
        term = leader.term(after)
        assert term is not None
        if made.holds(Spot(after, term)):
            break
        after = made.agrees_until(Spot(after, term))
        questions += 1
    made.accept(Spot(after, leader.term(after) or 0), leader.since(after, 99))
    assert terms(made) == [*LEADER, 8]
    assert made.last.at == made_by_leader
    assert questions == asked


def test_a_late_append_takes_nothing_back_that_a_newer_one_brought() -> None:
    made = log(1, 1)
    assert made.accept(Spot(2, 1), [entry(1), entry(1)]) == 3
    assert made.accept(Spot(2, 1), [entry(1)]) is None
    assert made.accept(Spot(2, 1), []) is None
    assert terms(made) == [1, 1, 1, 1]
    made.accept(Spot(2, 1), [entry(1)], truncates=True)
    assert terms(made) == [1, 1, 1], "what the planted bug takes back"


def test_an_entry_in_conflict_goes_with_all_behind_it() -> None:
    made = log(1, 1, 2, 2, 2)
    assert made.accept(Spot(1, 1), [entry(1), entry(3)]) == 3
    assert terms(made) == [1, 1, 3]


def test_a_snapshot_stands_for_what_it_replaces() -> None:
    made = log(1, 1, 2, 2, 3)
    made.forget(3)
    assert (made.base, terms(made), made.last) == (Spot(3, 2), [2, 3], Spot(5, 3))
    assert (made.entry(3), made.term(3), made.term(2)) == (None, 2, None)
    assert made.since(3, 1) == [entry(2)]
    assert made.holds(Spot(1, 9)), "before the base all logs are the same"
    assert made.accept(Spot(1, 1), [entry(1), entry(2), entry(2), entry(4)]) == 5
    assert terms(made) == [2, 4]
    assert made.agrees_until(Spot(9, 9)) == 5
    assert made.agrees_until(Spot(4, 9)) == 3


def test_a_snapshot_from_another_leaves_standing_what_lies_behind_it_in_the_same_log() -> None:
    made = log(1, 1, 2, 2)
    assert made.take_on(Spot(2, 1))
    assert (made.base, terms(made)) == (Spot(2, 1), [2, 2])
    loses = log(1, 1, 2, 2)
    assert not loses.take_on(Spot(2, 1), loses_tail=True)
    assert terms(loses) == []
    other = log(1, 1, 2, 2)
    assert not other.take_on(Spot(3, 3)), "another entry stands there"
    assert (other.last, terms(other)) == (Spot(3, 3), [])
    ahead = log(1)
    assert not ahead.take_on(Spot(7, 2))
    assert ahead.last == Spot(7, 2)


@pytest.mark.parametrize("seed", range(5))
def test_two_logs_with_one_spot_in_common_are_the_same_up_to_it(seed: int) -> None:
    """Log matching: leaders of growing terms append to a part of the nodes, late and again; logs never compacted."""
    rng = random.Random(seed)
    logs = [Entries() for _ in range(3)]
    whole: dict[Spot, tuple[Entry, ...]] = {NOWHERE: ()}  # spot -> what stands up to it, in whoever's log
    said: list[tuple[int, Spot, list[Entry]]] = []  # to whom, behind which spot, what
    matched = 0
    for step in range(400):
        term = step // 20 + 1
        leader = term % 3
        lead = logs[leader]
        if rng.random() < 0.4:
            before = lead.last
            index = lead.append(entry(term, f"{step}"))
            whole[Spot(index, term)] = (*whole[before], entry(term, f"{step}"))
        after = rng.randint(lead.base.at, lead.last.at)
        spot = Spot(after, lead.term(after) or 0)
        said.append((rng.randrange(3), spot, list(lead.since(after, rng.randint(0, 4)))))
        to, spot, brought = said[rng.randrange(max(0, len(said) - 6), len(said))]
        if to != leader and logs[to].holds(spot):
            logs[to].accept(spot, brought)
            matched += 1
        for made in logs:
            for place, one in enumerate(made.kept, made.base.at + 1):
                assert whole[Spot(place, one.term)][-1] == one
                known = whole[Spot(place, one.term)]
                assert list(known[made.base.at :]) == made.kept[: place - made.base.at]
    assert matched > 100
