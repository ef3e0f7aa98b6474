"""How often a good run is accused: scenarios drawn at random, run on ``sim``, and the fidelity verdict on each.

Fabrics, impairments of every kind, faults of every verb, horizons and engines are drawn (testbed.scenario.drawn), each
under its own number. Every other run is judged in the form that a real kernel leaves: without the hops that say why a
frame was dropped, and without the engine's own count of traffic. The promise is at most one accused run in a thousand.

    python benchmarks/bench_trust.py [--runs 1000] [--first 0] [--times 1] [--most-hosts 9] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from testbed.engines.sim import SimEngine  # noqa: E402
from testbed.engines.sim.kernel_record import as_a_kernel_records  # noqa: E402
from testbed.engines.sim.room import NoRoomError  # noqa: E402
from testbed.plan import Plan  # noqa: E402
from testbed.scenario import compile_plan, from_data  # noqa: E402
from testbed.scenario.drawn import drawn_scenario  # noqa: E402
from testbed.verdicts import judge  # noqa: E402
from testbed.verdicts.model import Fidelity  # noqa: E402


def scenario(number: int, times: int) -> dict[str, Any]:
    """A drawn scenario, ``times`` as long, without queues that are meant to be too short: what they drop is held
    against a run, asked for or not."""
    data = drawn_scenario(number)
    data["links"]["default"].pop("limit", None)
    for name in ("rounds", "instances"):
        if name in data["protocol"]:
            data["protocol"][name] *= times
    return data


MOST_BYTES = 2 << 30
"""Runs whose record would take more are left out: an engine that repeats itself floods a slow link all along."""


def judged(plan: Plan, number: int) -> Fidelity:
    """The verdict on one drawn run. Raises NoRoomError."""
    history = SimEngine(memory_bytes=MOST_BYTES).run(plan)
    return judge(plan, history if number % 2 else as_a_kernel_records(history)).fidelity


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first scenario")
    parser.add_argument("--times", type=int, default=1, help="how many times as long as drawn")
    parser.add_argument("--most-hosts", type=int, default=1000, help="leave larger fabrics out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    answers: Counter[str] = Counter()
    unchecked: Counter[str] = Counter()
    accused: dict[int, tuple[str, ...]] = {}
    for number in count(options.first):
        if answers.total() == options.runs:
            break
        plan = compile_plan(from_data(scenario(number, options.times)))
        if len(plan.fabric.hosts) > options.most_hosts:
            continue
        try:
            found = judged(plan, number)
        except NoRoomError:
            answers["record too large, left out"] += 1
            continue
        if answers.total() % 50 == 49:
            print(f"{answers.total() + 1} runs, up to number {number}: {dict(answers)}", file=sys.stderr, flush=True)
        if found.limit_drops:  # an engine that repeats itself may flood a slow link: not a good run
            answers["queues overflowed, left out"] += 1
            continue
        answers[found.answer.value] += 1
        unchecked.update({what.partition(": ")[2] for what in found.unchecked})
        if found.reasons:
            accused[number] = found.reasons
            print(f"accused: {number}: {found.reasons[0]}", file=sys.stderr, flush=True)
    figures = {"runs": options.runs, "first": options.first, "times": options.times, "answers": dict(answers)}
    if options.json:
        print(json.dumps({**figures, "unchecked": dict(unchecked), "accused": accused}))
        return
    print(f"{options.runs} good runs from {options.first} on, {time.monotonic() - began:.0f} s: {len(accused)} accused")
    for answer, runs in sorted(answers.items()):
        print(f"  {answer} {runs}")
    for why, runs in unchecked.most_common():
        print(f"  not checked in {runs} runs: {why}")


if __name__ == "__main__":
    main()
