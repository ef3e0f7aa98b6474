"""Whether an engine of consensus keeps the contract: what the tests ask of the engines that ship, of anybody's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from testbed.engines.sim import SimEngine
from testbed.errors import UserError
from testbed.explore.random_walks import hunt
from testbed.explore.schedule import Asked, Schedule, schedule_of
from testbed.explore.worlds import UNBOUNDED, Rules
from testbed.nodes.core.disk import State
from testbed.nodes.core.own import EngineName, OwnEngineError
from testbed.nodes.registry import engine_spec
from testbed.own_engines import Files, engine_called
from testbed.plan import Plan
from testbed.scenario import Scenario, compile_plan, from_data
from testbed.verdicts import judge
from testbed.verdicts.consensus import PROPERTIES

INSTANCES = 12
_SEED = 1
_WIDE = 5
_TOLD = """
import hashlib, sys
from testbed.engines.sim import SimEngine
from testbed.plan import Plan
history = SimEngine(hops=False).run(Plan.from_json(sys.stdin.read()))
print(hashlib.blake2b(repr(list(history.events)).encode()).hexdigest())
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. held: None where it was not asked for, ``told`` says why. schedule: the steps to
    what is wrong, where there are any."""

    name: str
    held: bool | None
    told: str
    schedule: Schedule | None = None


def checks(name: str, nodes: int, schedules: int) -> Iterator[Check]:
    """One after the other, of an engine by the name that a user gives it, among so many nodes. schedules: how many are
    drawn at random. Raises UserError for what is no engine that decides."""
    engine = engine_called(name, Files())
    if engine is None:
        raise UserError(f"{name}: there is no such engine (testbed list consensus); mine.py:Mine is one of yours")
    spec = engine_spec(engine)
    if not spec.decides:
        raise UserError(f"{name}: nothing is decided in it, so that nothing can be checked")
    return _Checks(name, engine, nodes, schedules).all()


class _Checks:
    """Those of one engine. most: crashes that it bears among so many nodes."""

    def __init__(self, name: str, engine: EngineName, nodes: int, schedules: int) -> None:
        self.name, self.engine, self.nodes, self.schedules = name, engine, nodes, schedules
        self.spec = engine_spec(engine)
        self.most = min(self.spec.most_f(nodes), nodes - 1)
        self.safety = [promised for promised in self.spec.properties if promised != "termination"]

    def all(self) -> Iterator[Check]:
        """One after the other."""
        spec = self.spec
        yield _checked("decides", lambda: self._run("with nothing in its way", {}, spec.properties))
        if self.most:
            yield from self._with_crashes()
        else:
            yield Check("crashes", None, f"it bears none among {self.nodes} ({spec.rule})")
        if spec.indulgent:
            bad = {"default": {"delay": "200us", "jitter": "150us", "loss": "10%", "duplicate": "5%"}}
            yield _checked("loss", lambda: self._run("with frames late, twice or lost", {"links": bad}, self.safety))
        else:
            yield Check("loss", None, "it claims agreement only while no window is missed")
        wide = {"topology": {"kind": "star", "hosts": max(self.nodes, _WIDE)}}  # orders of few things may be the same
        yield _checked("repeatable", lambda: _repeatable(compile_plan(self._scenario(wide))))
        drawn = self._drawn("schedules")
        yield drawn
        for pitfall in spec.pitfalls if drawn.held else ():  # else nobody could tell which bug was found
            yield self._planted(pitfall)

    # -- runs ------------------------------------------------------------------------------------------------------

    def _with_crashes(self) -> Iterator[Check]:
        """Those that it is to bear; and lives that come back to what they had kept."""
        hosts = [f"host{number + 1}" for number in range(self.most)]
        who, spec = ", ".join(hosts), self.spec
        dead = {"faults": [{"at": "2500us", "do": "node_kill", "on": hosts}]}
        yield _checked("crashes", lambda: self._run(f"with {who} dead since the third", dead, spec.properties))
        state, found = ("lost", "without") if spec.recovers else ("kept", "with")
        back = {"faults": [{"at": "2500us", "do": "node_restart", "on": hosts, "for": "1ms", "state": state}]}
        yield _checked("restarts", lambda: self._run(f"with {who} back {found} what they kept", back, self.safety))

    def _scenario(self, more: dict[str, Any]) -> Scenario:
        taken, counted = self.spec.rounds_per_instance(self.most), "rounds" if self.spec.made_of_swaps else "instances"
        count = INSTANCES * taken if self.spec.made_of_swaps else INSTANCES
        protocol = {"consensus": self.name, "window": "1ms", "f": self.most, counted: count}
        links = {"default": {"delay": "20us", "jitter": "5us"}}
        whole = {"name": "check", "topology": {"kind": "star", "hosts": self.nodes}, "links": links, "seed": _SEED}
        return from_data(whole | {"protocol": protocol} | more, self.name)

    def _run(self, what: str, more: dict[str, Any], promised: Sequence[str]) -> tuple[bool, str]:
        plan = compile_plan(self._scenario(more))
        found = judge(plan, SimEngine(hops=False).run(plan)).consensus
        if found is None:
            return False, "nothing was proposed"
        lost = [name for name in promised if not PROPERTIES[name](found)]
        decided = f"{found.decided} of {found.instances} {found.of} decided everywhere {what}"
        kept = f"; {', '.join(name for name in promised if name not in lost)} held"
        return not lost, decided + (f"; broken: {', '.join(lost)}" if lost else kept)

    # -- schedules -------------------------------------------------------------------------------------------------

    def _asked(self, pitfalls: tuple[str, ...] = ()) -> Asked:
        """Whatever it is to be safe under: messages in any order, twice, and lost; timers at will; lives that end
        between any two of their effects, and begin anew."""
        spec = self.spec
        finds = (State.LOST,) if spec.recovers else (State.KEPT, State.UNSYNCED_LOST)
        back, lost = (self.most, UNBOUNDED) if spec.indulgent else (0, 0)
        return Asked(
            self.engine,
            self.nodes,
            self.most,
            pitfalls,
            rules=Rules(crashes=self.most, restarts=back, drops=lost, copies=2, finds=finds),
        )

    def _drawn(self, name: str, pitfalls: tuple[str, ...] = ()) -> Check:
        broken: list[Schedule] = []

        def ask() -> tuple[bool, str]:
            asked = self._asked(pitfalls)
            found = hunt(worlds := asked.worlds(), self.schedules, _SEED)
            if found.broken:
                broken.append(schedule_of(asked, worlds, found.shrunk, found.broken))
                return False, f"{found.broken}, in {len(found.shrunk)} steps"
            held = ", ".join(one.name for one in worlds.model.invariants)
            return True, f"{held} held in {found.schedules} drawn at random, of {found.steps:,} steps"

        one = _checked(name, ask)
        return replace(one, schedule=broken[0] if broken else None)

    def _planted(self, pitfall: str) -> Check:
        """Whether the same search sees the engine's own planted bug; where it does not, a longer one might."""
        one = self._drawn(f"pitfall {pitfall}", (pitfall,))
        if one.held is False:
            return Check(one.name, True, f"is found: {one.told}")
        return Check(one.name, None, f"is not found in {self.schedules} schedules; --schedules draws more")


def _repeatable(plan: Plan) -> tuple[bool, str]:
    """In two processes, in which sets and dicts of texts have other orders."""
    answers = []
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", _TOLD],
            input=plan.to_json(),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            last = ran.stderr.strip().splitlines()[-1]
            return False, last.partition(f"{OwnEngineError.__name__}: ")[2] or last
        answers.append(ran.stdout)
    same = answers[0] == answers[1]
    return same, "the same in two processes" if same else "two processes differ: is the order of a set in what it says?"


def _checked(name: str, ask: Callable[[], tuple[bool, str]]) -> Check:
    try:
        return Check(name, *ask())
    except OwnEngineError as error:
        return Check(name, False, str(error))
