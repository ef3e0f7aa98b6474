"""From an impairment to netem: the exact integers that go over netlink, and a ``tc`` line for people.

Every engine reads the same NetemParams: ``live`` and ``vkernel`` send them to the kernel, ``sim`` draws with them.
Source of what they mean: Linux 6.12, net/sched/sch_netem.c (netem_enqueue, get_crandom, tabledist, loss_gilb_ell).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from testbed.topologies.impairment import WIRE_OVERHEAD_BYTES, Impairment
from testbed.topologies.tables import FIFO_RATE_BYTES_PER_S, SCALE, greatest_delay_ns, table_of

U32_MAX = 0xFFFF_FFFF
INT_MAX = 0x7FFF_FFFF  # netem keeps jitter in 31 bits
LEAST_LIMIT = 1_000
GREATEST_LIMIT = 100_000
SLOT_ON_WIRE_BYTES = 84
UNIFORM_TABLE = tuple(range(-SCALE, SCALE))  # the uniform distribution, as the greatest table that netem takes


@dataclass(frozen=True, slots=True)
class NetemParams:
    """One netem qdisc, as the kernel holds it.

    latency_ns, jitter_ns: s64. Probabilities and correlations: u32 fractions of 2^32 - 1 as tc makes them; an event
    happens when ``value >= rnd`` and value is not 0. gemodel: (p, r, h, k1) with h = 1 - loss in the bad state and
    k1 = loss in the good state, or None for independent loss. rate_bytes_per_s: 0 = none. limit: frames.
    table: the deviates (s16), None = uniform. seed: TCA_NETEM_PRNG_SEED.
    """

    latency_ns: int = 0
    jitter_ns: int = 0
    loss: int = 0
    loss_corr: int = 0
    duplicate: int = 0
    dup_corr: int = 0
    corrupt: int = 0
    corrupt_corr: int = 0
    delay_corr: int = 0
    gemodel: tuple[int, int, int, int] | None = None
    rate_bytes_per_s: int = 0
    packet_overhead: int = 0
    limit: int = LEAST_LIMIT
    table: tuple[int, ...] | None = None
    seed: int = 0


def probability_u32(p: float) -> int:
    """A fraction of 1 as tc hands it to the kernel: ``p * 0xFFFFFFFF``, rounded."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"a probability lies between 0 and 1, not {p}")
    return round(p * U32_MAX)


def netem_params(impairment: Impairment) -> NetemParams:
    """The integers for one link direction. Raises ValueError for what netem cannot hold."""
    if not 0 <= impairment.jitter_ns <= INT_MAX:
        raise ValueError(f"netem holds jitter from 0 to {INT_MAX} ns, not {impairment.jitter_ns}")
    if impairment.delay_ns < 0:
        raise ValueError(f"a delay cannot be negative: {impairment.delay_ns} ns")
    rate = _rate(impairment)
    return NetemParams(
        latency_ns=impairment.delay_ns,
        jitter_ns=impairment.jitter_ns,
        loss=0 if impairment.burst_loss else probability_u32(impairment.loss),
        loss_corr=0 if impairment.burst_loss else probability_u32(impairment.loss_correlation),
        duplicate=probability_u32(impairment.duplicate),
        corrupt=probability_u32(impairment.corrupt),
        delay_corr=probability_u32(impairment.correlation),
        gemodel=_gemodel(impairment),
        rate_bytes_per_s=rate,
        packet_overhead=WIRE_OVERHEAD_BYTES if impairment.rate_bps else 0,
        limit=impairment.limit or computed_limit(impairment),
        table=table_of(impairment) if impairment.jitter_ns else None,
        seed=impairment.seed,
    )


def changed_params(impairment: Impairment, had_table: bool) -> NetemParams:
    """The integers for a direction that has a netem already. had_table: whether that was ever given a table.

    netem cannot be made to forget a table. A direction that had one and shall be uniform gets the uniform distribution
    as a table: the same distribution to 1/8192 of the jitter, but other draws from the same seed.
    """
    params = netem_params(impairment)
    if had_table and params.table is None and params.jitter_ns:
        return replace(params, table=UNIFORM_TABLE)
    return params


def computed_limit(impairment: Impairment) -> int:
    """Twice the frames that delay and jitter's longest draw hold at the rate, and room; without a rate, 100,000.

    netem counts the delay line and the queue together against ``limit`` and drops what is beyond it silently. Without
    a rate nothing bounds a burst (every host of a fabric sends to all others at a round's start), so there is room.
    """
    if not impairment.rate_bps:
        return GREATEST_LIMIT
    per_frame_ns = max(1, SLOT_ON_WIRE_BYTES * 8 * 1_000_000_000 // impairment.rate_bps)
    inside = 2 * greatest_delay_ns(impairment) // per_frame_ns + LEAST_LIMIT
    return min(GREATEST_LIMIT, inside)


def correlation_remark(impairment: Impairment) -> str:
    """What netem's delay correlation really does to this direction, one sentence; empty without correlation.

    The correlated draw is ``(rnd (1 - rho) + last rho)``; its narrowing by sqrt((1 - rho) / (1 + rho)) only reaches
    the delay when the modulo that follows (2 jitter for uniform, the table's size otherwise) does not wrap it.
    """
    if not impairment.correlation or not impairment.jitter_ns:
        return ""
    rho = impairment.correlation
    if correlation_scrambled(impairment):
        return (
            f"netem takes the correlated draw modulo {_cells(impairment)}, which scrambles it: delays stay independent "
            f"and as wide as without correlation"
        )
    return f"netem's correlation narrows the jitter to about {((1 - rho) / (1 + rho)) ** 0.5:.0%} of what is asked"


def correlation_scrambled(impairment: Impairment) -> bool:
    """Whether the modulo hides the correlation: given all draws before it, a delay then has the uncorrelated law up to
    a total variation of ``correlation_trace``."""
    return correlation_trace(impairment) < 1 / 64


def correlation_trace(impairment: Impairment) -> float:
    """How much of the correlation is left in the delay (total variation, at most 1): a new draw spreads the modulus
    over (1 - rho) 2^32 values, and only what is left of the last incomplete turn can favour any."""
    if not impairment.correlation or not impairment.jitter_ns:
        return 0.0
    fresh = (1 - impairment.correlation) * 2**32
    return min(1.0, _cells(impairment) / fresh) if fresh > 0 else 1.0


def _cells(impairment: Impairment) -> int:
    table = table_of(impairment)
    return 2 * impairment.jitter_ns if table is None else len(table)


def tc_command(impairment: Impairment, dev: str) -> str:
    """The ``tc`` line that does the same, for people (tables other than our own three are named ``table``)."""
    if impairment.is_clean:
        return f"tc qdisc del dev {dev} root  # clean: no qdisc needed"
    params = netem_params(impairment)
    words = [f"tc qdisc replace dev {dev} root netem limit {params.limit}"]
    words += _tc_delay(impairment)
    words += _tc_loss(impairment)
    if params.duplicate:
        words.append(f"duplicate {_percent(impairment.duplicate)}")
    if params.corrupt:
        words.append(f"corrupt {_percent(impairment.corrupt)}")
    if params.rate_bytes_per_s:
        words.append(f"rate {params.rate_bytes_per_s * 8}bit")
        if params.packet_overhead:
            words.append(str(params.packet_overhead))
    words.append(f"seed {params.seed}")
    return " ".join(words)


def _rate(impairment: Impairment) -> int:
    if impairment.rate_bps:
        return max(1, impairment.rate_bps // 8)
    return FIFO_RATE_BYTES_PER_S if impairment.order == "fifo" else 0


def _gemodel(impairment: Impairment) -> tuple[int, int, int, int] | None:
    burst = impairment.burst_loss
    if burst is None:
        return None
    # tc's "1-h" becomes h by subtracting from the greatest u32, as tc does.
    return (
        probability_u32(burst.p),
        probability_u32(burst.r),
        U32_MAX - probability_u32(burst.loss_bad),
        probability_u32(burst.loss_good),
    )


def _tc_delay(impairment: Impairment) -> list[str]:
    if not impairment.delay_ns and not impairment.jitter_ns:
        return []
    words = [f"delay {impairment.delay_ns}ns"]
    if impairment.jitter_ns:
        words.append(f"{impairment.jitter_ns}ns")
        if impairment.correlation:
            words.append(_percent(impairment.correlation))
        if impairment.distribution != "uniform":
            words.append(f"distribution {impairment.distribution}")
    return words


def _tc_loss(impairment: Impairment) -> list[str]:
    burst = impairment.burst_loss
    if burst is not None:
        return [
            "loss gemodel " + " ".join(_percent(value) for value in (burst.p, burst.r, burst.loss_bad, burst.loss_good))
        ]
    if not impairment.loss:
        return []
    words = [f"loss {_percent(impairment.loss)}"]
    if impairment.loss_correlation:
        words.append(_percent(impairment.loss_correlation))
    return words


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.10g}%"
