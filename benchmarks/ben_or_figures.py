"""Ben-Or with N = 5, t = 1 and fair inputs: in which round the first node decides and in which the last, many times.

Three schedulers, each 100,000 runs of the algorithm that the engine runs: random lockstep with the own message always
counted; random lockstep with any four of the five messages counted; and time, in which each message takes an
exponential delay of its own. The first two are held against their Markov chains (ben_or_chain.py). What was finished is
kept, a line for every thousand runs, and the same command goes on from there.

    python benchmarks/ben_or_figures.py [--runs 100000] [--out runs/ben-or.jsonl] [--picture ben-or.svg] [--json]
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from ben_or_chain import N, T, chain

from testbed.nodes.consensus.ben_or import BenOr
from testbed.nodes.consensus.ben_or.messages import Message

CHUNK = 1000
"""Runs in a line of the file; each line's draws depend on the scheduler and the line's number alone."""

Z = 1.96
SHOWN = 4
"""Rounds that are told one by one."""

Rounds = tuple[int, int]
"""In which round the first node decided, and in which the last."""


def _nodes(rng: random.Random) -> list[BenOr]:
    return [BenOr(N, T, rng.getrandbits(1), rng.getrandbits(64)) for _ in range(N)]


def lockstep(rng: random.Random, own_always: bool) -> Rounds:
    """One run, phase by phase: each node hears the messages of a phase in an order of its own; its own one first, if
    that is always counted."""
    nodes = _nodes(rng)
    wire = [(src, message) for src, node in enumerate(nodes) for message in node.start()]
    decided: dict[int, int] = {}
    while wire:
        following: list[tuple[int, Message]] = []
        for me, node in enumerate(nodes):
            heard = rng.sample(wire, len(wire))
            if own_always:
                heard.sort(key=lambda said: said[0] != me)  # the others stay in their order
            for src, message in heard:
                following += [(me, answer) for answer in node.receive(src, message)]
                if node.decision is not None:
                    decided.setdefault(me, node.round)
        wire = following
    assert len(decided) == N
    return min(decided.values()), max(decided.values())


def timed(rng: random.Random) -> Rounds:
    """One run in time: each message to another node takes an exponential delay, the own one none."""
    nodes = _nodes(rng)
    decided: dict[int, int] = {}
    queue: list[tuple[float, int, int, int, Message]] = []

    def say(me: int, messages: list[Message], now: float) -> None:
        for message in messages:
            for other in range(N):
                if other != me:
                    heapq.heappush(queue, (now + rng.expovariate(1.0), len(queue), me, other, message))
        for message in messages:
            hear(me, me, message, now)

    def hear(me: int, src: int, message: Message, now: float) -> None:
        node = nodes[me]
        answers = node.receive(src, message)
        if node.decision is not None:
            decided.setdefault(me, node.round)
        if answers:
            say(me, answers, now)

    for me, node in enumerate(nodes):
        say(me, node.start(), 0.0)
    while queue:
        now, _, src, dst, message = heapq.heappop(queue)
        hear(dst, src, message, now)
    assert len(decided) == N
    return min(decided.values()), max(decided.values())


SCHEDULERS: dict[str, Callable[[random.Random], Rounds]] = {
    "own message and any 3": lambda rng: lockstep(rng, own_always=True),
    "any 4 of 5": lambda rng: lockstep(rng, own_always=False),
    "exponential delays": timed,
}
_CHAINS = {"own message and any 3": True, "any 4 of 5": False}


def chunk(scheduler: str, number: int) -> list[dict[str, int]]:
    """How often the first, and the last, decision came in which round, in one line's runs."""
    rng = random.Random(f"ben-or {scheduler} {number}")
    runs = [SCHEDULERS[scheduler](rng) for _ in range(CHUNK)]
    return [
        {str(round_): count for round_, count in sorted(Counter(which).items())} for which in zip(*runs, strict=True)
    ]


def gathered(out: Path, runs: int) -> dict[str, list[Counter[int]]]:
    """Per scheduler the counts of the first and of the last decisions; what is missing in the file is run and added."""
    done: dict[tuple[str, int], list[dict[str, int]]] = {}
    if out.exists():
        whole, _, _ = out.read_text(encoding="utf-8").rpartition("\n")  # a last line that was cut off is run again
        out.write_text(whole + "\n" * bool(whole), encoding="utf-8")
        for line in whole.splitlines():
            row = json.loads(line)
            done[row["scheduler"], row["number"]] = row["rounds"]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        for number in range(runs // CHUNK):
            for scheduler in SCHEDULERS:
                if (scheduler, number) not in done:
                    done[scheduler, number] = chunk(scheduler, number)
                    row = {"scheduler": scheduler, "number": number, "rounds": done[scheduler, number]}
                    file.write(json.dumps(row) + "\n")
                    file.flush()
    totals = {scheduler: [Counter[int](), Counter[int]()] for scheduler in SCHEDULERS}
    for (scheduler, number), rounds in done.items():
        if number < runs // CHUNK:
            for total, counts in zip(totals[scheduler], rounds, strict=True):
                total.update({int(round_): count for round_, count in counts.items()})
    return totals


def figures(counts: Counter[int], exact: list[Fraction] | None) -> dict[str, Any]:
    """Shares of the rounds and the mean, with 95 % intervals (normal), beside what the chain says."""
    runs = counts.total()
    mean = sum(round_ * count for round_, count in counts.items()) / runs
    square = sum(round_**2 * count for round_, count in counts.items()) / runs
    told: dict[str, Any] = {"runs": runs, "mean": mean, "mean_within": Z * math.sqrt((square - mean**2) / runs)}
    told["rounds"] = [
        {"round": round_, "share": share, "within": Z * math.sqrt(share * (1 - share) / runs)}
        for round_ in range(1, max(counts) + 1)
        for share in [counts[round_] / runs]
    ]
    if exact is not None:
        told["chain"] = [float(p) for p in exact[: max(counts)]]
        told["chain_mean"] = float(sum(round_ * p for round_, p in enumerate(exact, 1)))
    return told


def drawn(told: dict[str, list[dict[str, Any]]], picture: Path) -> None:
    """The histogram: shares on a logarithmic scale, and what the chains say as dashes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for panel, which, title in zip(panels, (0, 1), ("the first decision", "the last decision"), strict=True):
        for place, (scheduler, both) in enumerate(told.items()):
            rounds = both[which]["rounds"]
            xs = [row["round"] + 0.27 * (place - 1) for row in rounds]
            shares, within = [row["share"] for row in rounds], [row["within"] for row in rounds]
            lower = [min(error, 0.9 * share) for error, share in zip(within, shares, strict=True)]
            colour, hatch = ("#0072B2", "#D55E00", "#009E73")[place], ("", "//", "..")[place]
            panel.bar(xs, shares, 0.24, yerr=[lower, within], color=colour, hatch=hatch, alpha=0.75, label=scheduler)
            if "chain" in both[which]:
                panel.hlines(both[which]["chain"], [x - 0.12 for x in xs], [x + 0.12 for x in xs], "black", "dashed")
        panel.set(title=title, xlabel="round", yscale="log", ylim=(1e-5, 1.5))
        panel.set_xticks(range(1, 1 + max(len(both[which]["rounds"]) for both in told.values())))
    panels[0].set_ylabel("share of the runs; dashes: the chain")
    panels[1].legend(frameon=False)
    with mpl.rc_context({"svg.hashsalt": "oae-testbed", "svg.fonttype": "none"}):
        figure.savefig(picture, metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000, help=f"of each scheduler, a multiple of {CHUNK}")
    parser.add_argument("--out", type=Path, default=Path("runs/ben-or.jsonl"), help="where finished runs are kept")
    parser.add_argument("--picture", type=Path, help="where the histogram is drawn")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    options = parser.parse_args()
    told: dict[str, list[dict[str, Any]]] = {}
    for scheduler, counts in gathered(options.out, options.runs).items():
        exact = chain(_CHAINS[scheduler]) if scheduler in _CHAINS else (None, None)
        told[scheduler] = [figures(*pair) for pair in zip(counts, exact, strict=True)]
    if options.picture is not None:
        drawn(told, options.picture)
    if options.json:
        print(json.dumps(told, indent=2))
        return
    for scheduler, both in told.items():
        for which, one in zip(("first", "last"), both, strict=True):
            shares = ", ".join(f"{row['share']:.5f} ± {row['within']:.5f}" for row in one["rounds"][:SHOWN])
            chained = ", ".join(f"{p:.5f}" for p in one.get("chain", ())[:SHOWN])
            print(f"{scheduler:22} {which:5} {shares}; mean {one['mean']:.4f} ± {one['mean_within']:.4f}")
            if chained:
                print(f"{'':22} chain {chained}; mean {one['chain_mean']:.4f}")


if __name__ == "__main__":
    main()
