"""Ben-Or's algorithm as a Markov chain, exactly: in which round the first of five nodes decides, and the last one.

Written from the rules; shares no code with the engine. Two schedulers: a node counts its own message and any three of
the other four, or any four of the five.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

N, T = 5, 1


def views(me: int, said: tuple[int, ...], own_always: bool) -> Iterator[tuple[Fraction, Counter[int]]]:
    """What node ``me`` counts of the five messages of a phase, with its probability: all but one, each left out alike
    (but never the own one, if that is always counted)."""
    left_out = [node for node in range(N) if node != me or not own_always]
    for absent in left_out:
        yield Fraction(1, len(left_out)), Counter(said[node] for node in range(N) if node != absent)


class Steps(NamedTuple):
    """One round of the chain from a state: P(some node decides), P(all decide), and where to if nobody does."""

    some: Fraction
    all: Fraction
    none: dict[int, Fraction]


def one_round(ones: int, own_always: bool) -> Steps:
    """Five nodes of which ``ones`` hold 1."""
    values = tuple(int(node < ones) for node in range(N))
    proposes = [
        sum((p for p, seen in views(me, values, own_always) if max(seen[0], seen[1]) > N / 2), Fraction(0))
        for me in range(N)
    ]
    value = int(ones > N / 2)  # the only one that more than half of the nodes can have reported
    some = every = Fraction(0)
    none: dict[int, Fraction] = {}
    for named in itertools.product((True, False), repeat=N):
        chance = math.prod((proposes[me] if named[me] else 1 - proposes[me] for me in range(N)), start=Fraction(1))
        if chance == 0:
            continue
        decides, adopts = [], []
        for me in range(N):
            counts = [(p, seen[True]) for p, seen in views(me, named, own_always)]
            decides.append(sum((p for p, count in counts if count > T), Fraction(0)))
            adopts.append(sum((p for p, count in counts if 1 <= count <= T), Fraction(0)))
        nobody = math.prod((1 - d for d in decides), start=Fraction(1))
        some += chance * (1 - nobody)
        every += chance * math.prod(decides, start=Fraction(1))
        if nobody == 0:
            continue
        holding = {0: Fraction(1)}  # how many nodes hold 1 after a round in which nobody decided
        for me in range(N):
            adopt = adopts[me] / (1 - decides[me])
            one = adopt * value + (1 - adopt) / 2
            following: dict[int, Fraction] = {}
            for count, p in holding.items():
                following[count + 1] = following.get(count + 1, Fraction(0)) + p * one
                following[count] = following.get(count, Fraction(0)) + p * (1 - one)
            holding = following
        for count, p in holding.items():
            none[count] = none.get(count, Fraction(0)) + chance * nobody * p
    return Steps(some, every, none)


def chain(own_always: bool, rounds: int = 12) -> tuple[list[Fraction], list[Fraction]]:
    """P(the first decision comes in round r) and P(the last one does), r = 1, 2, ..; inputs are fair bits."""
    step = [one_round(ones, own_always) for ones in range(N + 1)]
    state = {ones: Fraction(math.comb(N, ones), 2**N) for ones in range(N + 1)}
    first, last = [], [Fraction(0)]
    for _ in range(rounds):
        some = sum((p * step[ones].some for ones, p in state.items()), Fraction(0))
        every = sum((p * step[ones].all for ones, p in state.items()), Fraction(0))
        first.append(some)
        last[-1] += every
        last.append(some - every)  # the others follow in the next round: they have all adopted the value
        following: dict[int, Fraction] = {}
        for ones, p in state.items():
            for count, q in step[ones].none.items():
                following[count] = following.get(count, Fraction(0)) + p * q
        # denominators grow without end; 60 digits are enough for what is compared
        state = {ones: p.limit_denominator(10**60) for ones, p in following.items()}
    return first, last


def mean(distribution: list[Fraction]) -> float:
    """The round in which it comes on average."""
    return float(sum(round_ * p for round_, p in enumerate(distribution, 1)))
