"""Sampling on ``sim``: what is to be run at each point, by how many workers, and what is there already."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from testbed.plan import Plan, derive_seed
from testbed.scenario import Scenario
from testbed.scenario.errors import ScenarioError
from testbed.study.document import Crashes, Study, Variant, human
from testbed.study.evidence import Count
from testbed.study.fingerprint import trial_key
from testbed.study.measure import Task, compiled
from testbed.study.search import BreakPoint, Search, SearchSpec
from testbed.study.trials import Trial, TrialStore
from testbed.study.workers import Pool

Report = Callable[[str, int, int], None]
"""Called with a phase, the trials finished and the trials known to be needed."""

Points = dict[float, list[Trial]]
"""x -> its trials, in the order of their runs."""

_RUNS_PER_TASK = 50
_LOADS_PER_TASK = 4


class Sampler:
    """Makes a study's tasks and sees that each is done once. used: the trials that results are made of, by place."""

    def __init__(self, study: Study, store: TrialStore, pool: Pool, report: Report) -> None:
        self.study, self.document = study, study.document
        self.store, self.report = store, report
        self.used: dict[tuple[str, str, float, str], Trial] = {}
        self._pool = pool
        self._scenarios: dict[tuple[str, float, int | None], Scenario] = {}
        self._plans: dict[tuple[str, float, int | None], Plan] = {}

    # -- tasks -------------------------------------------------------------------------------------------------------

    def plan(self, variant: Variant, x: float, rounds: int | None = 1) -> Plan:
        """The plan of a variant at x, under the document's own seed; of as many rounds as are written for None."""
        place = (variant.name, x, rounds)
        if place not in self._plans:
            self._plans[place] = compiled(self._scenario(variant, x, rounds), self.document.seed)
        return self._plans[place]

    def _scenario(self, variant: Variant, x: float, rounds: int | None) -> Scenario:
        place = (variant.name, x, rounds)
        if place not in self._scenarios:
            scenario = self.study.scenario_at(variant, x)
            self._scenarios[place] = scenario if rounds is None else scenario.with_count(rounds)
        return self._scenarios[place]

    def whole(self, variant: Variant, x: float, rounds: int) -> int:
        """Rounds in whole instances: of one that is cut off, nothing can be said."""
        size = self.plan(variant, x).protocol.instance_rounds
        return -(-rounds // size) * size

    def task(
        self,
        variant: Variant,
        x: float,
        rounds: int | None,
        seeds: tuple[int, ...],
        engine: str = "sim",
        full: bool = False,
        crashes: Crashes | None = None,
    ) -> Task:
        """A task and its identity. rounds: None for as many as the scenario says. full: its first run is judged in
        full."""
        causes, load = self.document.causes, self.document.measure == "losses"
        struck = crashes.model_dump_json() if crashes else ""
        key = trial_key(self.plan(variant, x, rounds).to_json(), engine, seeds, struck, (causes, full, load))
        return Task(key, variant.name, x, self._scenario(variant, x, rounds), seeds, crashes, causes, full, load)

    def seed_at(self, x: float, index: int) -> int:
        """The seed of the index-th run at x: the same in every engine and for every variant, so that they can be held
        against each other, but another at every x. A search aims where its counts point; were the same draws to come
        again there, its bets would be on what it has seen already."""
        return derive_seed(self.document.seed, "run", f"{x:.12g}", index)

    def do(self, phase: str, tasks: Sequence[Task]) -> list[Trial]:
        """The trials of these tasks; those that are not there yet are run."""
        missing = [task for task in tasks if task.key not in self.store.trials]
        done = len(tasks) - len(missing)
        self.report(phase, done, len(tasks))
        for _, trial in self._pool.map(missing):
            self.store.add(trial)
            done += 1
            self.report(phase, done, len(tasks))
        return [self.finished(task) for task in tasks]

    def finished(self, task: Task) -> Trial:
        """The task's trial. Tasks whose plans are the same share one, whichever variant it was run for."""
        trial = replace(self.store.trials[task.key], variant=task.variant, x=task.x)
        self.used[trial.variant, trial.engine, trial.x, trial.key] = trial
        return trial

    # -- a variant ---------------------------------------------------------------------------------------------------

    def sweep(self, variant: Variant) -> Points:
        """The same number of rounds at every point."""
        points: Points = {}
        self._sample(variant, dict.fromkeys(self.document.sweep.grid, self.document.sim.rounds), points)
        return points

    def search(self, variant: Variant) -> tuple[Points, BreakPoint]:
        """What the search for the break point asks for."""
        points: Points = {}
        search = Search(self.search_spec())
        while requests := search.step(counts_of(points)):
            self._sample(variant, {request.x: request.rounds for request in requests}, points)
        return points, search.answer(counts_of(points))

    def search_spec(self) -> SearchSpec:
        """The document's search. Raises ValueError when it asks for none."""
        wanted, sweep = self.document.break_point, self.document.sweep
        if wanted is None:
            raise ValueError("this study asks for no break point")
        return SearchSpec(
            wanted.probability,
            wanted.confidence,
            sweep.grid,
            self.document.sim.batch,
            wanted.rounds,
            wanted.resolution,
            sweep.integral,
        )

    def instances(self, variant: Variant, x: float) -> list[Trial]:
        """``runs`` runs of one instance each, under the same seeds for every variant."""
        return self._runs(f"{variant.name}: sim", variant, x, self.whole(variant, x, 1), self.document.crashes)

    def loads(self, variant: Variant, x: float, crashes: Crashes | None) -> list[Trial]:
        """``runs`` runs of the whole scenario, under the same seeds for every variant, with ``crashes`` or without."""
        phase = f"{variant.name}: sim, with crashes" if crashes else f"{variant.name}: sim"
        return self._runs(phase, variant, x, None, crashes)

    def _runs(self, phase: str, variant: Variant, x: float, rounds: int | None, crashes: Crashes | None) -> list[Trial]:
        seeds = [derive_seed(self.document.seed, "run", index) for index in range(self.document.runs)]
        size = _RUNS_PER_TASK if rounds is not None else _LOADS_PER_TASK
        chunks = [tuple(seeds[at : at + size]) for at in range(0, len(seeds), size)]
        tasks = [
            self.task(variant, x, rounds, chunk, full=not index, crashes=crashes) for index, chunk in enumerate(chunks)
        ]
        return self.do(phase, tasks)

    def _sample(self, variant: Variant, wanted: Mapping[float, int], points: Points) -> None:
        """Bring each point up to its wanted number of judged rounds, by runs of one batch each."""
        while tasks := [task for x, rounds in wanted.items() for task in self._lacking(variant, x, rounds, points)]:
            for trial in self.do(f"{variant.name}: sim", tasks):
                points.setdefault(trial.x, []).append(trial)

    def _lacking(self, variant: Variant, x: float, rounds: int, points: Points) -> list[Task]:
        batch = self.whole(variant, x, self.document.sim.batch)
        have, judged = len(points.get(x, ())), sum(trial.rounds for trial in points.get(x, ()))
        if have and not judged:
            where = f"{variant.name} at {human(x, self.document.sweep.kind)}"
            raise ScenarioError(f"{self.study.source}: {where}: no round can be judged; does anybody live?")
        a_run = judged / have if have else batch
        need = math.ceil((rounds - judged) / a_run) if judged < rounds else 0
        runs = range(have, have + need)
        return [self.task(variant, x, batch, (self.seed_at(x, run),), full=run == 0) for run in runs]


def counts_of(points: Mapping[float, Sequence[Trial]]) -> dict[float, Count]:
    """Broken and judged rounds at each point."""
    return {
        x: Count(sum(trial.broken for trial in trials), sum(trial.rounds for trial in trials))
        for x, trials in points.items()
    }
