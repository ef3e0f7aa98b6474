"""Bringing a 100-host leaf-spine up and down: this project's fabric against stock Mininet, alternating, in one run.
Then fabrics of 1,024 hosts, as runs bring them up (without Mininet's face); the aim is 10 s on two idle cores.

    python benchmarks/bench_fabric.py [--spines 4 --leaves 10 --hosts-per-leaf 10] [--repetitions 5] [--json]

Both run in namespaces of their own (nothing reaches the host). Stock is mininet.net.Mininet with its own Host, its
own Linux bridge switch (LinuxBridge, with spanning tree) and its own Link, with the commands they need: mnexec, brctl
and ifconfig; where one is missing the peer is skipped and the run says so. Up is from the Topo to ``net.start()``
having returned, down is ``net.stop()``; imports and the start of the interpreter are outside, for both. When ours is up
every path forwards; stock's bridges go on to listen and learn for half a minute, which is not counted. Of the large
ones the processor time of everything that took part stands beside the wall clock, which on a busy machine says little;
after each, nothing may be left of it: no interface but lo, no process in the namespaces that were made for it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LARGE = {  # 1,024 hosts each
    "leaf_spine": {"spines": 8, "leaves": 32, "hosts_per_leaf": 32},
    "fat_tree": {"k": 16},
    "torus": {"x": 32, "y": 32},
}
NEEDED_BY_STOCK = {"mnexec": "mininet", "brctl": "bridge-utils", "ifconfig": "net-tools"}  # command -> Debian package


def ours(shape: dict[str, int]) -> tuple[float, float]:
    """Seconds up, seconds down."""
    from testbed.engines.live.mininet_fabric import MininetFabric
    from testbed.topologies.build import make_fabric

    fabric_net = MininetFabric(make_fabric("leaf_spine", shape))
    begin = time.perf_counter()
    fabric_net.start()
    up = time.perf_counter()
    fabric_net.stop()
    return up - begin, time.perf_counter() - up


def large(shape: dict[str, int], kind: str) -> tuple[float, float, float]:
    """Seconds up, seconds down, and of processor time for both; of a fabric as runs have it."""
    from testbed.engines.live.fabric_net import FabricNet
    from testbed.topologies.build import make_fabric

    net = FabricNet(make_fabric(kind, shape))
    begin, cpu = time.perf_counter(), sum(os.times()[:4])
    net.start()
    up = time.perf_counter()
    net.stop()
    down = time.perf_counter()
    left = [name for _, name in socket.if_nameindex() if name != "lo"]
    left += Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    if left:
        raise SystemExit(f"{kind}: left behind: {', '.join(left)}")
    return up - begin, down - up, sum(os.times()[:4]) - cpu


def stock(shape: dict[str, int]) -> tuple[float, float]:
    """The same fabric with Mininet's own classes."""
    from mininet.net import Mininet
    from mininet.nodelib import LinuxBridge

    from testbed.topologies.leaf_spine import LeafSpine

    Mininet.inited = True  # its limits of the whole machine stay as they are, as in ours
    topo = LeafSpine(**shape)
    begin = time.perf_counter()
    # With spanning tree: several spines are loops, and a storm of multicast would be measured instead.
    net = Mininet(topo=topo, switch=partial(LinuxBridge, stp=True), controller=None)
    net.start()
    up = time.perf_counter()
    net.stop()
    return up - begin, time.perf_counter() - up


def measured(which: str, shape: dict[str, int]) -> tuple[float, ...]:
    """One repetition in namespaces of its own: of "ours" and "stock", or of a large fabric of that kind."""
    from testbed.engines.live.isolation import isolated_popen

    command = [sys.executable, str(Path(__file__).resolve()), "--inside", which, "--shape", json.dumps(shape)]
    process = isolated_popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{which} failed:\n{errors.decode(errors='replace')}")
    return tuple(json.loads(output.splitlines()[-1]))


def spread(values: list[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):6.2f} s  ({min(values):.2f} - {max(values):.2f})"


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spines", type=int, default=4)
    parser.add_argument("--leaves", type=int, default=10)
    parser.add_argument("--hosts-per-leaf", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--large-only", action="store_true", help="only the fabrics of 1,024 hosts")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        peers_of_ours = {"ours": ours, "stock": stock}
        run = peers_of_ours.get(options.inside) or partial(large, kind=options.inside)
        print(json.dumps(run(json.loads(options.shape))))
        return
    big = {kind: [measured(kind, LARGE[kind]) for _ in range(options.repetitions)] for kind in LARGE}
    if not options.json:
        report_large(big)
    if options.large_only:
        if options.json:
            print(json.dumps({"large": big}))
        return
    shape = {"spines": options.spines, "leaves": options.leaves, "hosts_per_leaf": options.hosts_per_leaf}
    missing = {command: package for command, package in NEEDED_BY_STOCK.items() if shutil.which(command) is None}
    peers = ["ours"] if missing else ["ours", "stock"]
    times: dict[str, list[tuple[float, ...]]] = {peer: [] for peer in peers}
    for _ in range(options.repetitions):
        for peer in peers:
            times[peer].append(measured(peer, shape))
    report(shape, times, missing, big if options.json else None)


def report_large(big: dict[str, list[tuple[float, ...]]]) -> None:
    """Prints the figures of 1,024 hosts."""
    for kind, runs in big.items():
        print(f"{kind} {LARGE[kind]}, 1024 hosts, {len(runs)} repetitions, load {os.getloadavg()[0]:.1f}")
        for phase, place in {"up": 0, "down": 1, "processor": 2}.items():
            print(f"  {phase:9} {spread([run[place] for run in runs])}")


def report(
    shape: dict[str, int],
    times: dict[str, list[tuple[float, ...]]],
    missing: dict[str, str],
    as_json: dict[str, list[tuple[float, ...]]] | None,
) -> None:
    """Prints the figures. as_json: those of the large fabrics, to print all as JSON."""
    phases = {"up": 0, "down": 1}
    ratios = {}
    if "stock" in times:
        for phase, place in phases.items():
            medians = {peer: statistics.median(run[place] for run in runs) for peer, runs in times.items()}
            ratios[phase] = medians["stock"] / medians["ours"]
    if as_json is not None:
        print(json.dumps({"shape": shape, "seconds": times, "ratio": ratios, "missing": missing, "large": as_json}))
        return
    print(f"leaf-spine {shape}, {len(times['ours'])} repetitions, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for peer, runs in times.items():
        for phase, place in phases.items():
            print(f"  {peer:6} {phase:5} {spread([run[place] for run in runs])}")
    for phase, ratio in ratios.items():
        print(f"  stock / ours, {phase}: {ratio:.1f}")
    if missing:
        packages = " ".join(sorted(missing.values()))
        print(f"  stock Mininet skipped: {', '.join(missing)} missing (Debian: apt-get install {packages})")


if __name__ == "__main__":
    main()
