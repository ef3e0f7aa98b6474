"""How many swaps a second of real time vkernel does, as a ratio against sim on the same plan in the same run.

    python benchmarks/bench_vkernel.py [--rounds 400] [--repetitions 3] [--json]

A leaf-spine of 2 spines, 4 leaves, 4 hosts; every host swaps with every other in each round, depth 4, netem on every
direction. Booting is taken off by running vkernel at two lengths and dividing the difference: what is measured is the
marginal cost of a swap. sim, which boots nothing, is timed over the long run. Both record the same events and hops. A
compiled build (``make compiled``) is used by both where there is one, as the command line does, and that is said.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import testbed.cli  # noqa: E402, F401  (lets the compiled build be found, as the command line does)
from testbed import compiled  # noqa: E402
from testbed.engines.base import EngineUnavailable  # noqa: E402
from testbed.engines.registry import engine_by_name  # noqa: E402
from testbed.plan import Plan  # noqa: E402
from testbed.scenario import compile_plan, from_data  # noqa: E402

PAIRS = 6  # 4 hosts


def plan_of(rounds: int) -> Plan:
    """The fabric at one length."""
    return compile_plan(
        from_data(
            {
                "name": "bench-vkernel",
                "topology": {"kind": "leaf_spine", "spines": 2, "leaves": 4, "hosts_per_leaf": 1},
                "links": {"default": {"delay": "10us", "jitter": "2us"}},
                "protocol": {"consensus": "none", "depth": 4, "window": "300us", "rounds": rounds},
                "seed": 1,
            }
        )
    )


def seconds(engine: str, plan: Plan) -> float:
    """Real time of one run."""
    begin = time.perf_counter()
    engine_by_name(engine).run(plan)
    return time.perf_counter() - begin


def swaps_per_second(engine: str, rounds: int) -> float:
    """Over a long run; for vkernel over what a long run does more than a short one."""
    short = rounds // 4 if engine == "vkernel" else 0
    spent_s = seconds(engine, plan_of(rounds)) - (seconds(engine, plan_of(short)) if short else 0.0)
    return (rounds - short) * PAIRS / spent_s


def main() -> int:
    """Measures alternately and prints medians with their spread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1200)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        engine_by_name("vkernel").check(plan_of(1))
    except EngineUnavailable as error:
        print(f"bench_vkernel: skipped, {error}")
        return 0
    figures: dict[str, list[float]] = {"vkernel": [], "sim": []}
    for _ in range(arguments.repetitions):
        for engine, found in figures.items():
            found.append(swaps_per_second(engine, arguments.rounds))
    ratios = [one / other for one, other in zip(figures["vkernel"], figures["sim"], strict=True)]
    result: dict[str, Any] = {
        "bench": "vkernel",
        "unit": "swaps per second of real time",
        "compiled": os.environ.get("OAE_COMPILED") != "0" and compiled.folder().is_dir(),
        **{engine: spread(found) for engine, found in figures.items()},
        "ratio": spread(ratios),
    }
    print(json.dumps(result) if arguments.json else readable(result))
    return 0


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def readable(result: dict[str, Any]) -> str:
    """One line for people."""
    parts = [
        f"{name} {result[name]['median']:g} ({result[name]['min']:g}-{result[name]['max']:g})"
        for name in ("vkernel", "sim")
    ]
    ratio = result["ratio"]
    spread_of_ratio = f"{ratio['median']:.3f} ({ratio['min']:.3f}-{ratio['max']:.3f})"
    how = "with" if result["compiled"] else "without"
    return f"vkernel: swaps/s {', '.join(parts)}; vkernel/sim {spread_of_ratio} ({how} the compiled build)"


if __name__ == "__main__":
    sys.exit(main())
