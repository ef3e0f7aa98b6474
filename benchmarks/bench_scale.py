"""1,000 hosts in one plan of ``sim``: how large the plan is, how long it takes to make, what memory it and a run take.

    python benchmarks/bench_scale.py [--rounds N] [--hosts-per-leaf N] [--all]

A leaf-spine fabric whose hosts swap with their neighbours, each neighbourhood in a process of its own, so that
the memory of one (the greatest resident size of its process) is not another's. With --all also among all pairs:
compiled, not run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

SPINES, LEAVES = 8, 40
NEIGHBOURHOODS = ("tree", "lattice", "groups")


def resident_mb() -> float:
    """The greatest resident size of this process so far (MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(neighbourhood: str, hosts_per_leaf: int, rounds: int) -> dict[str, float | str]:
    """One scenario: read, compiled, written, read again, run (unless it is among all pairs)."""
    from testbed.engines.sim import SimEngine
    from testbed.plan import Plan
    from testbed.scenario import compile_plan, from_data

    imported_mb = resident_mb()
    data = {
        "name": "scale",
        "topology": {"kind": "leaf_spine", "spines": SPINES, "leaves": LEAVES, "hosts_per_leaf": hosts_per_leaf},
        "links": {"default": {"delay": "5us", "jitter": "1us"}},
        "protocol": {"window": "200us", "rounds": rounds, "neighbourhood": neighbourhood},
        "capture": False,
    }
    begin = time.process_time()
    scenario = from_data(data)
    read_s = time.process_time() - begin
    plan = compile_plan(scenario)
    compile_s = time.process_time() - begin
    text = plan.to_json()
    written_s = time.process_time() - begin - compile_s
    assert Plan.from_json(text) == plan
    found: dict[str, float | str] = {
        "neighbourhood": neighbourhood,
        "hosts": len(plan.nodes),
        "pairs": sum(len(plan.peers(node.node)) for node in plan.nodes) // 2,
        "plan_mb": len(text) / 1e6,
        "read_s": read_s,
        "compile_s": compile_s,
        "write_s": written_s,
        "plan_resident_mb": resident_mb() - imported_mb,
    }
    if neighbourhood != "all":
        begin = time.process_time()
        history = SimEngine(events="outcomes").run(plan)
        assert history.complete
        found |= {"run_s": time.process_time() - begin, "resident_mb": resident_mb()}
    return found


def main() -> None:
    """A table, one row per neighbourhood."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hosts-per-leaf", type=int, default=25)
    parser.add_argument("--all", action="store_true", help="also compile all pairs")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one, chosen.hosts_per_leaf, chosen.rounds)))
        return
    print(
        f"{'peers':<9}{'hosts':>6}{'pairs':>8}{'plan':>9}{'compile':>9}{'write':>7}{'memory':>8}{'run':>8}{'memory':>9}"
    )
    print(f"{'':<23}{'MB':>9}{'s':>9}{'s':>7}{'MB':>8}{f'{chosen.rounds} rounds':>8}{'MB':>9}")
    for neighbourhood in (*NEIGHBOURHOODS, *(("all",) if chosen.all else ())):
        argv = [sys.executable, __file__, "--one", neighbourhood, "--hosts-per-leaf", str(chosen.hosts_per_leaf)]
        done = subprocess.run([*argv, "--rounds", str(chosen.rounds)], stdout=subprocess.PIPE, check=True)
        row = json.loads(done.stdout)
        run = f"{row['run_s']:7.1f}s{row['resident_mb']:9.0f}" if "run_s" in row else ""
        print(
            f"{row['neighbourhood']:<9}{row['hosts']:>6}{row['pairs']:>8}{row['plan_mb']:>9.2f}{row['compile_s']:>9.2f}"
            f"{row['write_s']:>7.2f}{row['plan_resident_mb']:>8.0f}{run}",
            flush=True,
        )


if __name__ == "__main__":
    main()
