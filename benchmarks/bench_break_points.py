"""The search for break points: how often its answers hold, and how wide they are against the ideal local estimator.

For each of several curves whose break point is known, so many searches with the default study's grid and budget. A row
says how many found a bracket, the rounds they took on average, how often the bracket, and the interval around the
estimate, held a crossing (with the exact 99 % interval of that frequency), and their widths as multiples of what an
interval would be if all these rounds had been spent at the break point, and the slope there were known.

    python benchmarks/bench_break_points.py [--searches 1000] [--rounds 60000] [--curve "p = 0.1"]
                                             [--first-seed 0] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial

from testbed.study.rehearsal import CURVES, Rehearsal, Score, rehearse, score


def one(name: str, rounds: int, seed: int) -> Rehearsal:
    """A search in a worker: curves do not travel, their names do."""
    return rehearse(CURVES[name], seed, rounds)


def spelled(found: Score) -> str:
    """A row of the table."""

    def coverage(value: float, low: float, high: float) -> str:
        return f"{100 * value:5.1f} % ({100 * low:.1f} - {100 * high:.1f})"

    return (
        f"{found.curve:14} {found.bracketed:5} {found.rounds:8,.0f}   "
        f"{coverage(found.bracket_coverage, *found.bracket):24} {found.bracket_ratio:5.2f} "
        f"({found.bracket_median:.2f})   "
        f"{coverage(found.interval_coverage, *found.interval):24} {found.interval_ratio:5.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=1000, help="searches of each curve")
    parser.add_argument("--rounds", type=int, default=60_000, help="what a search may spend")
    parser.add_argument("--curve", action="append", choices=list(CURVES), help="only this curve (repeatable)")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first search; the next one's is one more")
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    options = parser.parse_args()
    scores = []
    seeds = range(options.first_seed, options.first_seed + options.searches)
    if not options.json:
        print(f"{'curve':14} found   rounds   {'bracket holds':24} width (median)   {'interval holds':24} width")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name in options.curve or CURVES:
            search = partial(one, name, options.rounds)
            found = score(CURVES[name], pool.map(search, seeds, chunksize=25))
            scores.append(asdict(found))
            if not options.json:
                print(spelled(found), flush=True)
    if options.json:
        print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
