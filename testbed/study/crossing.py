"""Where a curve crosses p: a local fit to the counts, with an interval. An estimate, not a guarantee.

The model: near the crossing the log-odds are a straight line in x, bent a little. The bend is told in how the slope
changes: by ``_BEND`` (one standard deviation, as a share) for each unit of log-odds, which covers the curves that
closed forms give (Gaussian tails bend by -0.2, a probability that grows linearly from 0 by 1). Points count by how
near their log-odds are, none beyond ``_REACH`` units. The interval holds every x at which p lies within ``_LOOKED`` z
standard errors of the curve (Fieller 1954). docs/break-points.md says what was measured of it, and where it fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from testbed.study.evidence import Count

_BEND = 0.5
_LOOKED = 1.25
"""By how much the interval is wider than for counts that were planned. The search goes where its counts point, and the
bend that is allowed for is a guess: without it the interval of 99 % held in 97.8 to 99.3 % of searches."""

_REACH = 2.5
_SOFT = 1.5  # log-odds at which a point's first weight, before there is a fit, is a half
_REWEIGHTINGS = 3
_NEWTON_STEPS = 40
_BISECTIONS = 50
_FARTHEST = 30.0  # log-odds: probabilities of 1e-13 are as good as 0
_STRAIGHT = 1e9  # a penalty that lets no bend through

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]


class _Point(NamedTuple):
    """A point of the fit: place in units of the spread; half a round is added to either outcome; its weight."""

    u: float
    broken: float
    rounds: float
    weight: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """The fitted curve around its crossing: x, its standard error, and the slope of the log-odds there (per x)."""

    x: float
    error: float
    slope: float
    target: float
    middle: float
    spread: float
    curve: Vector
    covariance: Matrix

    def probability(self, x: float) -> float:
        """About P(x), by the tangent at the crossing."""
        return _logistic(self.target + self.slope * (x - self.x))

    def interval(self, confidence: float, least: float, greatest: float) -> tuple[float, float]:
        """Where the curve may cross p; least and greatest bound it."""
        z = _LOOKED * NormalDist().inv_cdf((1 + confidence) / 2)
        return self._edge(z, -1, least), self._edge(z, 1, greatest)

    def _edge(self, z: float, way: int, end: float) -> float:
        inside = self.x
        if (inside - end) * way >= 0:
            return end
        step = max(self.error, 1e-12 * abs(end - inside))
        while True:
            x = inside + way * step
            if (x - end) * way >= 0:
                if self._may_cross(end, z):
                    return end
                x = end
                break
            if not self._may_cross(x, z):
                break
            inside, step = x, 1.5 * step
        for _ in range(_BISECTIONS):
            middle = (inside + x) / 2
            inside, x = (middle, x) if self._may_cross(middle, z) else (inside, middle)
        return x

    def _may_cross(self, x: float, z: float) -> bool:
        u = (x - self.middle) / self.spread
        gap = self.curve[0] + u * (self.curve[1] + u * self.curve[2]) - self.target
        return gap * gap <= z * z * _variance(self.covariance, u)


def fit_crossing(counts: Mapping[float, Count], p: float, rising: bool) -> Crossing | None:
    """The crossing that these counts tell of, or None where they make no curve that goes the stated way."""
    target = math.log(p / (1 - p))
    seen = [(x, broken + 0.5, rounds + 1.0) for x, (broken, rounds) in sorted(counts.items()) if rounds]
    soft = [1 / (1 + ((math.log(y / (n - y)) - target) / _SOFT) ** 4) for _, y, n in seen]
    middle, spread = _spread(seen, soft)
    places = [(x - middle) / spread for x, _, _ in seen]

    def weighted(weights: Iterable[float]) -> list[_Point]:
        return [_Point(u, y, n, w) for u, (_, y, n), w in zip(places, seen, weights, strict=True) if w > 0]

    weights = soft
    curve: Vector = (target, 1.0 if rising else -1.0, 0.0)
    for _ in range(_REWEIGHTINGS):
        line = _newton(weighted(weights), curve, _STRAIGHT)
        if line is None or line[0][1] == 0 or (line[0][1] > 0) != rising:
            return None
        curve = line[0]
        distances = [curve[0] + curve[1] * u - target for u in places]
        weights = [max(0.0, 1 - (distance / _REACH) ** 2) for distance in distances]
        if sum(weight > 0.05 for weight in weights) < 2:  # a step: what is left cannot make a line
            weights = [max(w, 1 / (1 + (d / _SOFT) ** 4)) for w, d in zip(weights, distances, strict=True)]
    fitted = _newton(weighted(weights), curve, 4 / (_BEND * curve[1] ** 2) ** 2)
    return _crossing(*fitted, target, middle, spread, rising) if fitted is not None else None


def _spread(seen: Sequence[tuple[float, float, float]], soft: Sequence[float]) -> tuple[float, float]:
    """Around which x, and how far from it, the information lies."""
    weights = [w * y * (n - y) / n for (_, y, n), w in zip(seen, soft, strict=True)]
    total = sum(weights)
    middle = sum(w * x for w, (x, _, _) in zip(weights, seen, strict=True)) / total
    variance = sum(w * (x - middle) ** 2 for w, (x, _, _) in zip(weights, seen, strict=True)) / total
    return middle, math.sqrt(variance) or 1.0


def _crossing(
    curve: Vector, covariance: Matrix, target: float, middle: float, spread: float, rising: bool
) -> Crossing | None:
    """The crossing of the fitted parabola that is nearest to that of its line."""
    a, b, c = curve[0] - target, curve[1], curve[2]
    root = b * b - 4 * a * c
    if root <= 0:
        return None
    u = -2 * a / (b + math.copysign(math.sqrt(root), b))
    slope = b + 2 * c * u
    if slope == 0 or (slope > 0) != rising:
        return None
    error = math.sqrt(max(0.0, _variance(covariance, u))) / abs(slope)
    return Crossing(middle + spread * u, spread * error, slope / spread, target, middle, spread, curve, covariance)


def _newton(points: Sequence[_Point], curve: Vector, bend_penalty: float) -> tuple[Vector, Matrix] | None:
    """The most likely a + b u + c u² for the log-odds, c being pulled to 0, and the covariance of a, b and c."""
    a, b, c = curve
    inverse: Matrix | None = None
    for _ in range(_NEWTON_STEPS):
        g0 = g1 = g2 = h0 = h1 = h2 = h3 = h4 = 0.0
        for u, broken, rounds, weight in points:
            mean = _logistic(a + u * (b + c * u))
            pull = weight * (broken - rounds * mean)
            g0, g1, g2 = g0 + pull, g1 + pull * u, g2 + pull * u * u
            known = weight * rounds * mean * (1 - mean)
            h0, h1, h2 = h0 + known, h1 + known * u, h2 + known * u * u
            h3, h4 = h3 + known * u**3, h4 + known * u**4
        inverse = _inverse((h0, h1, h2), (h2 + 1e-6, h3), h4 + bend_penalty)
        if inverse is None:
            return None
        g2 -= bend_penalty * c
        da, db, dc = (row[0] * g0 + row[1] * g1 + row[2] * g2 for row in inverse)
        greatest = max(abs(da + u * (db + u * dc)) for u, _, _, _ in points)
        part = min(1.0, 3 / greatest) if greatest else 1.0
        a, b, c = a + part * da, b + part * db, c + part * dc
        if greatest < 1e-7:
            break
    return None if inverse is None else ((a, b, c), inverse)


def _inverse(first: Vector, second: tuple[float, float], third: float) -> Matrix | None:
    """Of a symmetric matrix, given by its upper rows; None when it is singular."""
    (a, b, c), (d, e), f = first, second, third
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    determinant = a * aa + b * ab + c * ac
    if not math.isfinite(determinant) or determinant <= 0:
        return None
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    rows = ((aa, ab, ac), (ab, bb, bc), (ac, bc, cc))
    (r0, r1, r2) = ((x / determinant, y / determinant, z / determinant) for x, y, z in rows)
    return r0, r1, r2


def _variance(covariance: Matrix, u: float) -> float:
    powers = (1.0, u, u * u)
    return sum(covariance[i][j] * powers[i] * powers[j] for i in range(3) for j in range(3))


def _logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-max(-_FARTHEST, min(_FARTHEST, log_odds))))
