"""Judging a study: its closed form beside what was measured, and whether what it expects held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from testbed.plan import Plan
from testbed.study.closed_forms import NotClosedFormError, round_broken_probability, rounds_depend
from testbed.study.document import Study, Variant, human
from testbed.study.evidence import Count
from testbed.study.losses import LossRow
from testbed.study.results import Expectation, Row, VariantResult, rate_interval
from testbed.study.sample import Sampler

_DELAYS_AGREE_NS = 1000.0
_CURVE_POINTS = 64


def dependence(*plans: Plan) -> str:
    """A note where the intervals are not exact because the rounds of a run are not independent, else empty."""
    why = next(filter(None, map(rounds_depend, plans)), "")
    if not why:
        return ""
    return (
        f"the rounds of a run depend on each other ({why}); the intervals take them to be independent and are not "
        "exact here"
    )


def closed_form_curve(
    sampler: Sampler, variant: Variant, rows: Sequence[Row]
) -> tuple[tuple[tuple[float, float], ...], str]:
    """The closed form (x, p) at the measured points and in between; empty, with a note, where there is none."""
    sweep = sampler.document.sweep
    grid, xs = sweep.grid, {row.x for row in rows}
    if sweep.kind != "number":
        between = (grid[0] + (grid[-1] - grid[0]) * index / _CURVE_POINTS for index in range(_CURVE_POINTS + 1))
        xs.update(map(sweep.snapped, between))
    curve: list[tuple[float, float]] = []
    for x in sorted(xs):
        sampler.report(f"{variant.name}: closed form", len(curve), len(xs))
        try:
            curve.append((x, float(round_broken_probability(sampler.plan(variant, x)))))
        except NotClosedFormError as error:
            return (), f"no closed form, {error}"
    return tuple(curve), ""


def expectations(study: Study, variants: Sequence[VariantResult], confidence: float) -> Iterator[Expectation]:
    """What the document expects, variant by variant."""
    document = study.document
    wanted, kind = document.break_point, document.sweep.kind
    for arm, result in zip(study.arms, variants, strict=True):
        variant = arm.variant
        if variant.expect.disagreements is not None:
            yield _disagreements(variant, result)
        yield from (_keeps(lost, result) for lost in variant.expect.keeps)
        yield from (_loses(lost, result) for lost in variant.expect.loses)
        if document.expect_closed_form:
            yield _meets_closed_form(result, confidence, wanted.probability if wanted else None, kind)
        if document.expect_engines_agree and document.vkernel and variant.vkernel:
            yield _engines_agree(result, kind)
            yield _delays_agree(result)


def _disagreements(variant: Variant, result: VariantResult) -> Expectation:
    seen = sum(row.totals["disagreements"] for row in result.sim)
    instances = sum(row.totals["instances"] for row in result.sim)
    held = (seen == 0) == (variant.expect.disagreements == "none")
    what = f"{variant.name}: {variant.expect.disagreements} of its instances disagree"
    return Expectation(what, held, f"{seen} of {instances}")


def _keeps(kind: str, result: VariantResult) -> Expectation:
    rows = [row for row in result.sim if isinstance(row, LossRow)]
    seen = sum(row.losses[kind].suffered for row in rows)
    runs = sum(row.totals["runs"] for row in rows)
    return Expectation(f"{result.name}: {kind} is never lost", not seen, f"lost in {seen} of {runs} runs")


def _loses(kind: str, result: VariantResult) -> Expectation:
    came = [item for item in result.lost if item.where[kind].at is not None]
    seen = " and ".join("with crashes" if item.crashes else "without crashes" for item in came) or "nowhere for certain"
    return Expectation(f"{result.name}: {kind} is lost", bool(came), seen)


def _meets_closed_form(result: VariantResult, confidence: float, searched: float | None, kind: str) -> Expectation:
    """All sim points' intervals, widened to hold together at ``confidence``, contain the closed form."""
    curve = dict(result.closed_form)
    rows = [row for row in result.sim if isinstance(row, Row) and row.x in curve]
    off = []
    for row in rows:
        count = Count(row.totals["broken"], row.totals["rounds"])
        low, high = rate_interval(count, 1 - (1 - confidence) / len(rows), searched)
        if not low <= curve[row.x] <= high:
            off.append(human(row.x, kind))
    seen = f"{len(rows) - len(off)} of {len(rows)} points" + (f"; off at {', '.join(off)}" if off else "")
    return Expectation(f"{result.name}: sim meets the closed form", not off if rows else None, seen)


def _engines_agree(result: VariantResult, kind: str) -> Expectation:
    """The break points' brackets of sim and vkernel overlap."""
    what = f"{result.name}: break points of sim and vkernel overlap"
    sim, real = result.break_point, result.vkernel_break_point
    if sim is None or real is None:
        return Expectation(what, None, "not confirmed on vkernel")
    if sim.lo is None or sim.hi is None or real.lo is None or real.hi is None:
        return Expectation(what, None, "no bracket on " + ("sim" if sim.lo is None else "vkernel: too few rounds"))
    held = real.lo <= sim.hi and sim.lo <= real.hi and real.rising == sim.rising
    spelled = [human(end, kind) for end in (sim.lo, sim.hi, real.lo, real.hi)]
    return Expectation(what, held, "sim [{}, {}], vkernel [{}, {}]".format(*spelled))


def _delays_agree(result: VariantResult) -> Expectation:
    """Frame delays of vkernel and sim have the same quantiles up to p99.9, beyond the fixed cost of a real kernel."""
    what = f"{result.name}: delays of sim and vkernel agree within {_DELAYS_AGREE_NS:g} ns at every quantile to p99.9"
    if not result.vkernel:
        return Expectation(what, None, "not confirmed on vkernel")
    apart, fixed = (max(row.totals[name] for row in result.vkernel) for name in ("quantiles_apart_ns", "fixed_cost_ns"))
    seen = f"at most {apart:g} ns apart, beyond a fixed cost of {fixed:g} ns"
    return Expectation(what, apart <= _DELAYS_AGREE_NS, seen)
