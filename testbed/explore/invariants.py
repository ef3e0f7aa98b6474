"""What must hold in every world, judged by what its nodes have told so far, in all their lives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from testbed.nodes.consensus.spec import EngineSpec
from testbed.nodes.core import Decide, Effect, Install, Outcome, Propose, Resolve, RoundStart, SwapId
from testbed.nodes.core.commuting import Commuting, Place, Places
from testbed.nodes.core.values import text

Facts = frozenset[Effect]
"""What one node has told, as far as anybody asks; in what order is left out."""


class Invariant(NamedTuple):
    """name: the property. means: what it says, in words. kinds: the effects that it is judged by. broken: what each
    node told -> how it is broken, in words; empty when it holds."""

    name: str
    means: str
    kinds: tuple[type, ...]
    broken: Callable[[Sequence[Facts]], str]


def fact(effect: Effect) -> Effect:
    """``effect`` without what no invariant asks for: which round led to a decision."""
    return effect._replace(round=0) if isinstance(effect, Decide) else effect


def _told(facts: Sequence[Facts], kind: type) -> Iterator[tuple[int, Effect]]:
    """Who told what of this kind."""
    for node, told in enumerate(facts):
        for effect in told:
            if isinstance(effect, kind):
                yield node, effect


def _disagree(facts: Sequence[Facts]) -> str:
    decided: dict[int, dict[bytes, int]] = defaultdict(dict)
    for node, effect in _told(facts, Decide):
        assert isinstance(effect, Decide)
        decided[effect.instance].setdefault(effect.value, node)
    for instance, values in sorted(decided.items()):
        if len(values) > 1:
            who = " and ".join(f"n{node} {text(value)}" for value, node in sorted(values.items()))
            return f"in instance {instance} {who} are decided"
    return ""


def _invent(facts: Sequence[Facts]) -> str:
    proposed = {(effect.instance, effect.value) for _, effect in _told(facts, Propose) if isinstance(effect, Propose)}
    for node, effect in _told(facts, Decide):
        if isinstance(effect, Decide) and (effect.instance, effect.value) not in proposed:
            return f"n{node} decides {text(effect.value)} in instance {effect.instance}, which nobody proposed"
    return ""


def _forge(facts: Sequence[Facts]) -> str:
    submitted = {effect.value for _, effect in _told(facts, Propose) if isinstance(effect, Propose)}
    for node, effect in _told(facts, Decide):
        if isinstance(effect, Decide) and effect.value not in submitted:
            return f"n{node} delivers {text(effect.value)} as entry {effect.instance}, which nobody submitted"
    return ""


def _repeat(facts: Sequence[Facts]) -> str:
    for node, told in enumerate(facts):
        places: dict[bytes, int] = {}
        for entry, value in sorted((one.instance, one.value) for one in told if isinstance(one, Decide)):
            if places.setdefault(value, entry) != entry:
                return f"n{node} delivers {text(value)} as entry {places[value]} and as entry {entry}"
    return ""


def _leave_out(facts: Sequence[Facts]) -> str:
    for node, told in enumerate(facts):
        entries = {one.instance for one in told if isinstance(one, Decide)}
        if entries and not any(isinstance(one, Install) for one in told) and max(entries) >= len(entries):
            return f"n{node} delivers entry {max(entries)} and {len(entries) - 1} of those before it"
    return ""


def _split(facts: Sequence[Facts]) -> str:
    endings: dict[SwapId, dict[int, set[Outcome]]] = defaultdict(lambda: defaultdict(set))
    for node, effect in _told(facts, Resolve):
        assert isinstance(effect, Resolve)
        endings[effect.swap][node].add(effect.outcome)
    for swap, ends in sorted(endings.items()):
        committed = [node for node, outcomes in ends.items() if Outcome.COMMITTED in outcomes]
        aborted = [node for node, outcomes in ends.items() if Outcome.ABORTED in outcomes]
        if committed and aborted:
            return f"the swap of round {swap.round} has committed at n{committed[0]} and aborted at n{aborted[0]}"
    return ""


def _mixed_up(facts: Sequence[Facts]) -> str:
    offered = {
        (node, effect.round, effect.offered)
        for node, effect in _told(facts, RoundStart)
        if isinstance(effect, RoundStart)
    }
    for node, effect in _told(facts, Resolve):
        assert isinstance(effect, Resolve)
        peer = effect.swap.low + effect.swap.high - node
        if effect.outcome is Outcome.COMMITTED and (peer, effect.swap.round, effect.value) not in offered:
            return f"n{node} holds a value of round {effect.swap.round} that n{peer} did not offer"
    return ""


def _one_life(told: Facts) -> list[bytes]:
    """In a partial order: what a node was told, in its order. Nothing, where it has been told two values as one entry:
    those are lives with orders of their own, which can't be taken apart here any more."""
    entries = sorted((one.instance, one.value) for one in told if isinstance(one, Decide))
    in_line = all(place == entry for place, (entry, _) in enumerate(entries))
    return [value for _, value in entries] if in_line else []


def _stand_elsewhere(facts: Sequence[Facts], commuting: Commuting) -> str:
    chained: dict[tuple[int, int], tuple[int, bytes]] = {}
    placed: dict[bytes, tuple[int, Place]] = {}
    for node, told in enumerate(facts):
        places = Places(commuting)
        for value in _one_life(told):
            place = places.add(value)
            if place.number is not None:
                other, there = chained.setdefault((place.chain, place.number), (node, value))
                if there != value:
                    return f"n{other} delivers {text(there)} where n{node} delivers {text(value)}, and they conflict"
            other, elsewhere = placed.setdefault(value, (node, place))
            if elsewhere != place:
                return f"n{other} and n{node} deliver {text(value)} in different places among what it conflicts with"
    return ""


def _repeat_in_one_life(facts: Sequence[Facts]) -> str:
    for node, told in enumerate(facts):
        values = _one_life(told)
        for value in values:
            if values.count(value) > 1:
                return f"n{node} delivers {text(value)} more than once"
    return ""


AGREEMENT = Invariant(
    "agreement", "no two values are decided in one instance, or as one entry of a log", (Decide,), _disagree
)
VALIDITY = Invariant("validity", "only what somebody proposed is decided", (Propose, Decide), _invent)
BISYNCHRONY = Invariant("bisynchrony", "no swap has committed at one end and aborted at the other", (Resolve,), _split)
LOG_VALIDITY = Invariant("validity", "only what somebody submitted is delivered", (Propose, Decide), _forge)
INTEGRITY = Invariant("integrity", "no node is told one value as two entries", (Decide,), _repeat)
ORDER = Invariant("order", "no node is told an entry without all those before it", (Decide, Install), _leave_out)
EXCHANGE = Invariant(
    "exchange", "who has committed a swap holds what the other end offered in it", (Resolve, RoundStart), _mixed_up
)


def invariants_of(spec: EngineSpec, commuting: Commuting | None = None) -> tuple[Invariant, ...]:
    """What the engine promises of any run; of plain swaps: that both ends end alike, each with the other's value.
    commuting: what need not keep the order that is promised; None: all keeps it."""
    if not spec.decides:
        return BISYNCHRONY, EXCHANGE
    agreement, integrity = AGREEMENT, INTEGRITY
    if commuting is not None:
        agreement = Invariant(
            "agreement",
            "values that conflict are told to all nodes in one order",
            (Decide,),
            lambda facts: _stand_elsewhere(facts, commuting),
        )
        integrity = Invariant(
            "integrity", "no node is told one value twice in one life", (Decide,), _repeat_in_one_life
        )
    validity = LOG_VALIDITY if spec.keeps_a_log else VALIDITY
    return tuple(one for one in (agreement, validity, integrity, ORDER) if one.name in spec.properties)
