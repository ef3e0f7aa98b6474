"""Runs a study: sim sweeps and searches, vkernel confirms; finished trials are kept, an interrupted study resumes.

A study's directory
-------------------
==================  ==================================================================================================
``study.yaml``      the study with its scenario in place
``trials.jsonl``    every finished trial as it came (testbed.study.trials)
``trials.parquet``  those that the results are made of, a row each; columns with their units: table.SCHEMA
``results.json``    what the report shows, see below
``report.html``     the report; ``plot.png`` and ``plot.svg`` its plot
==================  ==================================================================================================

``results.json``: name, about, source, seed (of the document), measure, parameters, kind (time: x in ns, share: of 1,
rate: bit/s, number) and scale of the sweep, confidence, crashes (a run), code (engine -> fingerprint), missing (why an
engine did not run), notes, expectations (what, held: true, false or null, seen), and variants, each with name, set,
window_ns, break_point and vkernel_break_point (search.BreakPoint), closed_form (x, p), specimens (x, seed, instance),
and a row per point under sim and vkernel: x, p with its interval low .. high, looks, the sums of the columns of
trials.parquet, and for vkernel also twin_broken and twin_same_rounds (``sim`` on the same plan).

low .. high is the exact (Clopper-Pearson) interval at ``confidence``. Where a search decided when to stop, the error is
divided evenly over its looks, which keeps the level; and all of it takes rounds to be independent, which ``notes`` deny
where they are not.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from testbed.engines.base import Engine, EngineUnavailable
from testbed.engines.live.results import RunFailed
from testbed.engines.registry import engine_by_name
from testbed.engines.vkernel.boot import GuestFailed
from testbed.history import History
from testbed.plan import Plan, derive_seed
from testbed.scenario import Scenario, compile_plan
from testbed.scenario.errors import ScenarioError
from testbed.scenario.load import as_written
from testbed.study.closed_forms import NotClosedFormError, round_broken_probability, rounds_depend
from testbed.study.document import Study, StudyDocument, Variant, human
from testbed.study.fingerprint import code_fingerprint, trial_key
from testbed.study.measure import Task, compiled, confirmed, do_task
from testbed.study.search import BreakPoint, Count, SearchSpec, break_point, next_requests
from testbed.study.statistics import clopper_pearson
from testbed.study.trials import Trial, TrialStore, summed
from testbed.study.workers import Workers

Report = Callable[[str, int, int], None]
"""Called with a phase, the trials finished and the trials known to be needed."""

_RUNS_PER_TASK = 50
_DELAYS_AGREE_NS = 1000.0
_CURVE_POINTS = 64
_SPECIMENS = 3


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def run_study(
    study: Study, directory: Path, jobs: int | None = None, report: Report | None = None, vkernel: bool = True
) -> dict[str, Any]:
    """Run what is missing of ``study`` in ``directory`` and return the results (also left there as results.json and
    trials.parquet). jobs: worker processes (None: one a core; 0: none, all in this process). Raises ScenarioError when
    nothing of what it asks for can be measured."""
    from testbed.study.table import write_trials  # pyarrow is nothing that workers need

    with TrialStore(directory) as store:
        _put(directory / "study.yaml", _as_yaml(study))
        with Workers(do_task, usable_cores() if jobs is None else jobs) as pool:
            runner = _Runner(study, store, pool, report or (lambda *_: None))
            results = runner.run(vkernel)
        write_trials(directory / "trials.parquet", [runner.used[place] for place in sorted(runner.used)])
    _put(directory / "results.json", json.dumps(results, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return results


def _put(path: Path, text: str) -> None:
    """The whole text or, when this is interrupted, what was there before."""
    partial = path.with_name(f"{path.name}.new")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _as_yaml(study: Study) -> str:
    """The study with its scenario in place: the directory alone is enough to run it again."""
    import yaml

    data = study.document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    data["scenario"] = as_written(study.scenario)
    data["paths_from"] = str(study.scenario.base_dir.resolve())
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


class _Runner:
    def __init__(self, study: Study, store: TrialStore, pool: Workers, report: Report) -> None:
        self.study, self.document = study, study.document
        self.store, self.pool, self.report = store, pool, report
        self.used: dict[tuple[str, str, float, str], Trial] = {}
        self.missing: list[str] = []
        self.notes: list[str] = []
        self._scenarios: dict[tuple[str, float, int], Scenario] = {}
        self._plans: dict[tuple[str, float, int], Plan] = {}

    def run(self, vkernel: bool) -> dict[str, Any]:
        document = self.document
        variants = []
        for variant in document.variants:
            if document.measure == "broken_round":
                variants.append(self._broken_rounds(variant, vkernel))
            else:
                variants.append(self._disagreements(variant))
        results = {
            "name": document.name,
            "about": document.about,
            "measure": document.measure,
            "parameters": document.sweep.parameters,
            "kind": document.sweep.kind,
            "scale": document.sweep.scale,
            "seed": document.seed,
            "source": self.study.source,
            "confidence": self._confidence,
            "crashes": document.crashes.nodes if document.crashes else 0,
            "variants": variants,
            "missing": self.missing,
            "notes": self.notes,
            "code": {engine: code_fingerprint(engine) for engine in ("sim", "vkernel")},
        }
        results["expectations"] = expectations(self.study, results)
        return results

    @property
    def _confidence(self) -> float:
        return self.document.break_point.confidence if self.document.break_point else 0.99

    # -- tasks -------------------------------------------------------------------------------------------------------

    def _scenario(self, variant: Variant, x: float, rounds: int) -> Scenario:
        place = (variant.name, x, rounds)
        if place not in self._scenarios:
            scenario = self.study.scenario_at(variant, x)
            self._scenarios[place] = scenario.with_count(rounds)
        return self._scenarios[place]

    def _plan(self, variant: Variant, x: float, rounds: int) -> Plan:
        place = (variant.name, x, rounds)
        if place not in self._plans:
            self._plans[place] = compiled(self._scenario(variant, x, rounds), self.document.seed)
        return self._plans[place]

    def _whole(self, variant: Variant, x: float, rounds: int) -> int:
        """Rounds in whole instances: of one that is cut off, nothing can be said."""
        size = self._plan(variant, x, 1).protocol.instance_rounds
        return -(-rounds // size) * size

    def _task(self, variant: Variant, x: float, rounds: int, seeds: tuple[int, ...], engine: str = "sim") -> Task:
        crashes = self.document.crashes.nodes if self.document.crashes else 0
        causes = self.document.causes
        key = trial_key(self._plan(variant, x, rounds).to_json(), engine, seeds, crashes, causes)
        return Task(key, variant.name, x, self._scenario(variant, x, rounds), seeds, crashes, causes)

    def _run_seed(self, index: int) -> int:
        """The seed of a point's index-th run: the same in every engine, at every point, for every variant."""
        return derive_seed(self.document.seed, "run", index)

    def _do(self, phase: str, tasks: Sequence[Task]) -> list[Trial]:
        missing = [task for task in tasks if task.key not in self.store.trials]
        done = len(tasks) - len(missing)
        self.report(phase, done, len(tasks))
        for _, trial in self.pool.map(missing):
            self.store.add(trial)
            done += 1
            self.report(phase, done, len(tasks))
        return [self._finished(task) for task in tasks]

    def _finished(self, task: Task) -> Trial:
        """The task's trial. Tasks whose plans are the same share one, whichever variant it was run for."""
        trial = replace(self.store.trials[task.key], variant=task.variant, x=task.x)
        self.used[trial.variant, trial.engine, trial.x, trial.key] = trial
        return trial

    # -- the probability of a broken round -----------------------------------------------------------------------------

    def _broken_rounds(self, variant: Variant, vkernel: bool) -> dict[str, Any]:
        document = self.document
        points: dict[float, list[Trial]] = {}
        looks = 1
        phase = f"{variant.name}: sim"
        self._note_dependence(variant)
        if document.break_point is None:
            self._sample(variant, phase, dict.fromkeys(document.sweep.grid, document.sim.rounds), points)
            found = None
        else:
            spec = self._search_spec()
            looks = spec.looks
            while wanted := next_requests(spec, _counts(points)):
                self._sample(variant, phase, {request.x: request.rounds for request in wanted}, points)
            found = break_point(spec, _counts(points))
        confirmed = self._confirm(variant, found) if vkernel else {}
        sim = [self._row(x, points[x], looks) for x in sorted(points)]
        rows = [
            self._row(x, trials)
            | {"twin_broken": twin.broken, "twin_same_rounds": twin.broken_by_run == trials[0].broken_by_run}
            for x, (trials, twin) in sorted(confirmed.items())
        ]
        return {
            "name": variant.name,
            "set": variant.set,
            "sim": sim,
            "vkernel": rows,
            "closed_form": self._curve(variant, [row["x"] for row in (*sim, *rows)]),
            "break_point": asdict(found) if found else None,
            "vkernel_break_point": self._vkernel_bracket(confirmed) if found else None,
            "window_ns": self._plan(variant, document.sweep.grid[0], 1).protocol.window_ns,
        }

    def _search_spec(self) -> SearchSpec:
        wanted, sim = self.document.break_point, self.document.sim
        assert wanted is not None
        return SearchSpec(
            wanted.probability,
            wanted.confidence,
            self.document.sweep.grid,
            sim.batch,
            sim.rounds,
            wanted.resolution,
            wanted.max_points,
            integral=self.document.sweep.integral,
        )

    def _sample(
        self, variant: Variant, phase: str, wanted: Mapping[float, int], points: dict[float, list[Trial]]
    ) -> None:
        """Bring each point up to its wanted number of judged rounds, by runs of one batch each."""
        while True:
            tasks: list[Task] = []
            for x, rounds in wanted.items():
                batch = self._whole(variant, x, self.document.sim.batch)
                have, judged = len(points.get(x, ())), sum(trial.rounds for trial in points.get(x, ()))
                if have and not judged:
                    where = f"{variant.name} at {human(x, self.document.sweep.kind)}"
                    raise ScenarioError(f"{self.study.source}: {where}: no round can be judged; does anybody live?")
                a_run = judged / have if have else batch
                need = math.ceil((rounds - judged) / a_run) if judged < rounds else 0
                tasks += [self._task(variant, x, batch, (self._run_seed(have + index),)) for index in range(need)]
            if not tasks:
                return
            for trial in self._do(phase, tasks):
                points.setdefault(trial.x, []).append(trial)

    def _note_dependence(self, variant: Variant) -> None:
        grid = self.document.sweep.grid
        why = next(filter(None, (rounds_depend(self._plan(variant, x, 1)) for x in (grid[0], grid[-1]))), "")
        if why:
            self._note(
                f"{variant.name}: the rounds of a run depend on each other ({why}); the intervals take them to be "
                "independent and are not exact here"
            )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _row(self, x: float, trials: Sequence[Trial], looks: int = 1) -> dict[str, Any]:
        row = summed(trials)
        low, high = clopper_pearson(row["broken"], row["rounds"], 1 - (1 - self._confidence) / looks)
        return {"x": x, **row, "p": row["broken"] / max(1, row["rounds"]), "low": low, "high": high, "looks": looks}

    def _curve(self, variant: Variant, at: Sequence[float]) -> list[dict[str, float]]:
        """The closed form at the measured points and in between; empty where there is none."""
        sweep = self.document.sweep
        grid = sweep.grid
        xs = set(at)
        if sweep.kind != "number":
            between = (grid[0] + (grid[-1] - grid[0]) * index / _CURVE_POINTS for index in range(_CURVE_POINTS + 1))
            xs.update(map(sweep.snapped, between))
        curve: list[dict[str, float]] = []
        for x in sorted(xs):
            self.report(f"{variant.name}: closed form", len(curve), len(xs))
            try:
                p = closed_form(self._plan(variant, x, 1))
            except NotClosedFormError as error:
                self._note(f"{variant.name}: no closed form, {error}")
                return []
            curve.append({"x": x, "p": p})
        return curve

    # -- confirmation on the virtual-time kernel --------------------------------------------------------------------

    def _confirm(self, variant: Variant, found: BreakPoint | None) -> dict[float, tuple[list[Trial], Trial]]:
        """vkernel around the break point: x -> its trials, and the trial of sim on the very same plan."""
        spec = self.document.vkernel
        if spec is None or not variant.vkernel:
            return {}
        seeds = (self._run_seed(0),)
        rounds = {x: self._whole(variant, x, spec.rounds) for x in confirm_at(self.document, found)}
        tasks = [self._task(variant, x, rounds[x], seeds, "vkernel") for x in rounds]
        phase = f"{variant.name}: vkernel"
        missing = [task for task in tasks if task.key not in self.store.trials]
        self.report(phase, len(tasks) - len(missing), len(tasks))
        if missing and not self._boot(missing, phase, len(tasks)):
            tasks = [task for task in tasks if task.key in self.store.trials]
        twins = self._do(
            f"{variant.name}: sim, same seeds", [self._task(variant, task.x, rounds[task.x], seeds) for task in tasks]
        )
        return {task.x: ([self._finished(task)], twin) for task, twin in zip(tasks, twins, strict=True)}

    def _boot(self, missing: Sequence[Task], phase: str, total: int) -> bool:
        """Run the missing vkernel trials; False (and a word on what is missing) when this host can't."""
        plans = [compiled(task.scenario, task.seeds[0], capture=True) for task in missing]
        try:
            engine = engine_by_name("vkernel")
            engine.check(plans[0])
            done = total - len(missing)
            began = time.monotonic()
            for index, history in run_all(engine, plans):
                self.store.add(confirmed(missing[index], plans[index], history, began))
                began = time.monotonic()
                done += 1
                self.report(phase, done, total)
        except (EngineUnavailable, GuestFailed, RunFailed) as error:
            if str(error) not in self.missing:
                self.missing.append(str(error))
            return False
        return True

    def _vkernel_bracket(self, confirmed: Mapping[float, tuple[list[Trial], Trial]]) -> dict[str, Any] | None:
        """The same bracket from the vkernel points alone."""
        wanted = self.document.break_point
        counts = _counts({x: trials for x, (trials, _) in confirmed.items()})
        if wanted is None or not counts:
            return None
        rounds = min(count.rounds for count in counts.values())
        spec = SearchSpec(
            wanted.probability, wanted.confidence, tuple(sorted(counts)), rounds, rounds, max_points=len(counts)
        )
        return asdict(break_point(spec, counts))

    # -- disagreement --------------------------------------------------------------------------------------------------

    def _disagreements(self, variant: Variant) -> dict[str, Any]:
        seeds = [self._run_seed(index) for index in range(self.document.runs)]
        chunks = [tuple(seeds[at : at + _RUNS_PER_TASK]) for at in range(0, len(seeds), _RUNS_PER_TASK)]
        rows, specimens = [], []
        for x in self.document.sweep.grid:
            rounds = self._whole(variant, x, 1)
            trials = self._do(f"{variant.name}: sim", [self._task(variant, x, rounds, chunk) for chunk in chunks])
            row = summed(trials)
            low, high = clopper_pearson(row["disagreements"], row["instances"], self._confidence)
            rate = row["disagreements"] / max(1, row["instances"])
            rows.append({"x": x, **row, "p": rate, "low": low, "high": high})
            found = [pair for trial in trials for pair in trial.disagreeing]
            specimens += [{"x": x, "seed": seed, "instance": instance} for seed, instance in found]
        return {"name": variant.name, "set": variant.set, "sim": rows, "specimens": specimens[:_SPECIMENS]}


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


def specimen(study: Study, variant: str, x: float, seed: int) -> tuple[Plan, History]:
    """One run of a disagreement study again, in full: the same seed gives the same run."""
    chosen = next(item for item in study.document.variants if item.name == variant)
    scenario = study.scenario_at(chosen, x)
    instance_rounds = compile_plan(scenario).protocol.instance_rounds
    crashes = study.document.crashes.nodes if study.document.crashes else 0
    plan = compiled(scenario.with_count(instance_rounds), seed, crashes, capture=True)
    return plan, engine_by_name("sim").run(plan)


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


def closed_form(plan: Plan) -> float:
    """P(broken round) of the plan. Raises NotClosedFormError where an assumption of all closed forms fails."""
    return float(round_broken_probability(plan))


def _counts(points: Mapping[float, Sequence[Trial]]) -> dict[float, Count]:
    return {
        x: Count(sum(trial.broken for trial in trials), sum(trial.rounds for trial in trials))
        for x, trials in points.items()
    }


def expectations(study: Study, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the document expects, each with held: true, false, or None when it could not be seen."""
    found: list[dict[str, Any]] = []
    document = study.document
    for variant, result in zip(document.variants, results["variants"], strict=True):
        if variant.expect.disagreements is not None:
            seen = sum(row["disagreements"] for row in result["sim"])
            instances = sum(row["instances"] for row in result["sim"])
            held = (seen == 0) == (variant.expect.disagreements == "none")
            text = f"{variant.name}: {variant.expect.disagreements} of its instances disagree"
            found.append({"what": text, "held": held, "seen": f"{seen} of {instances}"})
        if document.expect_closed_form:
            found.append(_meets_closed_form(variant.name, result, results["confidence"], results["kind"]))
        if document.expect_engines_agree and document.vkernel and variant.vkernel:
            found.append(_engines_agree(variant.name, result, results["kind"]))
            found.append(_delays_agree(variant.name, result))
    return found


def _meets_closed_form(name: str, result: Mapping[str, Any], confidence: float, kind: str) -> dict[str, Any]:
    """All sim points' intervals, widened to hold together at ``confidence``, contain the closed form."""
    curve = {point["x"]: point["p"] for point in result["closed_form"]}
    rows = [row for row in result["sim"] if row["x"] in curve]
    off = []
    for row in rows:
        low, high = clopper_pearson(row["broken"], row["rounds"], 1 - (1 - confidence) / (len(rows) * row["looks"]))
        if not low <= curve[row["x"]] <= high:
            off.append(human(row["x"], kind))
    seen = f"{len(rows) - len(off)} of {len(rows)} points" + (f"; off at {', '.join(off)}" if off else "")
    return {"what": f"{name}: sim meets the closed form", "held": not off if rows else None, "seen": seen}


def _engines_agree(name: str, result: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The break points' brackets of sim and vkernel overlap (an open end overlaps everything on its side)."""
    sim, real = result["break_point"], result["vkernel_break_point"]
    what = f"{name}: break points of sim and vkernel overlap"
    if not sim or not real or sim["status"] != "bracketed":
        return {"what": what, "held": None, "seen": "not confirmed on vkernel"}
    low, high = (real["lo"] or 0.0), (real["hi"] if real["hi"] is not None else float("inf"))
    held = low <= sim["hi"] and sim["lo"] <= high
    spelled = [human(end, kind) if end < float("inf") else "no end" for end in (sim["lo"], sim["hi"], low, high)]
    return {"what": what, "held": held, "seen": "sim [{}, {}], vkernel [{}, {}]".format(*spelled)}


def _delays_agree(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Frame delays of vkernel and sim have the same quantiles up to p99.9, beyond the fixed cost of a real kernel."""
    rows = result["vkernel"]
    what = f"{name}: delays of sim and vkernel agree within {_DELAYS_AGREE_NS:g} ns at every quantile to p99.9"
    if not rows:
        return {"what": what, "held": None, "seen": "not confirmed on vkernel"}
    apart, fixed = (max(row[key] for row in rows) for key in ("quantiles_apart_ns", "fixed_cost_ns"))
    seen = f"at most {apart:g} ns apart, beyond a fixed cost of {fixed:g} ns"
    return {"what": what, "held": apart <= _DELAYS_AGREE_NS, "seen": seen}
