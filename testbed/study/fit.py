"""How well a measured distribution of delays is met: samples against the table that netem is given, and against what an
engine draws from it.

Whatever is told of the samples has its own uncertainty: with a confidence of CONFIDENCE what they were drawn from lies
nowhere further from them than ``band`` (Dvoretzky, Kiefer, Wolfowitz, both sides). A table that is nearer than that
loses nothing that the samples could tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from testbed.engines.base import Engine
from testbed.quantiles import quantile
from testbed.scenario import Scenario, compile_plan, from_data
from testbed.scenario.model import MeasuredDelays
from testbed.scenario.samples import load_samples
from testbed.scenario.settings import make_impairment
from testbed.topologies.impairment import Impairment
from testbed.topologies.tables import SCALE, delay_values, greatest_delay_ns, least_delay_ns
from testbed.verdicts.bands import dkw_band
from testbed.verdicts.comparison import frame_delays

CONFIDENCE = 0.95
SHARES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""The quantiles that are told."""
NAMED = ("uniform", "normal", "pareto", "paretonormal")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steps:
    """A distribution function that rises at ``at`` (sorted, ns) to ``up_to``."""

    at: Floats
    up_to: Floats

    @staticmethod
    def of_samples(values: Sequence[float]) -> Steps:
        """The empirical one."""
        at, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
        return Steps(at, np.cumsum(counts) / len(values))

    @staticmethod
    def of(impairment: Impairment) -> Steps:
        """What netem's integers give, exactly."""
        values, weights = delay_values(impairment)
        return Steps(values.astype(np.float64), np.minimum(np.cumsum(weights), 1.0))

    def share(self, x: Floats) -> Floats:
        """P(delay <= x)."""
        place = np.searchsorted(self.at, x, side="right")
        return np.where(place > 0, self.up_to[np.maximum(place, 1) - 1], 0.0)

    def quantile(self, p: float) -> float:
        """The least delay with at least the share ``p`` at or below it."""
        return float(self.at[min(int(np.searchsorted(self.up_to, p - 1e-12)), len(self.at) - 1)])


def distance(one: Steps, other: Steps, grain_ns: float = 0.0) -> float:
    """Kolmogorov and Smirnov's: the most by which they differ anywhere, delays less than ``grain_ns`` apart taken for
    the same."""
    x = np.concatenate([one.at, other.at, one.at - grain_ns, other.at - grain_ns])
    above = one.share(x) - other.share(x + grain_ns)
    below = other.share(x) - one.share(x + grain_ns)
    return float(max(0.0, above.max(), below.max()))


@dataclass(frozen=True, slots=True)
class Drawn:
    """What an engine drew from the table. ks: how far from what the table says; band: how far chance may take so many
    frames, with CONFIDENCE."""

    engine: str
    frames: int
    ks: float
    band: float
    quantiles_ns: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """Of samples and of the table (``law``): mean, standard deviation, least and greatest (ns), quantiles at SHARES.

    ks: how far the table's distribution function is from the samples', where delays less than ``grain_ns`` apart (a
    step of the table) count as the same. band: how far the samples' may be from that of what was measured. beyond: the
    share of samples that lie outside what can be drawn; beyond_above: of those above it. named: the same distance of
    the distributions with a name, with these mean and deviation.
    """

    origin: str
    samples: int
    mean_ns: float
    deviation_ns: float
    least_ns: float
    greatest_ns: float
    quantiles_ns: tuple[float, ...]
    law_mean_ns: float
    law_deviation_ns: float
    law_least_ns: float
    law_greatest_ns: float
    law_quantiles_ns: tuple[float, ...]
    grain_ns: float
    ks: float
    band: float
    beyond: float
    beyond_above: float
    named: dict[str, float]
    suggestion: str
    drawn: tuple[Drawn, ...] = ()
    curves: dict[str, Steps] = field(default_factory=dict, repr=False)

    @property
    def is_met(self) -> bool:
        """Whether the table is nearer to the samples than these are to what was measured."""
        return self.ks <= self.band

    @property
    def simpler(self) -> str | None:
        """The distribution with a name that is nearest, if the samples can't tell it from what was measured."""
        nearest = min(self.named, key=lambda name: self.named[name])
        return nearest if self.named[nearest] <= self.band else None


def fit(source: MeasuredDelays, directory: Path, engines: Sequence[Engine] = (), frames: int = 0, seed: int = 0) -> Fit:
    """How ``source`` is met by its table, and by ``frames`` frames on each of ``engines``. Raises ValueError, one
    line, for files that hold no delays."""
    samples = load_samples(source, directory)
    impairment = make_impairment({"distribution": source}, directory)
    values = sorted(samples.delays_ns)
    empirical, law = Steps.of_samples(values), Steps.of(impairment)
    grain_ns = max(1.0, impairment.jitter_ns / SCALE) + 0.5  # the rounding to whole nanoseconds
    weights = np.diff(law.up_to, prepend=0.0)
    law_mean = float(weights @ law.at)
    least, greatest = least_delay_ns(impairment), greatest_delay_ns(impairment)
    above = sum(value > greatest + grain_ns for value in values)
    below = sum(value < least - grain_ns for value in values)
    mean = sum(values) / len(values)
    drawn, curves = [], {"samples": empirical, "table": law}
    for engine in engines:
        found = _drawn(engine, source, directory, impairment, frames, seed)
        curves[engine.name] = steps = Steps.of_samples(found)
        told = tuple(steps.quantile(share) for share in SHARES)
        drawn.append(Drawn(engine.name, len(found), distance(steps, law), _band(len(found)), told))
    return Fit(
        origin=samples.origin,
        samples=len(values),
        mean_ns=mean,
        deviation_ns=sqrt(sum((value - mean) ** 2 for value in values) / len(values)),
        least_ns=values[0],
        greatest_ns=values[-1],
        quantiles_ns=tuple(quantile(values, share) for share in SHARES),
        law_mean_ns=law_mean,
        law_deviation_ns=sqrt(float(weights @ (law.at - law_mean) ** 2)),
        law_least_ns=least,
        law_greatest_ns=greatest,
        law_quantiles_ns=tuple(law.quantile(share) for share in SHARES),
        grain_ns=grain_ns,
        ks=distance(empirical, law, grain_ns),
        band=_band(len(values)),
        beyond=(above + below) / len(values),
        beyond_above=above / len(values),
        named={name: distance(empirical, Steps.of(_named(name, impairment)), grain_ns) for name in NAMED},
        suggestion=_suggestion(source),
        drawn=tuple(drawn),
        curves=curves,
    )


def named_settings(name: str, fitted: Fit) -> str:
    """``{delay: 50us, jitter: 5us, distribution: normal}``, with the samples' mean and deviation."""
    jitter_ns = fitted.deviation_ns * (sqrt(3) if name == "uniform" else 1)
    return f"{{delay: {round(fitted.mean_ns)}ns, jitter: {round(jitter_ns)}ns, distribution: {name}}}"


# -- inside ----------------------------------------------------------------------------------------------------------


def _band(n: int) -> float:
    """To either side."""
    return dkw_band(n, (1 - CONFIDENCE) / 2)


def _named(name: str, like: Impairment) -> Impairment:
    jitter_ns = round(like.jitter_ns * sqrt(3)) if name == "uniform" else like.jitter_ns
    return Impairment(delay_ns=like.delay_ns, jitter_ns=jitter_ns, distribution=name)


def _suggestion(source: MeasuredDelays) -> str:
    """The lines of a scenario that ask for these delays."""
    told: dict[str, Any] = source.model_dump(exclude_none=True)
    if "between" in told:
        told["between"] = f"[{', '.join(told['between'])}]"
    keys = ", ".join(f"{key}: {value}" for key, value in told.items())
    return f"links:\n  default: {{distribution: {{{keys}}}}}"


def _drawn(
    engine: Engine, source: MeasuredDelays, directory: Path, impairment: Impairment, frames: int, seed: int
) -> list[float]:
    """The delays of so many frames, each alone on its link: two in a round, in both directions of one link."""
    plan = compile_plan(_scenario(source, directory, impairment, (frames + 1) // 2, seed))
    engine.check(plan)
    return [float(delay) for delay in frame_delays(engine.run(plan)).values()]


def _scenario(source: MeasuredDelays, directory: Path, impairment: Impairment, rounds: int, seed: int) -> Scenario:
    window_ns = 2 * greatest_delay_ns(impairment) + 1_000_000
    data = {
        "name": "fit",
        "topology": {"kind": "pair"},
        "links": {"default": {"distribution": source.model_dump(exclude_none=True)}},
        "protocol": {"consensus": "none", "depth": 2, "window": f"{window_ns}ns", "rounds": rounds},
        "capture": False,
        "seed": seed,
    }
    return from_data(data, "fit", directory)
