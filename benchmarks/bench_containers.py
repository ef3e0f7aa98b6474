"""Containers up and down: a fabric's nodes against plain `docker run` and against Containernet's way, in one run.

    python benchmarks/bench_containers.py [--sizes 8 64] [--repetitions 3] [--json]

* ours: the nodes of a star, containers in which the agent waits, NICs made and moved in, every path forwarding.
* docker run: as many containers of the same image, `docker run -d`, one command after another, no NIC; then one
  `docker rm -f` with all their names.
* one by one: Containernet's way of starting hosts: create, start, inspect, one engine call after another through the
  Docker SDK, then a veth pair for each with ip(8), moved by the process id; then stop and remove one by one.

All on an engine that is started for this and stopped afterwards, with the same limits on each container. Needs root and
docker.io. Figures: median, least and greatest seconds of the repetitions, which take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from spread import spread

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

SLEEP = ["-c", "import time; time.sleep(600)"]
PYTHON = "/usr/bin/python3"
LIMITS = ["--network=none", "--read-only", "--cap-drop=ALL", "--cap-add=NET_RAW", "--security-opt=no-new-privileges"]


def ours(address: str, size: int) -> tuple[float, float]:
    """Seconds up, seconds down, in namespaces of their own as every fabric."""
    from testbed.engines.live.isolation import isolated_popen

    proc = os.open("/proc", os.O_PATH)
    command = [*_again("fabric", address, size), "--proc", str(proc)]
    process = isolated_popen(command, stdout=subprocess.PIPE, pass_fds=(proc,))
    output, _ = process.communicate()
    os.close(proc)
    if process.returncode:
        raise SystemExit("our own fabric did not come up")
    up, down = json.loads(output.splitlines()[-1])
    return up, down


def _again(what: str, address: str, size: int) -> list[str]:
    """This program once more, for a part that needs namespaces of its own."""
    return [sys.executable, str(Path(__file__).resolve()), "--inside", what, "--size", str(size), "--address", address]


def fabric(address: str, size: int, proc: int) -> tuple[float, float]:
    """The fabric itself."""
    import tempfile

    from testbed.engines.live.containers.image import image_name
    from testbed.engines.live.containers.owner import Containers
    from testbed.engines.live.containers.settings import Settings
    from testbed.engines.live.fabric_net import FabricNet
    from testbed.plan import Container
    from testbed.topologies.build import make_fabric

    with tempfile.TemporaryDirectory(prefix="oae-testbed-bench-") as scratch:
        settings = Settings(address, image_name(), "bench", "", proc, f"{scratch}/sockets")
        net = FabricNet(make_fabric("star", {"hosts": size}), Containers(settings, Container()).owner)
        begin = time.perf_counter()
        net.start()
        up = time.perf_counter()
        net.stop()
        return up - begin, time.perf_counter() - up


def docker_run(address: str, size: int) -> tuple[float, float]:
    """The engine's own command line."""
    from testbed.engines.live.containers.engine import ContainerEngine
    from testbed.engines.live.containers.image import image_name

    docker = ContainerEngine(address).command_line()
    names = [f"plain-{number}" for number in range(size)]
    begin = time.perf_counter()
    for name in names:
        words = [*docker, "run", "-d", "--name", name, *LIMITS, "--entrypoint", PYTHON, image_name(), *SLEEP]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    up = time.perf_counter()
    subprocess.run([*docker, "rm", "-f", *names], check=True, stdout=subprocess.DEVNULL)
    return up - begin, time.perf_counter() - up


def one_by_one(address: str, size: int) -> tuple[float, float]:
    """Seconds up, seconds down, in a network namespace of its own: its NICs are none of the host's business."""
    told = subprocess.run(["unshare", "--net", *_again("calls", address, size)], stdout=subprocess.PIPE, check=True)
    up, down = json.loads(told.stdout.splitlines()[-1])
    return up, down


def calls(address: str, size: int) -> tuple[float, float]:
    """As Containernet's Docker hosts come up and go: one call of the engine after another."""
    from testbed.engines.live.containers.engine import ContainerEngine
    from testbed.engines.live.containers.image import image_name

    api = ContainerEngine(address).api
    config = api.create_host_config(
        network_mode="none", read_only=True, cap_drop=["ALL"], cap_add=["NET_RAW"], security_opt=["no-new-privileges"]
    )
    made = []
    begin = time.perf_counter()
    for number in range(size):
        container = api.create_container(
            image_name(), SLEEP, name=f"mn.host{number}", entrypoint=[PYTHON], host_config=config
        )["Id"]
        api.start(container)
        pid = api.inspect_container(container)["State"]["Pid"]
        link = [
            "ip",
            "link",
            "add",
            f"oaeb{number}",
            "type",
            "veth",
            "peer",
            "name",
            f"oaec{number}",
            "netns",
            str(pid),
        ]
        subprocess.run(link, check=True)
        made.append(container)
    up = time.perf_counter()
    for container in made:
        api.stop(container, timeout=0)
        api.remove_container(container, force=True)
    return up - begin, time.perf_counter() - up


WAYS: dict[str, Callable[[str, int], tuple[float, float]]] = {
    "ours": ours,
    "docker run": docker_run,
    "one by one": one_by_one,
}


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    for hidden in ("--size", "--proc"):
        parser.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    for hidden in ("--inside", "--address"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        own = options.inside == "fabric"
        where = (options.address, options.size)
        print(json.dumps(fabric(*where, options.proc) if own else calls(*where)))
        return
    try:
        times = measured(options.sizes, options.repetitions)
    except BaseException as error:
        if type(error).__name__ != "Skipped":  # the tests' word for what a machine lacks
            raise
        print(f"containers: skipped, {error}")
        return
    report(times, options.json)


def measured(sizes: list[int], repetitions: int) -> dict[int, dict[str, list[tuple[float, float]]]]:
    """Seconds up and down: size -> way -> repetitions."""
    from container_engine import started_engine

    from testbed.engines.live.containers.engine import ContainerEngine
    from testbed.engines.live.containers.image import build, find_image

    with started_engine() as address:
        ContainerEngine(address).load_image((find_image() or build()).archive)
        for run in WAYS.values():
            run(address, 1)  # what is done once only
        return {
            size: _in_turns(address, size, repetitions)
            for size in sizes
        }  # fmt: skip


def _in_turns(address: str, size: int, repetitions: int) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(repetitions):
        for way, run in WAYS.items():
            times[way].append(run(address, size))
    return times


def report(times: dict[int, dict[str, list[tuple[float, float]]]], as_json: bool) -> None:
    """Prints the figures."""
    table = {
        size: {
            way: {phase: spread([run[place] for run in runs]) for place, phase in enumerate(("up", "down"))}
            for way, runs in ways.items()
        }
        for size, ways in times.items()
    }
    if as_json:
        print(json.dumps(table))
        return
    print(f"containers, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; seconds, median (least - greatest)")
    for size, ways in table.items():
        for way, phases in ways.items():
            spelled = "   ".join(f"{phase} {_spelled(figures)}" for phase, figures in phases.items())
            print(f"  {size:3} {way:11} {spelled}")
        for other in list(WAYS)[1:]:
            ratios = [
                sum(theirs) / sum(own) for theirs, own in zip(times[size][other], times[size]["ours"], strict=True)
            ]
            print(f"      {other} / ours, up and down together: {statistics.median(ratios):.1f}")


def _spelled(figures: dict[str, float]) -> str:
    return f"{figures['median']:6.2f} ({figures['min']:.2f} - {figures['max']:.2f})"


if __name__ == "__main__":
    main()
