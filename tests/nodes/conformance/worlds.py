"""The worlds that every engine must stand, and what a checker sees in them. See test_conformance.py.

``storm``: everything goes wrong that can, then calms down. ``timely``: nothing is late or lost, but as many nodes crash
as the engine bears, between events and between two sends of one. ``stages``: messages pass within one group after
another, so that quorums pass each other by.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from builders import node_config
from consensus_harness import Chaos
from log_worlds import wrong_in_logs, wrong_when_deposed
from network import Build, Node
from storm import FAULT, Storm, W

from testbed.nodes.consensus.spec import EngineSpec
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.segmented import Segmented
from testbed.nodes.frames import Frame

CALM_NS = 10_000 * W
DELAY_NS = 10


def counts(spec: EngineSpec, instances: int, f: int) -> dict[str, Any]:
    """As many rounds, or instances, as ``instances`` instances take."""
    rounds = spec.rounds_per_instance(f)
    counted = {"rounds": instances * rounds} if spec.made_of_swaps else {"rounds": 0}
    return {"consensus": spec.name, "f": f, "instance_rounds": rounds, "instances": instances, **counted}


def storm(spec: EngineSpec, build: Build, seed: int, **settings: Any) -> Storm:
    """One that has raged, and calmed down again. Two to five nodes; a minority of them may lose its state."""
    rng = random.Random(f"{spec.name} {seed}")
    n = rng.randint(2, 5)
    f = min(spec.most_f(n), (n - 1) // 2)
    drawn = {
        "handshake": rng.choice(("alternating", "simultaneous")),
        "horizon": rng.choice(("abort", "hold", "reconcile")),
        "depth": rng.randint(2, 5),
        "period_ns": rng.choice((W, W, 1300)),
        "retry_ns": rng.choice((100, 300, 2500)),
        "inputs": rng.choice(("distinct", "random")),
        **counts(spec, rng.randint(2, 4) if spec.decides else rng.randint(3, 12), f),
    }
    world = {"loss": rng.choice((0.0, 0.05, 0.3)), "amnesias": rng.choice((0, f)), "strikes": rng.choice((0.0, 0.5))}
    world |= {key: settings.pop(key) for key in tuple(settings) if key in world}
    world["amnesias"] = min(world["amnesias"], f)  # with more, nobody could ever end anything, and all would ask on
    raging = Storm(seed, n, build, **world, **(drawn | settings))
    until = rng.randrange(1, raging.protocol.length_ns + 1)
    raging.rage(until, faults=rng.choice((0, 2, 6)), slowed=rng.choice((0, 0, 3)))
    raging.calm(CALM_NS)
    return raging


class Timely(Storm):
    """Every frame arrives at once. ``doomed``: node -> the instant at which it dies, or the moment."""

    def __init__(self, seed: int, n: int, build: Build, doomed: dict[int, Moment | int], **protocol: Any) -> None:
        self.doomed = doomed
        super().__init__(seed, n, build, **protocol)
        for node in self.nodes:
            node.keeps = False

    def moments(self, node: Node) -> list[Moment]:
        """When the node's only life ends, if it is a moment."""
        end = self.doomed.get(node.config.node)
        return [end] if isinstance(end, Moment) else []

    def transmit(self, frame: Frame) -> None:
        """As in a storm that is over."""
        self.raging = False
        super().transmit(frame)
        self.raging = True

    def live(self, until: int) -> None:
        """To the end; only the doomed die."""
        for node, end in self.doomed.items():
            if not isinstance(end, Moment):
                self.push(end, FAULT, self.tick(), node, "kill")
        begun_ns = until if self.log is None else min(until, self.protocol.length_ns + 20 * self.protocol.retry_ns)
        self.rage(begun_ns, faults=0)
        while self.log is not None and self.now_ns < until and self.log.untold():
            self._run(min(until, self.now_ns + 20 * self.protocol.retry_ns))

    @property
    def survivors(self) -> list[int]:
        """The nodes that are up at the end."""
        return [node.config.node for node in self.nodes if node.machine is not None]


def timely(spec: EngineSpec, build: Build, seed: int, **settings: Any) -> Timely:
    """Three to five nodes, of which exactly as many die as the engine bears."""
    rng = random.Random(f"timely {spec.name} {seed}")
    n = rng.randint(3, 5)
    f = min(spec.most_f(n), n - 1)
    drawn = swift(rng) | counts(spec, 1 if spec.decides and not spec.keeps_a_log else 5, f) | settings
    rounds = max(drawn["rounds"], drawn["instances"])
    doomed: dict[int, Moment | int] = {}
    for node in rng.sample(range(n), f):
        sends = Moment(0, after_sends=rng.randint(1, 2 * n), round=rng.randrange(rounds))
        if spec.keeps_a_log:  # rounds are terms, of which nobody knows how many there will be
            sends = Moment(0, after_sends=rng.randint(1, 12 * n))
        doomed[node] = rng.choice((sends, rng.randrange(rounds * drawn["period_ns"])))
    world = Timely(seed, n, build, doomed, **drawn)
    world.live((rounds - 1) * world.protocol.period_ns + spec.settle_ns(world.protocol, n, DELAY_NS))
    return world


def chained(spec: EngineSpec, build: Build, seed: int) -> Timely:
    """The worst for rounds: one node dies after another, each about when what the last one said goes on from it."""
    rng = random.Random(f"chained {spec.name} {seed}")
    n = rng.randint(3, 4)
    f = rng.randint(1, min(spec.most_f(n), n - 1))
    settings = swift(rng) | counts(spec, 1, f) | {"handshake": "simultaneous", "inputs": "distinct", "period_ns": 2 * W}
    doomed: dict[int, Moment | int] = {}
    for place, node in enumerate(rng.sample(range(n), f)):
        sends = Moment(0, after_sends=rng.randint(1, n - 1), round=place)
        doomed[node] = rng.choice((sends, max(0, 2 * place - 1) * W + rng.randrange(W)))
    world = Timely(seed, n, build, doomed, **settings)
    world.live(world.protocol.length_ns + spec.settle_ns(world.protocol, n, DELAY_NS))
    return world


def swift(rng: random.Random) -> dict[str, Any]:
    """Settings under which little is sent."""
    return {
        "period_ns": rng.choice((W, 2 * W)),
        "retry_ns": 100,
        "inputs": rng.choice(("distinct", "random")),
        "handshake": rng.choice(("simultaneous", "alternating")),
        "depth": 2,
    }


class Parted(Timely):
    """A frame passes from one node to another in a round or never; in some rounds all pass, in others few."""

    def __init__(self, seed: int, n: int, build: Build, **protocol: Any) -> None:
        super().__init__(seed, n, build, {}, **protocol)
        self._lost: dict[int, set[tuple[int, int]]] = {}

    def transmit(self, frame: Frame) -> None:
        round_ = frame.message.round
        if round_ not in self._lost:
            self._lost[round_] = self._part(set(range(len(self.nodes))), self._lost.get(round_ - 1, set()))
        if (frame.key.src, frame.dst) not in self._lost[round_]:
            super().transmit(frame)
        else:
            self.offered[round_, frame.key.src, frame.dst] = frame.message.body

    def _part(self, nodes: set[int], before: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Who does not hear whom: as in the round before, nobody, one that is cut off, or some who hear nothing."""
        way = self.rng.randrange(6)
        if way < 3:
            return before
        if way == 3:
            return set()
        if way == 4:
            alone = self.rng.choice(sorted(nodes))
            return {(alone, other) for other in nodes} | {(other, alone) for other in nodes}
        deaf = {node for node in nodes if self.rng.random() < 0.5}
        return {(src, dst) for dst in deaf for src in nodes}


def parted(spec: EngineSpec, build: Build, seed: int) -> Parted:
    """Three to five nodes, and rounds in which each hears another part of the others."""
    rng = random.Random(f"parted {spec.name} {seed}")
    n = rng.choice((3, 3, 4, 5))
    settings = swift(rng) | {"handshake": "simultaneous"} | counts(spec, 1, spec.most_f(n))
    settings["rounds"] = settings["instance_rounds"] = 2 * settings["rounds"]  # what it does late may be wrong as well
    world = Parted(seed, n, build, **settings)
    world.live(world.protocol.length_ns + W)
    return world


def stages(spec: EngineSpec, build: Build, seed: int) -> dict[int, set[bytes]]:
    """The values decided in the one instance of an engine of messages, or in each entry of a log."""
    rng = random.Random(f"stages {spec.name} {seed}")
    n = rng.choice((3, 5))
    settings = counts(spec, 1, spec.most_f(n)) | {"inputs": rng.choice(("distinct", "random"))}
    built = {node: build(node_config(node, n, node_seed=seed + node, **settings)) for node in range(n)}
    machines = {node: one.machine if isinstance(one, Segmented) else one for node, one in built.items()}
    decided: dict[int, set[bytes]] = {}
    for decision in Chaos(machines, rng).run(60):
        decided.setdefault(decision.instance, set()).add(decision.value)
    return decided


# -- what a checker sees --------------------------------------------------------------------------------------------


def wrong_in_storm(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    try:
        calmed = storm(spec, build, seed)
    except AssertionError as error:
        return f"validity: {error}"
    if calmed.disagreements():
        return "agreement"
    if calmed.log is not None:
        return "termination" if 2 * len(calmed.steady) > len(calmed.nodes) and calmed.log.untold() else ""
    if not spec.made_of_swaps and 2 * len(calmed.steady) > len(calmed.nodes):
        steady = {node.config.node for node in calmed.steady}
        if any(not steady <= set(calmed.decided[instance]) for instance in range(calmed.protocol.instances)):
            return "termination"
    return ""


def wrong_in_time(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    try:
        world = timely(spec, build, seed)
    except AssertionError as error:
        return f"validity: {error}"
    if world.disagreements():
        return "agreement"
    if world.log is not None:
        return "termination" if world.log.untold() else ""
    survivors = set(world.survivors)
    instances = world.protocol.instances if spec.decides else 0
    undecided = any(not survivors <= set(world.decided[instance]) for instance in range(instances))
    return "termination" if undecided else ""


def wrong_in_chains(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    return "agreement" if chained(spec, build, seed).disagreements() else ""


def wrong_in_parts(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    return "agreement" if parted(spec, build, seed).disagreements() else ""


def wrong_in_stages(spec: EngineSpec, build: Build, seed: int) -> str:
    """Which property is broken, or empty."""
    return "agreement" if any(len(values) > 1 for values in stages(spec, build, seed).values()) else ""


def hunts(spec: EngineSpec) -> Iterator[tuple[Callable[[EngineSpec, Build, int], str], Sequence[int]]]:
    """The checks that an engine passes as it is, and the seeds in which a planted pitfall is looked for in each: where
    one showed most when somebody last looked comes first."""
    if spec.keeps_a_log:
        yield wrong_when_deposed, (12, *range(12), *range(13, 16))
        yield wrong_in_logs, range(24)
        return
    yield wrong_in_time, range(60)
    if spec.indulgent:
        yield wrong_in_storm, range(12)
        yield (wrong_in_parts, range(300)) if spec.made_of_swaps else (wrong_in_stages, range(600))
    if spec.made_of_swaps:
        yield wrong_in_chains, range(1200)
