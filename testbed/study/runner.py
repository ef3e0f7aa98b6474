"""Runs a study: sim sweeps and searches, vkernel confirms; finished trials are kept, an interrupted study resumes.

``results.json`` is results.Results: name, about, source, seed (of the document), measure, parameters, kind (time: x in
ns, share: of 1, rate: bit/s, number, name: x is 0), scale and grid (values of x) of the sweep, across (the second
swept parameter, if there is one), confidence, crashes and losses as written, studied (fabrics, protocols and what is
set alike in all of it, in words), code (engine -> fingerprint), missing (why an engine did not run), notes,
expectations (what, held: true, false or null, seen), and variants (at each value of the second parameter), each with
name, of (its name in the document), across and swept (the value of the second parameter, or of the first where that is
a name, as people read them), set, window_ns, break_point
and vkernel_break_point (search.BreakPoint), closed_form (x, p), specimens (x, seed, instance), and a row per point
under sim and vkernel: x, p with its interval low .. high, looked, the sums of the columns of trials.parquet, and for
vkernel also twin_broken and twin_same_rounds (``sim`` on the same plan).

Of measure losses a row is losses.LossRow in place of p, low .. high, each figure as value, low, high of the median run;
and a variant has ``lost``: without and with crashes, between which values each loss comes, and which is first
(losses.LostUnder).

low .. high is the exact (Clopper-Pearson) interval at ``confidence`` where the number of rounds was fixed beforehand.
Where a search chose when to stop (looked), it is a confidence sequence, which holds at every number of rounds at once.
All of it takes rounds to be independent, which ``notes`` deny where they are not.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.plan import Plan
from testbed.scenario import compile_plan
from testbed.scenario.load import as_written
from testbed.study.cluster import ClusterWorkers
from testbed.study.confirm import Confirmer, usable_cores
from testbed.study.document import Losses, Study, Variant
from testbed.study.fingerprint import code_fingerprint
from testbed.study.judge import closed_form_curve, dependence, expectations
from testbed.study.losses import LOSSES, LossRow, LostUnder, each_confidence, loss_row, lost_first, where_lost
from testbed.study.measure import compiled, do_task
from testbed.study.results import Results, Row, Specimen, VariantResult, broken_row, disagreement_row
from testbed.study.sample import Report, Sampler
from testbed.study.subject import subject
from testbed.study.trials import TrialStore
from testbed.study.workers import Pool, Workers

_SPECIMENS = 3

FILES = {
    "study.yaml": "the study with its scenario in place",
    "trials.jsonl": "every finished trial as it came",
    "trials.parquet": "those that the results are made of, a row each",
    "results.json": "what the report shows",
    "report.html": "the report",
    "plot.png": "its plot",
    "plot.svg": "its plot, to be scaled",
}
"""What a study's directory holds."""


def run_study(
    study: Study,
    directory: Path,
    jobs: int | None = None,
    report: Report | None = None,
    vkernel: bool = True,
    cluster: str | None = None,
) -> Results:
    """Run what is missing of ``study`` in ``directory`` and return the results (also left there as results.json and
    trials.parquet). jobs: worker processes (None: one a core; 0: none, all in this process). cluster: dask://HOST:PORT,
    whose workers do the trials on sim instead. Raises ScenarioError when nothing of what it asks for can be measured,
    ClusterError when the cluster can't do it."""
    from testbed.study.table import write_trials  # pyarrow is nothing that workers need

    with _pool(jobs, cluster) as pool, TrialStore(directory) as store:
        _put(directory / "study.yaml", as_yaml(study))
        sampler = Sampler(study, store, pool, report or (lambda *_: None))
        results = _results(study, sampler, vkernel)
        write_trials(directory / "trials.parquet", [sampler.used[place] for place in sorted(sampler.used)])
    text = json.dumps(results.to_dict(), indent=1, sort_keys=True, allow_nan=False)
    _put(directory / "results.json", text + "\n")
    return results


def _pool(jobs: int | None, cluster: str | None) -> Pool:
    if cluster is not None:
        return ClusterWorkers(do_task, cluster)
    return Workers(do_task, usable_cores() if jobs is None else jobs)


def _put(path: Path, text: str) -> None:
    """The whole text or, when this is interrupted, what was there before."""
    partial = path.with_name(f"{path.name}.new")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def as_yaml(study: Study) -> str:
    """The study with its scenario in place: the directory alone is enough to run it again."""
    import yaml

    data = study.document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    data["scenario"] = as_written(study.scenario)
    data["paths_from"] = str(study.scenario.base_dir.resolve())
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _results(study: Study, sampler: Sampler, vkernel: bool) -> Results:
    document = study.document
    confidence = document.break_point.confidence if document.break_point else 0.99
    confirmer, notes = Confirmer(sampler), defaultdict[str, list[str]](list)
    variants = []
    for arm in study.arms:
        if document.measure == "broken_round":
            found = _broken_rounds(sampler, confirmer if vkernel else None, arm.variant, confidence, notes)
        elif document.losses is not None:
            found = _losses(sampler, document.losses, arm.variant, confidence)
        else:
            found = _disagreements(sampler, arm.variant, confidence)
        variants.append(replace(found, of=arm.of, across=arm.across, swept=arm.swept))
    return Results(
        name=document.name,
        about=document.about,
        measure=document.measure,
        parameters=document.sweep.parameters,
        kind=document.sweep.kind,
        scale=document.sweep.scale,
        grid=document.sweep.grid,
        across=document.across.parameters if document.across else (),
        seed=document.seed,
        source=study.source,
        confidence=confidence,
        crashes=document.crashes.model_dump(mode="json", exclude_defaults=True) if document.crashes else {},
        losses=document.losses.model_dump(mode="json") if document.losses else {},
        variants=tuple(variants),
        expectations=tuple(expectations(study, variants, confidence)),
        missing=confirmer.missing,
        notes=_told(notes, len(variants)),
        studied=subject([_ends(sampler, arm.variant) for arm in study.arms]),
        code={engine: code_fingerprint(engine) for engine in ("sim", "vkernel")},
    )


def _ends(sampler: Sampler, variant: Variant) -> tuple[Plan, Plan]:
    """The plans at both ends of the sweep."""
    grid = sampler.document.sweep.grid
    return sampler.plan(variant, grid[0]), sampler.plan(variant, grid[-1])


def _told(notes: defaultdict[str, list[str]], variants: int) -> list[str]:
    """Each note once, with the names of the variants that it is on."""
    return [
        f"{'all variants' if len(names) == variants > 1 else ', '.join(names)}: {note}"
        for note, names in notes.items()
        if note
    ]


def _broken_rounds(
    sampler: Sampler,
    confirmer: Confirmer | None,
    variant: Variant,
    confidence: float,
    notes: defaultdict[str, list[str]],
) -> VariantResult:
    """The probability of a broken round, or where it crosses p."""
    wanted = sampler.document.break_point
    notes[dependence(*_ends(sampler, variant))].append(variant.name)
    if wanted is None:
        points, found = sampler.sweep(variant), None
    else:
        points, found = sampler.search(variant)
    confirmed = confirmer.confirm(variant, found) if confirmer else {}
    searched = wanted.probability if wanted else None
    sim = [broken_row(x, points[x], confidence, searched) for x in sorted(points)]
    real: list[Row] = []
    for x, pair in sorted(confirmed.items()):
        same = pair.twin.broken_by_run == pair.trial.broken_by_run
        real.append(
            replace(broken_row(x, [pair.trial], confidence), twin_broken=pair.twin.broken, twin_same_rounds=same)
        )
    curve, note = closed_form_curve(sampler, variant, [*sim, *real])
    notes[note].append(variant.name)
    return VariantResult(
        name=variant.name,
        set=variant.set,
        sim=tuple(sim),
        vkernel=tuple(real),
        closed_form=curve,
        break_point=found,
        vkernel_break_point=confirmer.break_point(confirmed) if confirmer else None,
        window_ns=sampler.plan(variant, sampler.document.sweep.grid[0]).protocol.window_ns,
    )


def _disagreements(sampler: Sampler, variant: Variant, confidence: float) -> VariantResult:
    """How often an instance disagrees, at each point."""
    rows, specimens = [], []
    for x in sampler.document.sweep.grid:
        trials = sampler.instances(variant, x)
        rows.append(disagreement_row(x, trials, confidence))
        specimens += [Specimen(x, seed, instance) for trial in trials for seed, instance in trial.disagreeing]
    return VariantResult(variant.name, variant.set, tuple(rows), specimens=tuple(specimens[:_SPECIMENS]))


def _losses(sampler: Sampler, wanted: Losses, variant: Variant, confidence: float) -> VariantResult:
    """What clients lose at each point: first without crashes, then with."""
    grid, crashes = sampler.document.sweep.grid, sampler.document.crashes
    each = each_confidence(confidence, len(grid))
    rows: list[LossRow] = []
    lost: list[LostUnder] = []
    for struck in (None, crashes) if crashes else (None,):
        found = [
            loss_row(x, bool(struck), sampler.loads(variant, x, struck), wanted.deadline, wanted.outage, each)
            for x in grid
        ]
        where = {kind: where_lost(found, kind, wanted.probability) for kind in LOSSES}
        lost.append(LostUnder(bool(struck), where, lost_first(where)))
        rows += found
    return VariantResult(variant.name, variant.set, tuple(rows), lost=tuple(lost))


def specimen(study: Study, variant: str, x: float, seed: int) -> tuple[Plan, History]:
    """One run of a disagreement study again, in full: the same seed gives the same run."""
    scenario = study.scenario_at(study.arm(variant), x)
    instance_rounds = compile_plan(scenario).protocol.instance_rounds
    plan = compiled(scenario.with_count(instance_rounds), seed, study.document.crashes, capture=True)
    return plan, SimEngine().run(plan)
