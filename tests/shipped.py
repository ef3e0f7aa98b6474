"""The shipped scenarios on the simulator: each is run once for all tests of a process that look at what came of it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from testbed.engines.sim import SimEngine
from testbed.history import Coded, History
from testbed.nodes.core.record import KINDS
from testbed.plan import Plan
from testbed.scenario import compile_plan, load
from testbed.verdicts import Verdicts, judge

SHIPPED = sorted((Path(__file__).resolve().parents[1] / "scenarios").glob("*.yaml"))
_FEW = 20_000  # rows, which are made one by one to be told


def ran_on_sim(scenario: Path) -> tuple[Plan, History]:
    """A run of its own."""
    plan = compile_plan(load(scenario))
    return plan, SimEngine().run(plan)


@cache
def known_on_sim(scenario: Path) -> tuple[Verdicts, str]:
    """The one run of this process: its verdicts, and what it told."""
    plan, history = ran_on_sim(scenario)
    return judge(plan, history), told(history)


def told(history: History) -> str:
    """All that was recorded, in a line that is another one as soon as anything differs."""
    return f"{len(history.events)} events, {len(history.hops)} hops: {_digest(history)}"


def _digest(history: History) -> str:
    """Of every column of events and hops, and of the rows as they are read where there are few."""
    digest = hashlib.sha256(repr([history.names, history.hops.places, history.meta]).encode())
    for kind in KINDS:
        table = history.events.table(kind)
        for column in (table.order, table.t_ns, table.node, *table.columns.values()):
            if isinstance(column, Coded):
                digest.update(repr(list(column.values)).encode())
            digest.update((column.codes if isinstance(column, Coded) else column).tobytes())
    for column in history.hops.columns().values():
        digest.update(column.tobytes())
    if len(history.events) + len(history.hops) <= _FEW:
        digest.update(repr([list(history.events), list(history.hops)]).encode())
    return digest.hexdigest()
