"""How many swaps a second vkernel does, as a ratio against sim on the same plan in the same run.

    python benchmarks/bench_vkernel.py [--rounds 1200] [--repetitions 3] [--json]

A leaf-spine of 2 spines, 4 leaves, 4 hosts; every host swaps with every other in each round, depth 4, netem on every
direction. Booting is taken off by running vkernel at two lengths and dividing the difference: what is measured is the
marginal cost of a swap. sim, which boots nothing, is timed over the long run. Both record the same events and hops. A
compiled build (``make compiled``) is used by both where there is one, as the command line does, and that is said.

Two figures for each: swaps per second of real time, which other work on the host lowers, and per second of CPU time, of
this process and all of the guest's, which it disturbs little. Median, least and greatest of the repetitions; 0 where
other work made the longer run take no more time than the shorter one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from spread import spread  # noqa: E402

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


class Times(NamedTuple):
    """A number for real time, and one for CPU time."""

    real: float
    cpu: float

    def __sub__(self, other: Times) -> Times:
        return Times(self.real - other.real, self.cpu - other.cpu)

    @staticmethod
    def so_far() -> Times:
        """Of this process and of those that have ended and were its own."""
        return Times(time.perf_counter(), sum(os.times()[:4]))


def seconds(engine: str, plan: Plan) -> Times:
    """What one run took."""
    begin = Times.so_far()
    engine_by_name(engine).run(plan)
    return Times.so_far() - begin


def swaps_per_second(engine: str, rounds: int) -> Times:
    """Of real and of CPU time: over a long run; for vkernel over what a long run does more than a short one."""
    short = rounds // 4 if engine == "vkernel" else 0
    spent = seconds(engine, plan_of(rounds)) - (seconds(engine, plan_of(short)) if short else Times(0.0, 0.0))
    swaps = (rounds - short) * PAIRS
    return Times(*(swaps / took if took > 0 else 0.0 for took in spent))


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
    figures: dict[str, list[Times]] = {"vkernel": [], "sim": []}
    for _ in range(arguments.repetitions):
        for engine, found in figures.items():
            found.append(swaps_per_second(engine, arguments.rounds))
    result: dict[str, Any] = {
        "bench": "vkernel",
        "compiled": os.environ.get("OAE_COMPILED") != "0" and compiled.folder().is_dir(),
        "repetitions": arguments.repetitions,
    }
    for unit in Times._fields:
        rates = {engine: [getattr(one, unit) for one in found] for engine, found in figures.items()}
        ratios = [one / other for one, other in zip(rates["vkernel"], rates["sim"], strict=True)]
        result[f"swaps per second of {unit} time"] = {
            **{engine: spread(found) for engine, found in rates.items()},
            "ratio": spread(ratios),
        }
    print(json.dumps(result) if arguments.json else readable(result))
    return 0


def readable(result: dict[str, Any]) -> str:
    """Some lines for people."""
    how = "with" if result["compiled"] else "without"
    lines = [f"vkernel, {result['repetitions']} repetitions ({how} the compiled build)"]
    for unit, found in result.items():
        if unit.startswith("swaps"):
            parts = [
                f"{name} {one['median']:g} ({one['min']:g}-{one['max']:g})"
                for name, one in (("vkernel", found["vkernel"]), ("sim", found["sim"]), ("vkernel/sim", found["ratio"]))
            ]
            lines.append(f"{unit}: {', '.join(parts)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
