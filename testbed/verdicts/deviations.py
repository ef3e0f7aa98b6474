"""One stretch of a way held against what was asked for in it: every way in which it can be off, and how far.

The delays, in order of entry, are mapped by the asked distribution function F: an honest delay d gives F(d) above and
F(d - 1) below a uniform number, independent of all before it (Rosenblatt 1952), also where frames wait for each other:
a frame that waited only tells that its own delay was no longer, and what it waited for is known. So all tests are tests
of uniform numbers, and hold whatever the law.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

from testbed.topologies.netem import correlation_trace
from testbed.verdicts.bands import (
    Floats,
    binomial_range,
    dkw_band,
    evidence,
    greatest_count,
    least_count,
    thresholds,
)
from testbed.verdicts.delays import packet_ns
from testbed.verdicts.facts import Facts
from testbed.verdicts.flights import NEVER, Stretch, queued
from testbed.verdicts.laws import (
    Asked,
    Ints,
    delay_law,
    loss,
    lost_or_hurt,
    twice,
    unchecked_delays,
    unchecked_losses,
)

SHARES = {"shape": 0.2, "tails": 0.2, "lost": 0.3, "bursts": 0.2, "doubled": 0.05, "hurt": 0.05}
"""How the good runs that a stretch may accuse are divided over its tests."""

MISSED = 0.001
"""A deviation counts as one that the run would have shown when it goes unnoticed in at most this share of runs."""


class Counts(NamedTuple):
    """Hits of trials that should have had probability ``p``: what directions that are alike put together."""

    what: str
    p: float
    hits: int
    trials: int


@dataclass(frozen=True, slots=True)
class Deviations:
    """reasons: what is off. unchecked: what could not be checked, and why. slow, fast: uniform numbers for the delays,
    at most and at least as great as honest ones (empty where there is no law). counts: see Counts."""

    reasons: tuple[str, ...]
    unchecked: tuple[str, ...]
    slow: Floats
    fast: Floats
    counts: tuple[Counts, ...]


def deviations(name: str, found: Stretch, facts: Facts, error: float, captured: bool, hidden: bool) -> Deviations:
    """``error``: the share of good runs that may be accused here. hidden: whether frames that are not followed may have
    passed here as well (copies, hurt ones)."""
    nothing = np.zeros(0)
    reasons, unchecked, slow, fast = [], [], nothing, nothing
    counts: list[Counts] = []
    why = unchecked_delays(found.impairments, captured)
    if any(direction.link in facts.carried for direction in found.way):
        why = (
            f"VXLAN carries it between machines, over a network whose delay and jitter are not those asked for; their "
            f"clocks agree to {facts.stamp_ns} ns, so that nothing finer can be said"
        )
    if why and found.passed:
        unchecked.append(f"delays of {name}: {why}")
    elif len(found.delays_ns):
        slow, fast = _uniforms(found, facts)
        reasons += _beyond(name, found, facts)
        reasons += _shape(name, found, slow, fast, error)
    why = unchecked_losses(found.impairments)
    if not why and not captured and found.impairments[0].duplicate and found.impairments[0].corrupt:
        why = "duplicates with corruption, and no hops were captured"
    if not why and hidden and found.impairments[0].burst_loss:
        why = "bursts of loss behind directions that double or hurt frames: who else passed is not known"
    if why and (found.entered or found.passed):
        unchecked.append(f"losses of {name}: {why}")
    elif found.entered:
        more, counts = _losses(name, found, facts, error, captured)
        reasons += more
    if found.passed and not found.entered:
        unchecked.append(f"all of {name}: every frame of it was on the way as a fault struck")
    return Deviations(tuple(reasons), tuple(unchecked), slow, fast, tuple(counts))


# -- delays --------------------------------------------------------------------------------------------------------


def _waits(found: Stretch) -> bool:
    return len(found.impairments) == 1 and queued(found.impairments[0])


def _took_ns(found: Stretch) -> Ints:
    return packet_ns(found.impairments[0], found.sizes)


def _soonest_ns(found: Stretch) -> Ints:
    """How long each frame had to take for the one before it, 0 where it had not to wait."""
    waited = np.where(found.waited_ns > 0, found.waited_ns + _took_ns(found), 0)
    return np.where(found.waited_ns > NEVER, waited, 0)


def _uniforms(found: Stretch, facts: Facts) -> tuple[Floats, Floats]:
    law = delay_law(found.impairments)
    delays, took_ns = found.delays_ns, _took_ns(found)
    fast = law.cdf(delays + (facts.stamp_ns + law.grain_ns), took_ns)
    slow = law.cdf(delays - (_allowed_ns(found, facts) + law.grain_ns + 1), took_ns)
    if _waits(found):  # it says of its own delay only that it was no longer
        slow = np.where(delays <= _soonest_ns(found) + facts.allowed_ns, 0.0, slow)
    return slow, fast


def _allowed_ns(found: Stretch, facts: Facts) -> int:
    return facts.stamp_ns + len(found.way) * (facts.allowed_ns - facts.stamp_ns)


def _beyond(name: str, found: Stretch, facts: Facts) -> list[str]:
    """Delays that cannot be, however rare."""
    law, delays, took_ns = delay_law(found.impairments), found.delays_ns, _took_ns(found)
    least, greatest = law.least_of(took_ns), law.greatest_of(took_ns)
    if _waits(found):
        soonest = _soonest_ns(found)
        least, greatest = np.maximum(least, soonest), np.maximum(greatest, soonest)
    reasons = []
    short = delays < least - facts.stamp_ns
    if short.any():
        worst = int(np.argmin(delays - least))
        reasons.append(
            f"{name}: {_of(short, delays)} took less than the least that was asked ({delays[worst]} ns, not "
            f"{least[worst]} ns)"
        )
    long = delays > greatest + _allowed_ns(found, facts)
    if long.any():
        worst = int(np.argmax(delays - greatest))
        reasons.append(
            f"{name}: {_of(long, delays)} took longer than the greatest that was asked ({delays[worst]} ns, not "
            f"{greatest[worst]} ns{_cost_words(facts)})"
        )
    if _waits(found):
        overtaken = found.setbacks_ns > facts.stamp_ns
        if overtaken.any():
            reasons.append(f"{name}: {_of(overtaken, delays)} overtook another, though frames keep their order there")
    return reasons


def _cost_words(facts: Facts) -> str:
    if facts.allowed_ns == facts.stamp_ns:
        return ""
    return f" and {facts.allowed_ns} ns, which {facts.links} links in a row may add to a window"


def _of(mask: np.ndarray[tuple[int], np.dtype[np.bool_]], delays: object) -> str:
    return f"{int(mask.sum())} of {len(delays)} frames"  # type: ignore[arg-type]


def _shape(name: str, found: Stretch, slow: Floats, fast: Floats, error: float) -> list[str]:
    """Delays that can be, but not so many of them so short or so long."""
    n, asked = len(slow), found.impairments
    traces = greatest_count(n, correlation_trace(asked[0]), error * SHARES["shape"] / 4) / n if len(asked) == 1 else 0.0
    band = dkw_band(n, error * SHARES["shape"] / 4) + traces
    reasons = []
    steps = np.arange(1, n + 1) / n
    too_slow = float(np.max(np.sort(slow) - (steps - 1 / n)))
    too_fast = float(np.max(steps - np.sort(fast)))
    if too_slow > band:
        reasons.append(f"{name}: delays are too long: {too_slow:.4f} off the asked distribution, {band:.4f} allowed")
    if too_fast > band:
        reasons.append(f"{name}: delays are too short: {too_fast:.4f} off the asked distribution, {band:.4f} allowed")
    if reasons:
        return reasons
    shares = thresholds(n)
    each = error * SHARES["tails"] / (2 * len(shares))
    for uniforms, word, up in ((1 - slow, "above", True), (fast, "below", False)):
        for share in shares.tolist():
            count = int(np.sum(uniforms < share))
            most = greatest_count(n, share, each) + int(np.ceil(traces * n))
            if count > most:
                p = 1 - share if up else share
                reasons.append(
                    f"{name}: {count} of {n} delays lie {word} {delay_law(asked).quantile(p, _took_ns(found))} ns, "
                    f"the asked p{100 * p:.6g}; at most {most} should"
                )
                break
    return reasons


# -- losses --------------------------------------------------------------------------------------------------------


def _losses(name: str, found: Stretch, facts: Facts, error: float, captured: bool) -> tuple[list[str], list[Counts]]:
    asked = found.impairments
    if not captured:
        gone = found.entered - found.arrived + found.corrupt
        expected = lost_or_hurt(asked)
        reasons = _count(name, "lost", gone, found.entered, (expected, expected), error * SHARES["lost"])
        counts = [Counts("lost", expected, gone, found.entered)]
        if len(asked) > 1 or asked[0].corrupt or asked[0].burst_loss:
            return reasons, [] if asked[0].burst_loss else counts
        return reasons + _doubled(name, found, 0.0, error), counts
    direction = asked[0]
    unseen = direction.corrupt * facts.unseen
    gone = found.entered - found.arrived
    counts = []
    reasons = []
    expected = loss(direction)
    burst = direction.burst_loss
    if burst is None:
        upper = 1 - (1 - expected) * (1 - unseen)
        reasons += _count(name, "lost", gone, found.entered, (expected, upper), error * SHARES["lost"])
        if not unseen:
            counts.append(Counts("lost", expected, gone, found.entered))
    if burst is not None or (expected and not unseen):
        again = 1 - burst.r if burst else expected
        first = burst.p if burst else expected
        more, pooled = _bursts(name, found, (first, again), error * SHARES["bursts"])
        reasons += more
        if burst is not None:
            counts += pooled
    hurt = (direction.corrupt * (1 - facts.unseen), 1 - (1 - direction.corrupt) ** (2 if direction.duplicate else 1))
    reasons += _count(name, "hurt (corrupted)", found.corrupt, found.arrived, hurt, error * SHARES["hurt"])
    if burst is None:
        reasons += _doubled(name, found, unseen, error)
    return reasons, counts


def _doubled(name: str, found: Stretch, unseen: float, error: float) -> list[str]:
    expected = twice(found.impairments[0])
    between = (expected * (1 - unseen) ** 2, expected)
    return _count(name, "doubled", found.doubled, found.entered, between, error * SHARES["doubled"])


def _count(name: str, what: str, hits: int, trials: int, p: tuple[float, float], error: float) -> list[str]:
    """A sentence when so many hits are too few or too many for any probability between two."""
    least, greatest = least_count(trials, p[0], error / 2), greatest_count(trials, p[1], error / 2)
    if least <= hits <= greatest:
        return []
    return [
        f"{name}: {hits} of {trials} frames were {what}; at a share of {p[0]:.4g} it should be {least} to {greatest}"
    ]


def _bursts(name: str, found: Stretch, p: tuple[float, float], error: float) -> tuple[list[str], list[Counts]]:
    """Whether a frame behind one that came, and one behind a lost one, is lost as often as asked."""
    before, after, together = found.lost[:-1], found.lost[1:], found.adjacent[1:]
    reasons, counts = [], []
    for state, expected, words in ((False, p[0], "came through"), (True, p[1], "was lost")):
        rows = together & (before == state)
        hits, trials = int(after[rows].sum()), int(rows.sum())
        counts.append(Counts(f"lost behind one that {words}", expected, hits, trials))
        if evidence(hits, trials, expected) > np.log(2 / error):
            reasons.append(
                f"{name}: of {trials} frames behind one that {words}, {hits} were lost; {trials * expected:.4g} were "
                f"to be expected"
            )
    return reasons, counts


# -- what would have shown -------------------------------------------------------------------------------------------


class Shows(NamedTuple):
    """The least deviations that a stretch would have shown. shift_ns: on each frame; late: the share of frames that
    come too late to be possible; lost: the share of frames that are lost beyond those asked for."""

    shift_ns: float
    late: float
    lost: float


def shows(found: Stretch, facts: Facts, error: float, captured: bool) -> Shows:
    """See Shows; infinite or 1 where nothing would show."""
    n = len(found.delays_ns)
    checked = n and not unchecked_delays(found.impairments, captured)
    shift = np.inf
    if checked:
        asked = tuple(impairment.with_seed(0) for impairment in found.impairments)
        shift = _shift_ns(asked, int(_took_ns(found).min()), _rounded(n), facts, error)
    late = 1 - MISSED ** (1 / n) if checked else 1.0
    lost = 1.0
    if found.entered and not unchecked_losses(found.impairments):
        expected = lost_or_hurt(found.impairments)
        _, greatest = binomial_range(found.entered, expected, error * SHARES["lost"])
        if greatest < found.entered:
            least = float(special.betaincinv(greatest + 1, found.entered - greatest, 1 - MISSED))
            lost = least - expected
    return Shows(float(shift), float(late), float(lost))


def _rounded(n: int) -> int:
    """Down to a sixteenth of a power of two, so that directions that carry about as much share the answer."""
    grain = 1 << max(0, n.bit_length() - 5)
    return n // grain * grain


@lru_cache(maxsize=4096)
def _shift_ns(asked: Asked, took_ns: int, n: int, facts: Facts, error: float) -> float:
    """The least constant delay on top that is seen: by the greatest delay of all, or by the shape. took_ns: what the
    rate makes the smallest frame take; larger ones only take longer, all alike."""
    law, took = delay_law(asked), np.array([took_ns])
    least, greatest = int(law.least_of(took)[0]), int(law.greatest_of(took)[0])
    allowed_ns = facts.stamp_ns + len(asked) * (facts.allowed_ns - facts.stamp_ns) + law.grain_ns
    seldom = MISSED ** (1 / n)  # the greatest of n honest delays lies below this quantile in MISSED of all runs
    top = law.quantile(seldom, took)
    if float(law.cdf(np.array([top]), took)[0]) > seldom:
        top -= 1
    by_end = greatest - max(top, least - 1) + allowed_ns
    need = dkw_band(n, error * SHARES["shape"] / 4) + dkw_band(n, MISSED)
    if need >= 1:
        return by_end
    points = np.array([law.quantile(share, took) for share in np.linspace(0.002, 1.0, 120)])
    whole = law.cdf(points, took)
    below, above = 0, by_end - allowed_ns
    while above - below > 1:
        middle = (below + above) // 2
        if float(np.max(whole - law.cdf(points - middle - 1, took))) >= need:
            above = middle
        else:
            below = middle
    return min(by_end, above + allowed_ns + 1)
