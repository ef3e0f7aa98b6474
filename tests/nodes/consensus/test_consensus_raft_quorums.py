"""Majorities, single and joint: against arithmetic that others recorded (etcd's raft), against all sets of voters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import pytest
from needs import MOOT, needs

from testbed.nodes.consensus.raft.quorums import EVERYTHING, Membership, Poll, acknowledged, majority, poll

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "raft"
needs_vectors = needs(MOOT, VECTORS.exists(), "the arithmetic that others recorded is not here")


# -- what others recorded ----------------------------------------------------------------------------------------------


def answered(text: str) -> str:
    """A file of theirs with our answers in place of theirs: each command, and what stands below its line."""
    lines, at = text.splitlines(), 0
    out: list[str] = []
    while at < len(lines):
        out.append(lines[at])
        if lines[at] == "----":
            out += answer(lines[at - 1]).splitlines()
            while at + 1 < len(lines) and lines[at + 1]:
                at += 1
        at += 1
    return "\n".join(out) + "\n"


def answer(command: str) -> str:
    """``committed`` or ``vote``, of voters and of what each has said; ``_``: nothing yet."""
    fields = dict(re.findall(r"(\w+)=\(([^)]*)\)", command))
    voters = sorted(int(one) for one in fields.get("cfg", "").split(",") if one)
    said = [one.strip() for key in ("idx", "votes") for one in fields.get(key, "").split(",") if one]
    told = {voter: word for voter, word in zip(voters, said, strict=True) if word != "_"}
    if command.startswith("vote"):
        return f"Vote{poll(voters, {voter: word == 'y' for voter, word in told.items()}).capitalize()}"
    acked = {voter: int(word) for voter, word in told.items()}
    most = acknowledged(voters, acked)
    return picture(voters, acked) + ("∞" if most == EVERYTHING else str(most))


def picture(voters: list[int], acked: dict[int, int]) -> str:
    """As theirs: a bar as long as there are voters behind it, or a question where nothing is known."""
    if not voters:
        return "<empty majority quorum>"
    n = len(voters)
    bars = {voter: sum(acked.get(other, 0) < acked.get(voter, 0) for other in voters) for voter in voters}
    lines = [" " * n + "    idx"]
    for voter in voters:
        bar = "x" * bars[voter] + ">" + " " * (n - bars[voter]) if voter in acked else "?" + " " * n
        lines.append(f"{bar} {acked.get(voter, 0):5}    (id={voter})")
    return "\n".join(lines) + "\n"


@needs_vectors
@pytest.mark.parametrize(("name", "commands"), [("majority_commit.txt", 16), ("majority_vote.txt", 22)])
def test_majorities_are_those_that_others_recorded_byte_for_byte(name: str, commands: int) -> None:
    text = (VECTORS / name).read_text(encoding="utf-8")
    assert text.splitlines().count("----") == commands
    assert answered(text) == text


# -- all sets there are ------------------------------------------------------------------------------------------------


def sets(ranks: int) -> Iterator[tuple[int, ...]]:
    """Every membership of so many ranks but the empty one."""
    for size in range(1, ranks + 1):
        yield from combinations(range(ranks), size)


def agreeing(members: Membership, ranks: int) -> list[frozenset[int]]:
    """The smallest sets of nodes whose votes win."""
    won = [frozenset(who) for who in sets(ranks) if members.poll(dict.fromkeys(who, True)) is Poll.WON]
    return [one for one in won if not any(other < one for other in won)]


@pytest.mark.parametrize("old", list(sets(4)), ids=str)
def test_whoever_can_agree_before_during_and_after_a_change_has_somebody_in_common(old: tuple[int, ...]) -> None:
    for new in sets(4):
        before = Membership(0, old)
        joint = before.joint(new)
        for one, other in ((before, joint), (joint, joint), (joint, joint.settled())):
            assert all(a & b for a in agreeing(one, 4) for b in agreeing(other, 4)), (one, other)


def test_a_majority_of_all_together_is_not_that_of_both() -> None:
    """Three that are replaced by three others: four of the six can leave the old majority out."""
    before = Membership(0, (0, 1, 2))
    taken_for = before.joint((3, 4, 5)).united()
    assert not all(a & b for a in agreeing(before, 6) for b in agreeing(taken_for, 6))


def test_a_vote_and_what_is_acknowledged_are_two_views_of_one_majority() -> None:
    """What is acknowledged is the greatest number that a majority votes for: by trying all of three values."""
    for old, new in product(list(sets(3)), [(), *sets(4)]):
        members = Membership(0, old, new)
        for acked in product(range(3), repeat=4):
            said = dict(enumerate(acked))
            won = [least for least in range(3) if members.poll({n: at >= least for n, at in said.items()}) is Poll.WON]
            assert members.acknowledged(said) == max(won)


def test_a_vote_is_pending_just_while_it_can_still_end_either_way() -> None:
    for old, new in product(list(sets(3)), [(), *sets(4)]):
        members = Membership(0, old, new)
        for words in product((True, False, None), repeat=4):
            votes = {rank: word for rank, word in enumerate(words) if word is not None}
            ends = {
                members.poll(dict(enumerate(last)))
                for last in product((True, False), repeat=4)
                if all(last[rank] == word for rank, word in votes.items())
            }
            stands = members.poll(votes)
            assert stands is (Poll.PENDING if len(ends) > 1 else ends.pop())


def test_a_change_counts_when_its_second_half_is_made() -> None:
    first = Membership(0, (0, 1, 2))
    joint = first.joint((3, 1, 0))
    assert joint.is_joint
    assert joint == (0, (0, 1, 3), (0, 1, 2))
    assert joint.everyone == (0, 1, 2, 3)
    assert joint.settled() == (1, (0, 1, 3), ())
    assert not joint.settled().is_joint
    assert [majority(range(n)) for n in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]
