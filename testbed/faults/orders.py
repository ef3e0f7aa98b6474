"""One order of a user becomes one or more atomic faults: one per target, and one more for the end of a ``for:``."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from testbed.faults.verbs import VERBS
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.plan import Fault, derive_seed
from testbed.topologies.impairment import Impairment

Directions = tuple[tuple[int, str], ...]
"""Link directions: (index of the link in the fabric, "ab" or "ba")."""


@dataclass(frozen=True, slots=True)
class Order:
    """One fault as ordered. Times in ns on the run's clock, or -1 for: not given.

    targets: (host, interface) pairs, the interface empty for verbs that strike a node or a switch. at_ns, or moment at
    ``node`` (``Moment.index`` is filled in by compile_orders) and ``after_ns`` later. for_ns: undone after this long.
    every_ns, times: it strikes so often, so long after each other; for ``rolling_restart``, from target to target; for
    ``churn``, how long a host is up on average, and span_ns how long that goes on. peers: per target, the hosts that it
    is to be deaf to. amount: for clock_step and node_slow ns, for clock_drift ppb; a clock's is undone by its opposite.
    changes: for ``jitter`` and its like, the new impairment of each group of link directions (None: their own). links:
    for link_down and link_up. reroute_ns: so long after it has struck, and after it is undone, switches forward around
    what is down (-1: never).
    """

    verb: str
    targets: tuple[tuple[str, str], ...] = ()
    at_ns: int = -1
    moment: Moment | None = None
    node: str = ""
    after_ns: int = 0
    for_ns: int = -1
    every_ns: int = 0
    times: int = 1
    span_ns: int = 0
    direction: str = ""
    peers: tuple[tuple[str, ...], ...] = ()
    state: State = State.LOST
    amount: int = 0
    links: Directions = ()
    reroute_ns: int = -1
    changes: tuple[tuple[Directions, Impairment | None], ...] = ()


def compile_orders(orders: Sequence[Order], seed: int = 0) -> tuple[Fault, ...]:
    """The plan's faults, in the order of the orders; an undoing fault stands right behind those that it undoes.

    A triggered order with several targets strikes the first at the moment, the others at the same instant after it.
    seed: of the run, for what an order leaves to chance.
    """
    faults: list[Fault] = []
    for number, order in enumerate(orders):
        leader = len(faults)
        for later_ns, struck in _blows(order, derive_seed(seed, "faults", number)):
            first = len(faults)
            begun = [first]
            for fault in struck:
                faults.append(_begun(fault, order, later_ns, len(faults), leader))
            if order.for_ns >= 0:
                begun.append(len(faults))
                faults += [
                    replace(_undoing(fault, order), follows=first + place, after_ns=order.for_ns)
                    for place, fault in enumerate(struck)
                ]
            if order.reroute_ns >= 0:
                faults += [Fault("reroute", follows=index, after_ns=order.reroute_ns) for index in begun]
    return tuple(faults)


def _blows(order: Order, seed: int) -> Iterator[tuple[int, list[Fault]]]:
    """What an order strikes together, and how long after its beginning."""
    struck = _strikes(order)
    if order.verb == "rolling_restart":
        yield from ((place * order.every_ns, [fault]) for place, fault in enumerate(struck))
    elif order.verb == "churn":
        deaths = [
            (at_ns, place)
            for place in range(len(struck))
            for at_ns in _deaths(order, derive_seed(seed, "churn", place))
        ]
        yield from ((at_ns, [struck[place]]) for at_ns, place in sorted(deaths))
    else:
        yield from ((turn * order.every_ns, struck) for turn in range(order.times))


def _deaths(order: Order, seed: int) -> Iterator[int]:
    """When a host dies, from the order's beginning on: it is up for a time without memory, ``every_ns`` on average, and
    down for ``for_ns``."""
    draw, at_ns = random.Random(seed), 0
    while True:
        at_ns += math.ceil(-math.log(1 - draw.random()) * order.every_ns)
        if at_ns >= order.span_ns:
            return
        yield at_ns
        at_ns += order.for_ns


def _strikes(order: Order) -> list[Fault]:
    verb = VERBS[order.verb]
    if verb.strikes == "links":
        return [Fault(verb.atomic, links=links, impairment=impairment) for links, impairment in order.changes]
    if verb.strikes == "fabric":
        return [Fault(verb.atomic)]
    if verb.strikes == "link":
        return [Fault(verb.atomic, links=order.links)]
    # Restarting with a pause between: killed first, started anew by what undoes the kill.
    down_first = order.verb == "node_restart" and order.for_ns >= 0
    return [
        Fault(
            "node_kill" if down_first else verb.atomic,
            target=host,
            nic=nic,
            direction=order.direction,
            peers=order.peers[place] if order.peers else (),
            state=order.state if order.verb == "node_restart" and not down_first else State.LOST,
            amount=order.amount,
        )
        for place, (host, nic) in enumerate(order.targets)
    ]


def _begun(fault: Fault, order: Order, later_ns: int, index: int, leader: int) -> Fault:
    """When it strikes: at its time, at its moment, or so long after the first of its order."""
    if order.moment is None:
        return replace(fault, at_ns=order.at_ns + later_ns)
    if index > leader:
        return replace(fault, follows=leader, after_ns=later_ns)
    return replace(fault, moment=replace(order.moment, index=index), node=order.node, after_ns=order.after_ns)


def _undoing(fault: Fault, order: Order) -> Fault:
    undo = "node_restart" if order.verb == "node_restart" else VERBS[order.verb].undo
    state = order.state if undo == "node_restart" else State.LOST
    return Fault(
        undo,
        target=fault.target,
        nic=fault.nic,
        peers=fault.peers,
        links=fault.links,
        state=state,
        amount=0 if undo == "node_quick" else -fault.amount,
    )
