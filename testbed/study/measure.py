"""One unit of a study: runs of one scenario under several seeds, judged and added up to a trial.

All that this module loads is part of a trial's fingerprint (testbed.study.fingerprint).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.plan import Fault, Plan, derive_seed
from testbed.scenario import Scenario, compile_plan
from testbed.study.document import Crashes
from testbed.study.load import Load, seen_by_clients
from testbed.study.losses import contradiction
from testbed.study.trials import OUTCOMES_ALONE, Trial
from testbed.verdicts import judge
from testbed.verdicts.bisynchrony import judge_rounds
from testbed.verdicts.causes import explain
from testbed.verdicts.comparison import compare
from testbed.verdicts.consensus import judge_consensus
from testbed.verdicts.fidelity import judge_fidelity
from testbed.verdicts.laws import hops_needed
from testbed.verdicts.model import Consensus, Fidelity, answer
from testbed.verdicts.paths import Paths
from testbed.verdicts.service import judge_service
from testbed.verdicts.timeline import Timeline

_KEPT_DISAGREEMENTS = 20


@dataclass(frozen=True)
class Task:
    """One trial to be done: runs of one scenario under several seeds.

    causes: whether it is asked what broke each swap. Then every message is recorded; else outcomes only, which is all
    that the other verdicts need and costs less. full: whether the first run is judged in full, as a measurement too.
    load: whether it is asked what clients saw; then everything is recorded too.
    """

    key: str
    variant: str
    x: float
    scenario: Scenario
    seeds: tuple[int, ...]
    crashes: Crashes | None = None
    causes: bool = False
    full: bool = False
    load: bool = False


def compiled(scenario: Scenario, seed: int, crashes: Crashes | None = None, capture: bool = False) -> Plan:
    """The plan of one run of a study, with ``crashes`` of members drawn from the seed."""
    plan = replace(compile_plan(scenario.with_override("seed", seed)), capture=capture)
    if crashes is None:
        return plan
    draw = random.Random(derive_seed(seed, "crashes"))
    struck = draw.sample([plan.names[number] for number in plan.members], crashes.nodes + crashes.nics)
    verbs = ("node_kill",) * crashes.nodes + ("nic_down",) * crashes.nics
    within_ns = crashes.within or plan.protocol.length_ns
    faults = (
        Fault(verb, at_ns=draw.randrange(within_ns), target=member) for verb, member in zip(verbs, struck, strict=True)
    )
    return replace(plan, faults=plan.faults + tuple(faults))


def do_task(task: Task) -> Trial:
    """Run a task on ``sim`` (in a worker) and measure it."""
    began = time.monotonic()
    tally = _Tally()
    for index, seed in enumerate(task.seeds):
        plan = compiled(task.scenario, seed, task.crashes)
        full = task.full and index == 0
        everything = full or task.causes or task.load
        engine = SimEngine(events="all" if everything else "outcomes", hops=full and hops_needed(plan))
        history = engine.run(plan)
        consensus = tally.add_simulated(plan, history, task.causes, full)
        if task.load:
            tally.add_load(plan, history, consensus)
    return tally.trial(task, "sim", began)


def confirmed(task: Task, plan: Plan, history: History, began: float) -> Trial:
    """The trial that a run on ``vkernel`` makes, with ``sim`` on the same plan beside it. began: by time.monotonic."""
    tally = _Tally()
    tally.add_real(plan, history)
    return tally.trial(task, "vkernel", began)


ACCUSED = 1e-5
"""The share of good runs on ``sim`` that may be accused: a study of a hundred points is not, but once in a thousand."""


class _Tally:
    """Adds up the verdicts on a trial's runs."""

    def __init__(self) -> None:
        self.rounds = 0
        self.broken_by_run: list[tuple[int, ...]] = []
        self.swaps: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.consensus: Counter[str] = Counter()
        self.disagreeing: list[tuple[int, int]] = []
        self.full = 0
        self.reasons: dict[str, None] = {}
        self.unchecked: dict[str, None] = {}
        self.fixed_ns = self.apart_ns = 0.0
        self.loads: list[Load] = []
        self.contradicted: list[tuple[int, str]] = []

    def add_simulated(self, plan: Plan, history: History, causes: bool, full: bool) -> Consensus | None:
        """As judge. Of runs that are not judged in full outcomes alone are recorded: whether they were cut short and
        what full queues dropped still counts."""
        paths, timeline = Paths(plan), Timeline(plan, history)
        judged = judge_rounds(plan, history, paths, timeline)
        self._add_rounds(judged.judged, judged.broken_rounds, judged.swaps)
        self.kinds.update(_each_round((item.swap.round, item.kind) for item in judged.broken))
        if causes:
            breaks = explain(plan, history, judged.broken, paths, timeline)
            self.causes.update(_each_round((item.round, item.cause) for item in breaks))
        consensus = judge_consensus(plan, history, timeline)
        self._add_consensus(plan, consensus)
        if full:
            self._add_fidelity(judge_fidelity(plan, history, paths, timeline, ACCUSED))
            return consensus
        if not history.complete:
            self.reasons[f"a run was cut short: {history.why}"] = None
        if sum(history.meta.get("limit_drops", {}).values()):
            self.reasons["frames were dropped by full queues; raise limit"] = None
        return consensus

    def add_load(self, plan: Plan, history: History, consensus: Consensus | None) -> None:
        """What clients saw in it, and whether anything contradicts anything."""
        self.loads.append(seen_by_clients(plan, history, consensus.rounds_to_decide if consensus else {}))
        service = judge_service(plan, history)
        if wrong := contradiction(service, consensus):
            self.contradicted.append((plan.seed, wrong))
        if service is not None:
            self.reasons.update({f"not checked: {what}": None for what in service.unchecked})

    def add_real(self, plan: Plan, history: History) -> None:
        """All verdicts, and how far the delays are from those of ``sim``."""
        verdicts = judge(plan, history)
        bisynchrony = verdicts.bisynchrony
        self._add_rounds(bisynchrony.rounds, bisynchrony.broken_rounds, bisynchrony.swaps)
        self.kinds.update(_each_round((item.round, item.kind) for item in bisynchrony.breaks))
        self.causes.update(_each_round((item.round, item.cause) for item in bisynchrony.breaks))
        self._add_consensus(plan, verdicts.consensus)
        self._add_fidelity(verdicts.fidelity)
        beside = compare(SimEngine().run(plan), history)
        self.fixed_ns = max(self.fixed_ns, beside.fixed_cost_ns)
        self.apart_ns = max(self.apart_ns, beside.worst_quantile_ns)

    def _add_fidelity(self, found: Fidelity) -> None:
        self.full += 1
        self.reasons.update(dict.fromkeys(found.reasons))
        self.unchecked.update(dict.fromkeys(found.unchecked))

    def _add_rounds(self, judged: int, broken: tuple[int, ...], swaps: dict[str, int]) -> None:
        self.rounds += judged
        self.broken_by_run.append(broken)
        self.swaps.update(swaps)

    def _add_consensus(self, plan: Plan, found: Consensus | None) -> None:
        if found is None:
            return
        counts = {"instances": found.instances, "decided": found.decided, "invalid": len(found.invalid)}
        self.consensus.update({**counts, "disagreements": len(found.disagreements)})
        self.disagreeing += [(plan.seed, item.instance) for item in found.disagreements]

    def trial(self, task: Task, engine: str, began: float) -> Trial:
        """What has been added up."""
        unchecked = tuple(self.unchecked) if self.full else (OUTCOMES_ALONE,)
        return Trial(
            key=task.key,
            variant=task.variant,
            engine=engine,
            x=task.x,
            seeds=task.seeds,
            rounds=self.rounds,
            broken=sum(map(len, self.broken_by_run)),
            broken_by_run=tuple(self.broken_by_run),
            kinds=dict(sorted(self.kinds.items())),
            causes=dict(sorted(self.causes.items())),
            swaps=dict(sorted(self.swaps.items())),
            instances=self.consensus["instances"],
            decided=self.consensus["decided"],
            disagreements=self.consensus["disagreements"],
            invalid=self.consensus["invalid"],
            disagreeing=tuple(self.disagreeing[:_KEPT_DISAGREEMENTS]),
            full=self.full,
            trust=str(answer(self.reasons, unchecked)),
            reasons=tuple(self.reasons),
            unchecked=unchecked,
            fixed_cost_ns=self.fixed_ns,
            quantiles_apart_ns=self.apart_ns,
            loads=tuple(self.loads),
            contradicted=tuple(self.contradicted),
            seconds=round(time.monotonic() - began, 4),
        )


def _each_round(found: Iterable[tuple[int, str]]) -> Iterable[str]:
    """Each kind or cause once for a round, however many of its swaps broke that way."""
    return (what for _, what in set(found))
