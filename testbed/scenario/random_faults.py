"""Faults drawn at random from a seed and a budget, as lines of text that can be pasted, and shrunk by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from testbed.nodes.core.text import time_text


class Budget(NamedTuple):
    """How many faults of each kind there are to be, and how long those last that end (ns)."""

    crashes: int
    restarts: int
    pauses: int
    mutes: int
    flaps: int
    partitions: int
    slows: int
    shortest_ns: int
    longest_ns: int


def draw_faults(seed: int, budget: Budget, hosts: Sequence[str], from_ns: int, until_ns: int) -> list[str]:
    """The orders, by time. Hosts that crash are different ones and are not restarted. Times are whole microseconds
    where the bounds are. Raises ValueError when there are too few hosts."""
    if budget.crashes > len(hosts) or (budget.restarts and budget.crashes == len(hosts)):
        raise ValueError(f"{len(hosts)} hosts are too few for {budget.crashes} crashes and {budget.restarts} restarts")
    if budget.partitions and len(hosts) < 2:
        raise ValueError("a partition needs two hosts at least")
    draw = Random(seed)
    crashing = draw.sample(list(hosts), budget.crashes)
    coming_back = [host for host in hosts if host not in crashing]

    def last() -> str:
        return time_text(_between(draw, budget.shortest_ns, budget.longest_ns))

    def slower() -> str:
        return time_text(_between(draw, 1000, max(1000, budget.shortest_ns // 10)))

    def flap() -> str:
        period_ns = _between(draw, budget.shortest_ns, budget.longest_ns)
        return f"flap {draw.choice(hosts)} every {time_text(period_ns)} times {draw.randint(2, 4)}"

    def partition() -> str:
        mixed = draw.sample(list(hosts), len(hosts))
        cut = draw.randrange(1, len(mixed))
        sides = (",".join(sorted(side, key=hosts.index)) for side in (mixed[:cut], mixed[cut:]))
        return f"partition {draw.choice((' | ', ' -> ')).join(sides)} for {last()}"

    kinds: tuple[tuple[int, Callable[[], str]], ...] = (
        (budget.restarts, lambda: f"node_kill {draw.choice(coming_back)} for {last()} state {_state(draw)}"),
        (budget.pauses, lambda: f"node_pause {draw.choice(hosts)} for {last()}"),
        (budget.mutes, lambda: f"nic_mute {draw.choice(hosts)} for {last()}"),
        (budget.flaps, flap),
        (budget.partitions, partition),
        (budget.slows, lambda: f"node_slow {draw.choice(hosts)} by {slower()} for {last()}"),
    )
    deeds = [f"node_kill {host}" for host in crashing] + [one() for count, one in kinds for _ in range(count)]
    timed = sorted((_between(draw, from_ns, until_ns - 1), place, deed) for place, deed in enumerate(deeds))
    return [f"at {time_text(at_ns)} {deed}" for at_ns, _, deed in timed]


def _between(draw: Random, least_ns: int, most_ns: int) -> int:
    """Whole microseconds, so that the lines are short, where there is one in between."""
    return draw.randint(least_ns, most_ns) // 1000 * 1000 or least_ns


def _state(draw: Random) -> str:
    return draw.choice(("kept", "unsynced_lost", "torn", "lost"))
