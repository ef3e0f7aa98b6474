"""Confirmation on the virtual-time kernel: some points again, on real kernels, beside ``sim`` on the same plans."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from testbed.engines.base import Engine, EngineUnavailable
from testbed.engines.live.results import RunFailed
from testbed.engines.registry import engine_by_name
from testbed.engines.vkernel.boot import GuestFailed
from testbed.history import History
from testbed.plan import Plan
from testbed.study.document import StudyDocument, Variant
from testbed.study.measure import Task, compiled, confirmed
from testbed.study.sample import Sampler, counts_of
from testbed.study.search import BreakPoint, fixed_answer
from testbed.study.trials import Trial


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A point: its trial on vkernel, and that of ``sim`` on the same plan."""

    trial: Trial
    twin: Trial


class Confirmer:
    """missing: why there is no confirmation, where there is none."""

    def __init__(self, sampler: Sampler) -> None:
        self.missing: list[str] = []
        self._sampler = sampler

    def confirm(self, variant: Variant, found: BreakPoint | None) -> dict[float, Confirmed]:
        """What vkernel says of the variant around the break point, or over the sweep."""
        sampler, spec = self._sampler, self._sampler.document.vkernel
        if spec is None or not variant.vkernel:
            return {}
        xs = confirm_at(sampler.document, found)
        rounds = {x: sampler.whole(variant, x, spec.rounds) for x in xs}
        seeds = {x: (sampler.seed_at(x, 0),) for x in xs}
        tasks = [sampler.task(variant, x, rounds[x], seeds[x], "vkernel") for x in xs]
        missing = [task for task in tasks if task.key not in sampler.store.trials]
        phase = f"{variant.name}: vkernel"
        sampler.report(phase, len(tasks) - len(missing), len(tasks))
        if missing and not self._boot(missing, phase, len(tasks)):
            tasks = [task for task in tasks if task.key in sampler.store.trials]
        twins = sampler.do(
            f"{variant.name}: sim, same seeds",
            [sampler.task(variant, task.x, rounds[task.x], seeds[task.x]) for task in tasks],
        )
        return {task.x: Confirmed(sampler.finished(task), twin) for task, twin in zip(tasks, twins, strict=True)}

    def break_point(self, points: dict[float, Confirmed]) -> BreakPoint | None:
        """The bracket that the vkernel points alone allow."""
        if self._sampler.document.break_point is None or not points:
            return None
        counts = counts_of({x: [found.trial] for x, found in points.items()})
        return fixed_answer(replace(self._sampler.search_spec(), grid=tuple(sorted(counts))), counts)

    def _boot(self, missing: Sequence[Task], phase: str, total: int) -> bool:
        """Run the missing vkernel trials; False (and a word on what is missing) when this host can't."""
        plans = [compiled(task.scenario, task.seeds[0], capture=True) for task in missing]
        try:
            engine = engine_by_name("vkernel")
            engine.check(plans[0])
            done = total - len(missing)
            began = time.monotonic()
            for index, history in run_all(engine, plans):
                self._sampler.store.add(confirmed(missing[index], plans[index], history, began))
                began = time.monotonic()
                done += 1
                self._sampler.report(phase, done, total)
        except (EngineUnavailable, GuestFailed, RunFailed) as error:
            if str(error) not in self.missing:
                self.missing.append(str(error))
            return False
        return True


def confirm_at(document: StudyDocument, found: BreakPoint | None) -> list[float]:
    """The values at which vkernel confirms: around the break point, or over the sweep."""
    spec, sweep = document.vkernel, document.sweep
    assert spec is not None
    if found is None or found.estimate is None or spec.around == "sweep":
        grid = sweep.grid
        if len(grid) <= spec.points:
            return list(grid)
        picks = {round(index * (len(grid) - 1) / max(1, spec.points - 1)) for index in range(spec.points)}
        return [grid[index] for index in sorted(picks)]
    steps = [2 * index / (spec.points - 1) - 1 if spec.points > 1 else 0.0 for index in range(spec.points)]
    return sorted({sweep.snapped(found.estimate * spec.span**step) for step in steps})


def run_all(engine: Engine, plans: Sequence[Plan]) -> Iterator[tuple[int, History]]:
    """(index, history) as runs finish, in parallel where the engine can."""
    run_many = getattr(engine, "run_many", None)
    if run_many is None:
        for index, plan in enumerate(plans):
            yield index, engine.run(plan)
        return
    cores = usable_cores()
    for at in range(0, len(plans), cores):  # in small lots, so that an interruption loses little
        for offset, history in enumerate(run_many(plans[at : at + cores])):
            yield at + offset, history


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))
