"""``sim`` against SimPy: the same fabric, the same netem draws, the same machines, two ways to let time pass.

Two loads on a leaf-spine with all hosts talking to all: ``echo`` (frames that are answered at once: nearly all time
goes into the simulator) and ``swaps`` (the project's own link machines: what a study runs). Two forms of the SimPy
model: ``idiomatic`` (a process per frame on a cable, a Store in front of every switch and host, as SimPy's own example
on event latency does it) and ``lean`` (one timeout with a callback per frame and hop, the least that SimPy can do).

Both sides record nothing. Every repetition must deliver the same number of frames over the same number of links, or the
benchmark fails. Repetitions alternate between the sides; the figure is the median of the ratios of neighbours. Time is
this process's CPU time (both sides are one thread that never waits), so that other work on the host disturbs little.

Where there is a compiled build (``make compiled``), it is used by both sides: SimPy's model runs the same machines, and
takes the same delays from the same directions.

    python benchmarks/bench_sim.py [--repetitions 5] [--rounds 60]
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import simpy
from spread import spread

import testbed.cli  # noqa: F401  (lets the compiled build be found, as the command line does)
from testbed.engines.sim import SimEngine
from testbed.engines.sim.netem import Direction
from testbed.nodes.core import Effect, Effects, Life, Machine, Port, Send, SetTimer
from testbed.nodes.core.config import START_NS, NodeConfig, ProtocolConfig
from testbed.nodes.core.driver import Driver
from testbed.nodes.frames import Frame, Kind, Message
from testbed.nodes.registry import build_machine
from testbed.plan import Plan, PlannedNode, derive_seed
from testbed.topologies.build import make_fabric
from testbed.topologies.impairment import Impairment

WINDOW_NS = 300_000
Build = Callable[[NodeConfig], Machine]


class Echo:
    """Sends one frame to every higher node at time 0 and answers every frame until ``count`` have come from a peer.

    As little as a machine can do: what it says is always the same, and made once.
    """

    def __init__(self, config: NodeConfig, count: int) -> None:
        self.left = [count] * len(config.peers)
        self.answers: list[Effects] = [[Send(port, Message(Kind.DATA, 0, 1))] for port in range(len(config.peers))]
        self.higher = [port for port, peer in enumerate(config.peers) if peer.node > config.node]

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """Wait for time 0."""
        return [SetTimer("go", 0)]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """Begin."""
        return [send for port in self.higher for send in self.answers[port]]

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """Answer."""
        self.left[port] -= 1
        return self.answers[port] if self.left[port] >= 0 else []


# -- the SimPy model -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Letter:
    """A frame under way: the stations still before it, and where it ends."""

    frame: Frame
    way: list[Any]
    at: int


class Cable:
    """A link direction, idiomatic: a process waits out each frame's delay and puts it into the far end's store."""

    def __init__(self, world: World, direction: Direction) -> None:
        self.env, self.enqueue, self.world = world.env, direction.enqueue, world
        self.far: Station

    def put(self, letter: Letter) -> None:
        """A frame is handed to the sending interface."""
        self.env.process(self._latency(letter))

    def _latency(self, letter: Letter) -> Generator[Any, Any, None]:
        now = self.env.now
        yield self.env.timeout(self.enqueue(now) - now)
        self.world.hops += 1
        self.far.store.put(letter)


class LeanCable(Cable):
    """A link direction, lean: one timeout whose callback is the far end itself."""

    def put(self, letter: Letter) -> None:
        """A frame is handed to the sending interface."""
        now = self.env.now
        arrival = self.env.timeout(self.enqueue(now) - now, letter)
        arrival.callbacks.append(self._arrived)

    def _arrived(self, event: Any) -> None:
        self.world.hops += 1
        self.far.handle(event.value)


class Station:
    """What stands at the end of a cable: a store, and a process that empties it."""

    def __init__(self, world: World, lean: bool) -> None:
        self.world = world
        if not lean:
            self.store = simpy.Store(world.env)
            world.env.process(self._serve())

    def _serve(self) -> Generator[Any, Any, None]:
        while True:
            self.handle((yield self.store.get()))

    def handle(self, letter: Letter) -> None:
        """A switch: queue the frame at the next interface of its way."""
        letter.at += 1
        letter.way[letter.at].put(letter)


class Host(Station):
    """A host: runs its machine through the same Driver as the project's engines do."""

    def __init__(self, world: World, lean: bool, config: NodeConfig, build: Build) -> None:
        super().__init__(world, lean)
        self.machine = build(config)
        self.driver = Driver(self.machine, self, config)
        self.ways: list[list[Any]] = []
        self.ports = {peer.node: port for port, peer in enumerate(config.peers)}
        self.timers: dict[str, int] = {}
        self.serial = 0

    def handle(self, letter: Letter) -> None:
        """A frame has come to its end."""
        frame = letter.frame
        self.driver.frame(self.ports[frame.key.src], frame, self.world.env.now)

    def send(self, port: int, frame: Frame, now_ns: int) -> None:
        """NodeIO: put the frame on the wire."""
        way = self.ways[port]
        way[0].put(Letter(frame, way, 0))

    def set_timer(self, name: str, at_ns: int) -> None:
        """NodeIO: a process that waits."""
        self.serial += 1
        self.timers[name] = self.serial
        self.world.env.process(self._timer(name, self.serial, at_ns))

    def _timer(self, name: str, serial: int, at_ns: int) -> Generator[Any, Any, None]:
        yield self.world.env.timeout(max(0, at_ns - self.world.env.now))
        if self.timers.get(name) == serial:
            del self.timers[name]
            self.driver.timer(name, self.world.env.now)

    def cancel_timer(self, name: str) -> None:
        """NodeIO."""
        self.timers.pop(name, None)

    def record(self, effect: Effect, now_ns: int) -> None:
        """NodeIO: nothing is recorded, on either side."""

    def persist(self, key: str, data: bytes | None, more: bool, now_ns: int) -> bool:
        """NodeIO: no disk is kept."""
        return True

    def sync(self, now_ns: int) -> None:
        """NodeIO: no disk is kept."""

    def strike(self, index: int, now_ns: int) -> bool:
        """NodeIO: there are no faults."""
        return True


class World:
    """The whole model on SimPy."""

    def __init__(self, plan: Plan, build: Build, lean: bool) -> None:
        self.env = simpy.Environment(initial_time=START_NS)
        self.hops = 0
        self.end_ns = plan.duration_ns
        fabric, routes = plan.fabric, plan.routes
        cable = LeanCable if lean else Cable
        stations: dict[str, Station] = {switch: Station(self, lean) for switch in fabric.switches}
        configs = [plan.node_config(name) for name in plan.names]
        self.hosts = {config.name: Host(self, lean, config, build) for config in configs}
        stations |= self.hosts
        cables: dict[tuple[int, str], Cable] = {}
        for index, link in enumerate(fabric.links):
            for way, impairment, far in (("ab", link.ab, link.b.node), ("ba", link.ba, link.a.node)):
                made = cables[index, way] = cable(self, Direction(impairment))
                made.far = stations[far]
        for config in configs:
            for peer in config.peers:
                crossed = routes.path(config.name, peer.name)
                self.hosts[config.name].ways.append([cables[crossing.link, crossing.way] for crossing in crossed])

    def run(self) -> int:
        """Start the machines, let time pass; the links crossed by frames."""
        for host in self.hosts.values():
            host.driver.start(START_NS)
        self.env.run(until=self.end_ns)
        return self.hops


# -- the comparison --------------------------------------------------------------------------------------------------


def make_plan(rounds: int) -> Plan:
    """2 spines, 4 leaves, 2 hosts each; 5 us +- 1 us on every link; ``rounds`` rounds of swaps between all."""
    fabric = make_fabric("leaf_spine", {"spines": 2, "leaves": 4, "hosts_per_leaf": 2})
    jitter = Impairment(delay_ns=5_000, jitter_ns=1_000)
    links = tuple(
        replace(
            link,
            ab=jitter.with_seed(derive_seed(1, "link", index, "ab")),
            ba=jitter.with_seed(derive_seed(1, "link", index, "ba")),
        )
        for index, link in enumerate(fabric.links)
    )
    fabric = replace(fabric, links=links)
    protocol = ProtocolConfig(rounds=rounds, window_ns=WINDOW_NS, period_ns=WINDOW_NS)
    nodes = tuple(PlannedNode(number) for number in range(len(fabric.hosts)))
    return Plan("bench", 1, fabric, protocol, nodes, (), rounds * WINDOW_NS + WINDOW_NS, 0, capture=False)


def timed(work: Callable[[], int]) -> tuple[float, int]:
    """CPU seconds and what the work returned, without the collector's pauses on either side."""
    gc.collect()
    gc.disable()
    begin = time.process_time()
    result = work()
    elapsed = time.process_time() - begin
    gc.enable()
    return elapsed, result


def compare(load: str, form: str, plan: Plan, build: Build, repetitions: int) -> dict[str, Any]:
    """Alternate between the sides, compare neighbours."""

    def ours() -> int:
        return int(SimEngine(events="none", hops=False, build=build).run(plan).meta["frame_hops"])

    def theirs() -> int:
        return World(plan, build, form == "lean").run()

    mine: list[float] = []
    others: list[float] = []
    for _ in range(repetitions):
        elapsed, hops = timed(ours)
        elapsed_simpy, hops_simpy = timed(theirs)
        assert hops == hops_simpy, f"{load}: sim carried {hops} frames over links, SimPy {hops_simpy}"
        mine.append(hops / elapsed)
        others.append(hops / elapsed_simpy)
    ratios = [one / other for one, other in zip(mine, others, strict=True)]
    return {
        "benchmark": "sim-vs-simpy",
        "load": load,
        "simpy_model": form,
        "frame_hops": hops,
        "repetitions": repetitions,
        "sim_frame_hops_per_s": spread(mine),
        "simpy_frame_hops_per_s": spread(others),
        "ratio": spread(ratios),
    }


def main() -> None:
    """Print one JSON line and one line for people per comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=60, help="rounds of swaps; echoes are as many messages")
    chosen = parser.parse_args()
    plan = make_plan(chosen.rounds)
    echoes = chosen.rounds * 2
    long_enough = replace(plan, duration_ns=(2 * echoes + 2) * 4 * 6_000)

    def echo(config: NodeConfig) -> Machine:
        return Echo(config, echoes)

    for load, loaded, build in (("echo", long_enough, echo), ("swaps", plan, build_machine)):
        for form in ("idiomatic", "lean"):
            result = compare(load, form, loaded, build, chosen.repetitions)
            ratio = result["ratio"]
            print(json.dumps(result))
            print(
                f"{load}: sim {result['sim_frame_hops_per_s']['median']:,.0f} frame-hops/s, SimPy ({form}) "
                f"{result['simpy_frame_hops_per_s']['median']:,.0f}: {ratio['median']:.1f} times "
                f"({ratio['min']:.1f} to {ratio['max']:.1f} in {result['repetitions']} pairs)"
            )


if __name__ == "__main__":
    main()
