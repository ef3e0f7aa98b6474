"""One order of a user becomes one or more atomic faults: one per target, and one more for the end of a ``for:``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nodes.core.disk import State
from nodes.core.moments import Moment
from testbed.faults.verbs import VERBS
from testbed.plan import Fault
from topologies.impairment import Impairment

Directions = tuple[tuple[int, str], ...]
"""Link directions: (index of the link in the fabric, "ab" or "ba")."""


@dataclass(frozen=True, slots=True)
class Order:
    """One fault as ordered. Times in ns on the run's clock, or -1 for: not given.

    targets: (host, interface) pairs, the interface empty for verbs that strike a node or a switch. at_ns, or moment at
    ``node`` (``Moment.index`` is filled in by compile_orders) and ``after_ns`` later. for_ns: undone after this long.
    amount: for clock_step ns, for clock_drift ppb; undone by its opposite. changes: for ``jitter`` and its like, the
    new impairment of each group of link directions. links: for link_down and link_up. reroute_ns: so long after it has
    struck, and after it is undone, switches forward around what is down (-1: never).
    """

    verb: str
    targets: tuple[tuple[str, str], ...] = ()
    at_ns: int = -1
    moment: Moment | None = None
    node: str = ""
    after_ns: int = 0
    for_ns: int = -1
    direction: str = ""
    state: State = State.LOST
    amount: int = 0
    links: Directions = ()
    reroute_ns: int = -1
    changes: tuple[tuple[Directions, Impairment], ...] = ()


def compile_orders(orders: Sequence[Order]) -> tuple[Fault, ...]:
    """The plan's faults, in the order of the orders; an undoing fault stands right behind those that it undoes.

    A triggered order with several targets strikes the first at the moment, the others at the same instant after it.
    """
    faults: list[Fault] = []
    for order in orders:
        first = len(faults)
        struck = _strikes(order)
        for place, fault in enumerate(struck):
            faults.append(_begun(fault, order, len(faults), first if place else -1))
        begun = [first]
        if order.for_ns >= 0:
            begun.append(len(faults))
            faults += [
                replace(undo, follows=first + place, after_ns=order.for_ns)
                for place, undo in enumerate(_undoing(fault, order) for fault in struck)
            ]
        if order.reroute_ns >= 0:
            faults += [Fault("reroute", follows=index, after_ns=order.reroute_ns) for index in begun]
    return tuple(faults)


def _strikes(order: Order) -> list[Fault]:
    verb = VERBS[order.verb]
    if verb.strikes == "links":
        return [Fault(verb.atomic, links=links, impairment=impairment) for links, impairment in order.changes]
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
            state=order.state if order.verb == "node_restart" and not down_first else State.LOST,
            amount=order.amount,
        )
        for host, nic in order.targets
    ]


def _begun(fault: Fault, order: Order, index: int, leader: int) -> Fault:
    """When it strikes: at its time, at its moment, or with the first of its order."""
    if order.moment is None:
        return replace(fault, at_ns=order.at_ns)
    if leader >= 0:
        return replace(fault, follows=leader, after_ns=0)
    return replace(fault, moment=replace(order.moment, index=index), node=order.node, after_ns=order.after_ns)


def _undoing(fault: Fault, order: Order) -> Fault:
    undo = "node_restart" if order.verb == "node_restart" else VERBS[order.verb].undo
    state = order.state if undo == "node_restart" else State.LOST
    return Fault(undo, target=fault.target, nic=fault.nic, links=fault.links, state=state, amount=-fault.amount)
