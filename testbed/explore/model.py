"""What is explored: the nodes, their machines, what must hold, and how time is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from testbed.errors import UserError
from testbed.explore.invariants import Invariant, invariants_of
from testbed.nodes.consensus.spec import PARTIAL
from testbed.nodes.core import Machine
from testbed.nodes.core.config import PLAIN_SWAPS, NodeConfig, Peer, ProtocolConfig
from testbed.nodes.core.own import EngineName
from testbed.nodes.core.text import Says, body_text
from testbed.nodes.registry import commuting, engine_names, engine_spec, member

LINK = "link"
"""Stands for plain swaps between two nodes."""

TWO_PHASE_COMMIT = "two_phase_commit"
"""Ships with the explorer, as an example and a measure: how many states it has is known."""


class Time(StrEnum):
    """How time is taken, so that there is an end of states."""

    STILL = "still"
    """It stands still behind the beginning of the last instance, and any timer that is set may fire."""
    OWN = "own"
    """Each node's clock stands where the latest of its timers that fired was due. A node's timers fire in the order in
    which they are due, with no regard to other nodes or to what is under way: clocks may run as they like."""
    TIMELY = "timely"
    """One clock for all, which goes on only when nothing is under way: no message is late. Loss, crashes and order are
    all that can go wrong."""


@dataclass(frozen=True, slots=True)
class Model:
    """configs: the nodes, numbered from 0. build: their machines. says: what messages mean. time: how it is taken;
    ends: whether timers come to an end by themselves, so that no budget is needed for them. goes_on: whether it goes on
    when something is decided, as a log does."""

    name: str
    configs: tuple[NodeConfig, ...]
    build: Callable[[NodeConfig], Machine]
    invariants: tuple[Invariant, ...]
    says: Says = body_text
    time: Time = Time.STILL
    ends: bool = False
    goes_on: bool = False


def all_pairs(n: int, protocol: ProtocolConfig, name: str = "n") -> list[NodeConfig]:
    """n nodes that are all each other's peers, called n0, n1 .. after their numbers."""
    return [
        NodeConfig(
            node,
            f"{name}{node}",
            tuple(Peer(other, f"{name}{other}", "eth0", "") for other in range(n) if other != node),
            {},
            tuple(range(n)),
            protocol,
            seed=node,
        )
        for node in range(n)
    ]


def model_names() -> tuple[str, ...]:
    """What can be explored."""
    return (*(name for name in engine_names() if engine_spec(name).decides), LINK, TWO_PHASE_COMMIT)


def model_of(
    name: EngineName,
    nodes: int | None = None,
    f: int | None = None,
    pitfalls: Sequence[str] = (),
    time: Time | None = None,
    **settings: Any,
) -> Model:
    """An engine among ``nodes`` nodes (of two_phase_commit: so many resource managers) that all see each other.

    settings: of the protocol (testbed.nodes.core.config.ProtocolConfig); ``instances`` counts instances of consensus,
    of the link rounds; ``rounds``: how many an instance has, where it has any. Raises UserError.
    """
    if name == TWO_PHASE_COMMIT:
        from testbed.explore.two_phase import two_phase_commit

        if pitfalls or settings or time not in (None, Time.STILL):
            raise UserError(f"{TWO_PHASE_COMMIT} has no settings, no pitfalls and no clocks; leave them out")
        return two_phase_commit(3 if nodes is None else nodes)
    if isinstance(name, str) and name not in model_names():
        raise UserError(
            f"{name}: there is no such engine; there are {', '.join(model_names())}; mine.py:Mine is one of yours"
        )
    return _engine_model(name, nodes, f, tuple(pitfalls), time, settings)


def _engine_model(
    name: EngineName,
    nodes: int | None,
    f: int | None,
    pitfalls: tuple[str, ...],
    time: Time | None,
    settings: dict[str, Any],
) -> Model:
    spec = engine_spec(PLAIN_SWAPS if name == LINK else name)
    if not spec.decides and name != LINK:
        raise UserError(f"{name}: nothing is decided in it, so that nothing can go wrong")
    n = nodes if nodes is not None else 2 if name == LINK else 3
    if not 1 <= n <= 9 or (name == LINK and n != 2):
        raise UserError(f"--nodes {n}: " + ("a link has 2 ends" if name == LINK else "1 to 9 can be explored"))
    for pitfall in pitfalls:
        if pitfall not in spec.pitfalls:
            raise UserError(f"--pitfall {pitfall}: {name} has {', '.join(spec.pitfalls) or 'none'}")
    bears = min(spec.most_f(n), n - 1) if f is None else f
    instances = settings.pop("instances", 1)
    if time is None:
        in_time = Time.OWN if spec.indulgent else Time.TIMELY
        time = in_time if spec.made_of_swaps or spec.keeps_a_log else Time.STILL
    if spec.made_of_swaps and time is Time.STILL:
        raise UserError(f"--time still: {name} is made of rounds, which clocks begin and end; take own or timely")
    taken = settings.pop("rounds", spec.rounds_per_instance(bears))
    protocol = ProtocolConfig(
        **{
            "consensus": PLAIN_SWAPS if name == LINK else name,
            "f": bears,
            "instances": instances,
            "instance_rounds": taken,
            "rounds": instances * taken if spec.made_of_swaps else 0,
            "handshake": "simultaneous" if spec.decides else "alternating",
            **settings,
        }
    )
    try:
        for config in (configs := all_pairs(n, protocol)):
            member(config, pitfalls)
    except (ValueError, TypeError) as error:
        raise UserError(f"{name}: {error}") from None
    return Model(
        str(name),
        tuple(configs),
        lambda config: member(config, pitfalls),
        invariants_of(spec, commuting(protocol, "") if spec.order == PARTIAL else None),
        spec.says,
        time,
        ends=spec.made_of_swaps and protocol.horizon != "reconcile",
        goes_on=spec.keeps_a_log,
    )
