"""Ten thousand operations of clients on every engine while NICs go down and come back: linearizable, and none lost?

Five members, or as few more as bear a crash, keep a key-value store; every 60 ms the NIC of another one goes down for
20 ms. Four clients ask, one thing after another, on links that lose one frame in two hundred. Runs are ``sim``'s. An
engine that promises agreement only while no message is late is left out: a NIC that is down is enough for it to
disagree (docs/findings.md).

    python benchmarks/operations.py [ENGINE ...] [--operations 10000] [--seed 7] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import testbed.cli  # noqa: F401  (lets the compiled build be found, as the command line does)
from testbed.engines.sim import SimEngine
from testbed.nodes.consensus.spec import EngineSpec
from testbed.nodes.core import Return
from testbed.nodes.core.record import Struck
from testbed.nodes.registry import engine_specs
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge

CLIENTS = 4
EVERY_MS, FOR_MS = 60, 20


def scenario(spec: EngineSpec, operations: int, seed: int) -> dict[str, Any]:
    """Of one engine: some milliseconds for every operation of a client, and as many crashes as fit in."""
    length_ms = (5 if spec.made_of_swaps else 4) * operations // CLIENTS
    n = next(n for n in range(5, 10) if spec.most_f(n) >= 1)
    hosts = [f"host{number}" for number in range(1, n + CLIENTS + 1)]
    protocol: dict[str, Any] = {"consensus": spec.name, "f": 1, "retry": "300us", "participants": hosts[:n]}
    if spec.made_of_swaps:
        protocol |= {"window": "250us", "rounds": 4 * length_ms}
    else:
        protocol |= {"window": "500us", "instances": 2 * length_ms}
    return {
        "name": f"operations-{spec.name}",
        "topology": {"kind": "star", "hosts": len(hosts)},
        "links": {"default": {"delay": "20us", "jitter": "5us", "distribution": "normal", "loss": "0.5%"}},
        "protocol": protocol,
        "service": {"kind": "kv"},
        "clients": {
            "hosts": hosts[n:],
            "operations": operations // CLIENTS,
            "think": "100us",
            "timeout": "4ms",
            "mix": {"get": 2, "put": 1, "cas": 1, "keys": 16},
        },
        "faults": [
            {"at": f"{EVERY_MS * number}ms", "do": "nic_down", "on": f"host{number % n + 1}", "for": f"{FOR_MS}ms"}
            for number in range(1, length_ms // EVERY_MS)
        ],
        "seed": seed,
    }


def served(spec: EngineSpec, operations: int, seed: int) -> dict[str, Any]:
    """What became of it, as a row."""
    began = time.process_time()
    plan = compile_plan(from_data(scenario(spec, operations, seed)))
    history = SimEngine(hops=False).run(plan)
    verdicts = judge(plan, history)
    service, consensus = verdicts.service, verdicts.consensus
    assert service is not None
    assert consensus is not None
    last_ns = max(event.t_ns for event in history.events.of_kind(Return))
    down = [event.t_ns for event in history.events.of_kind(Struck) if getattr(event.what, "verb", "") == "nic_down"]
    wrong = [*service.violations, *(f"{item.instance} is disagreed on" for item in consensus.disagreements)]
    return {
        "engine": spec.name,
        "asked": service.done + service.open,
        "answered": service.done,
        "nic_crashes": sum(t_ns <= last_ns for t_ns in down),
        "entries": service.entries,
        "median_us": service.latency_ns[0] / 1000,
        "p99_us": service.latency_ns[2] / 1000,
        "wrong": len(wrong),
        "first": wrong[0] if wrong else "",
        "unchecked": list(service.unchecked),
        "cpu_s": round(time.process_time() - began, 1),
    }


def main() -> None:
    """See the module's text. Exit code 1 when something is wrong, or what should be answered is not."""
    known = {spec.name: spec for spec in engine_specs() if spec.can_serve and spec.indulgent}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if strange := next((name for name in given.engines if name not in known), None):
        parser.error(f"{strange} can't serve, or not under such faults; there are {', '.join(known)}")
    rows = []
    if not given.json:
        print("| engine | answered | NIC crashes meanwhile | entries | median | 99 % | wrong | not checked |")
        print("|---|---|---|---|---|---|---|---|")
    for name in given.engines or known:
        rows.append(row := served(known[name], given.operations, given.seed))
        if not given.json:
            print(
                f"| {name} | {row['answered']:,} of {row['asked']:,} | {row['nic_crashes']} | {row['entries']:,} | "
                f"{row['median_us']:,.0f} µs | {row['p99_us']:,.0f} µs | {row['wrong']} {row['first']} | "
                f"{'; '.join(row['unchecked'])} |",
                flush=True,
            )
    if given.json:
        print(json.dumps(rows, indent=1))
    if any(row["wrong"] or row["unchecked"] or row["answered"] < given.operations for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
