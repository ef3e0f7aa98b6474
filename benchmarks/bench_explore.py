"""The explorer against a plain breadth-first search over tuples: the same model, the same states, in CPU time.

Two-phase commit (Gray, Lamport) with so many resource managers: the explorer runs machines behind drivers and can tell
the way to each state; the plain search is the specification written down as tuples, and can't. Pairs are interleaved.
Beside it schedules at random, of Paxos among three nodes, and states of it.

    python benchmarks/bench_explore.py [--managers 5] [--repetitions 5] [--schedules 1000] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from spread import spread

from testbed.explore.breadth import Search
from testbed.explore.model import model_of
from testbed.explore.random_walks import hunt
from testbed.explore.worlds import UNBOUNDED, Network, Rules, Worlds

Result = TypeVar("Result")
_State = tuple[str, frozenset[int], frozenset[int | str], tuple[str, ...]]


def following(state: _State) -> Iterator[_State]:
    """What the specification lets happen: (the transaction manager, who it knows to be prepared, what has been said,
    the resource managers)."""
    tm, prepared, said, rms = state
    if tm == "init":
        if len(prepared) == len(rms):
            yield "committed", prepared, said | {"commit"}, rms
        yield "aborted", prepared, said | {"abort"}, rms
        for rm in range(len(rms)):
            if rm in said:
                yield tm, prepared | {rm}, said, rms
    for rm, at in enumerate(rms):
        if at == "working":
            yield tm, prepared, said | {rm}, (*rms[:rm], "prepared", *rms[rm + 1 :])
            yield tm, prepared, said, (*rms[:rm], "aborted", *rms[rm + 1 :])
        for word, then in (("commit", "committed"), ("abort", "aborted")):
            if word in said:
                yield tm, prepared, said, (*rms[:rm], then, *rms[rm + 1 :])


def by_tuples(managers: int) -> tuple[int, int]:
    """Distinct states and levels, and that no two managers end differently."""
    layer: list[_State] = [("init", frozenset(), frozenset(), ("working",) * managers)]
    seen, levels = set(layer), 0
    while layer:
        levels += 1
        coming = []
        for state in layer:
            for new in following(state):
                if new not in seen:
                    seen.add(new)
                    coming.append(new)
                    assert not ("committed" in new[3] and "aborted" in new[3])
        layer = coming
    return len(seen), levels


def by_explorer(managers: int) -> tuple[int, int]:
    """The same, by machines."""
    found = Search(Worlds(model_of("two_phase_commit", managers), Rules(Network.SET))).run()
    return found.states, found.levels


def timed(deed: Callable[[], Result]) -> tuple[float, Result]:
    """CPU seconds, and what came of it."""
    begun = time.process_time()
    result = deed()
    return time.process_time() - begun, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--managers", type=int, default=5, help="resource managers of two-phase commit")
    parser.add_argument("--repetitions", type=int, default=5, help="pairs")
    parser.add_argument("--schedules", type=int, default=1000, help="schedules of Paxos")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    options = parser.parse_args()
    plain, explored = [], []
    for _ in range(options.repetitions):
        plain_s, expected = timed(lambda: by_tuples(options.managers))
        explored_s, found = timed(lambda: by_explorer(options.managers))
        assert found == expected, "both must see the same states"
        plain.append(expected[0] / plain_s)
        explored.append(found[0] / explored_s)
    walk_s, hunted = timed(lambda: hunt(Worlds(model_of("paxos"), Rules(drops=UNBOUNDED)), options.schedules, seed=0))
    broad_s, broad = timed(lambda: Search(Worlds(model_of("paxos"), Rules(timers=2))).run(most_states=50_000))
    figures = {
        "states": expected[0],
        "plain_states_per_s": spread(plain),
        "states_per_s": spread(explored),
        "ratio": spread([ours / theirs for ours, theirs in zip(explored, plain, strict=True)]),
        "paxos_states_per_s": round(broad.states / broad_s),
        "schedules_per_s": round(hunted.schedules / walk_s),
        "schedule_steps_per_s": round(hunted.steps / walk_s),
        "schedules_against_plain_states": round(hunted.steps / walk_s / spread(plain)["median"], 2),
    }
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    for name, figure in figures.items():
        print(f"{name.replace('_', ' '):32} {figure}")


if __name__ == "__main__":
    main()
