"""Worlds that differ in the names of their nodes only, looked at once.

Which world another becomes when nodes change names no engine has to say. It is found by doing in the renamed world what
was done in the first: where node 0 heard node 1, the renamed one hears the renamed other, by its own machine. Whether
the engine treats nodes alike is not believed but checked, at every step that a search takes: equal states must have
equal images, whichever way they were come to, as many messages must go to the renamed receivers, and the same timers
must be due. Where this fails (a rank that matters, a leader by number) fewer renamings are taken.

That makes a renaming an automorphism of all that the search has done, so that what can be come to from a world can,
with other names, be come to from its image (Emerson, Sistla, "Symmetry and model checking", 1996; Ip, Dill, 1996).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from math import factorial, prod
from typing import Any

from testbed.errors import UserError
from testbed.explore.model import Model, Time
from testbed.explore.states import Event, Outcome
from testbed.explore.worlds import NOBODY, Rules, Step, Verb, World, Worlds
from testbed.nodes.core.disk import State

MOST = 720
"""Renamings that are tried of each world; beyond, looking at the worlds themselves is cheaper."""

Renaming = tuple[int, ...]
"""Of each node, by its number, the number of the one whose place it takes."""


class AsymmetryError(Exception):
    """The renamings at hand are none that the engine allows."""


def check(rules: Rules) -> None:
    """Raises UserError for rules under which no engine is symmetric."""
    if rules.crashes:
        what = "who dies while telling all others has told the first of them, not the last; leave one out"
        raise UserError(f"--symmetry and --crashes: {what}")


def groups(model: Model) -> list[list[Renaming]]:
    """Groups of renamings that keep who is whose peer, the largest first: nodes are parted in every way, and those of a
    part change names with each other. The last is the one that changes nothing."""
    peers = [{peer.node for peer in config.peers} for config in model.configs]
    found = []
    for parts in _partitions(list(range(len(peers)))):
        if prod(factorial(len(part)) for part in parts) > MOST:
            continue
        group = [_renaming(parts, chosen) for chosen in product(*(permutations(part) for part in parts))]
        if all(
            {turn[peer] for peer in peers[node]} == peers[turn[node]] for turn in group for node in range(len(turn))
        ):
            found.append(group)
    return sorted(found, key=len, reverse=True)


def _partitions(nodes: list[int]) -> Iterator[list[list[int]]]:
    if not nodes:
        yield []
        return
    first, rest = nodes[0], nodes[1:]
    for parts in _partitions(rest):
        yield [[first], *parts]
        for place, part in enumerate(parts):
            yield [*parts[:place], [first, *part], *parts[place + 1 :]]


def _renaming(parts: Sequence[Sequence[int]], chosen: Sequence[Sequence[int]]) -> Renaming:
    turned = {old: new for part, names in zip(parts, chosen, strict=True) for old, new in zip(part, names, strict=True)}
    return tuple(turned[node] for node in range(len(turned)))


class Symmetry:
    """A group of renamings, and of every state and message that a search has met its images under each of them."""

    def __init__(self, worlds: Worlds, group: Sequence[Renaming]) -> None:
        """Raises AsymmetryError when the nodes are not even born alike."""
        self.worlds = worlds
        self.group = list(group)
        places = {turn: place for place, turn in enumerate(self.group)}
        self._composed = [[places[_after(late, early)] for early in self.group] for late in self.group]
        self._states: list[dict[int, int]] = [{} for _ in self.group]
        self._packets: list[dict[int, int]] = [{} for _ in self.group]
        self._learned: set[tuple[int, Event, int]] = set()
        unborn = [worlds.states.unborn(node) for node in range(len(self.group[0]))]
        for node in range(len(unborn)):
            self._relate(self._states, [unborn[turn[node]] for turn in self.group])
            self._learn(unborn[node], State.LOST, worlds.begin().now_ns)

    def kept(self) -> dict[str, Any]:
        """All but the worlds, as it can be pickled; ``take_up`` is the inverse."""
        return {key: value for key, value in vars(self).items() if key != "worlds"}

    @classmethod
    def take_up(cls, worlds: Worlds, kept: dict[str, Any]) -> Symmetry:
        """Of an earlier search in the same worlds."""
        symmetry = cls.__new__(cls)
        vars(symmetry).update(kept, worlds=worlds)
        return symmetry

    def learn(self, world: World, step: Step) -> None:
        """What a step of a search does, done under all other names. Raises AsymmetryError."""
        if step.verb in (Verb.DELIVER, Verb.FIRE):
            self._learn(world.nodes[step.node], step.event, self.worlds.time_of(world, step.node, step.event))

    def canonical(self, world: World) -> tuple[World, int]:
        """Of all worlds that this one is under other names, the one that stands for them, and the place in the group of
        the renaming that leads there. Raises AsymmetryError."""
        best, by = world, 0
        for place in range(1, len(self.group)):
            nodes = self._nodes(world, place)
            if nodes > best.nodes:
                continue
            renamed = self._renamed(world, nodes, place)
            if renamed < best:
                best, by = renamed, place
        if by and bool(self.worlds.broken(world)) != bool(self.worlds.broken(best)):
            raise AsymmetryError("an invariant tells nodes apart")
        return best, by

    def unturned(self, steps: Sequence[Step], turns: Sequence[int]) -> list[Step]:
        """A way through worlds that stand for others, as it is without renaming. turns: after each step."""
        way, at = [], 0  # at: the renaming that leads from the world on the way to the one that stands for it
        for step, turn in zip(steps, turns, strict=True):
            back = next(place for place, after in enumerate(self._composed) if after[at] == 0)
            way.append(self._step(step, back))
            at = self._composed[turn][at]
        return way

    # -- images ------------------------------------------------------------------------------------------------------

    def _nodes(self, world: World, place: int) -> tuple[int, ...]:
        turn, images = self.group[place], self._states[place]
        nodes = [0] * len(turn)
        for node, state in enumerate(world.nodes):
            nodes[turn[node]] = images[state]
        return tuple(nodes)

    def _renamed(self, world: World, nodes: tuple[int, ...], place: int) -> World:
        images = self._packets[place]
        wire = self.worlds.ordered([images[packet] for packet in world.wire])
        left = world.left
        if left.omitting != NOBODY:
            left = left._replace(omitting=self.group[place][left.omitting])
        return World(nodes, wire, world.now_ns, left)

    def _step(self, step: Step, place: int) -> Step:
        event = step.event
        if step.verb is not Verb.FIRE:
            event = self._packets[place][event]  # type: ignore[index]
        return step._replace(node=self.group[place][step.node], event=event)

    # -- what a step does, under all names ---------------------------------------------------------------------------

    def _learn(self, state: int, event: Event, now_ns: int) -> None:
        if (state, event, now_ns) in self._learned:
            return
        states = self.worlds.states
        images = [
            (self._states[place][state], self._packets[place][event] if type(event) is int else event)
            for place in range(len(self.group))
        ]
        self._learned.update((image, meant, now_ns) for image, meant in images)
        outcomes = [states.after(image, meant, now_ns) for image, meant in images]
        self._relate(self._states, [outcome.state for outcome in outcomes])
        sent = [self._by_receiver(outcome) for outcome in outcomes]
        for receiver, packets in sent[0].items():
            told = [there[turn[receiver]] for there, turn in zip(sent, self.group, strict=True)]
            if {len(others) for others in told} != {len(packets)}:
                raise AsymmetryError("not as much is said to each")
            for image in zip(*told, strict=True):
                self._relate(self._packets, image)
        if len({len(outcome.sent) for outcome in outcomes}) > 1:
            raise AsymmetryError("not as much is said by each")
        for outcome in outcomes[1:]:
            if self._due(outcome.state) != self._due(outcomes[0].state):
                raise AsymmetryError("not the same timers are due")

    def _by_receiver(self, outcome: Outcome) -> defaultdict[int, list[int]]:
        found = defaultdict(list)
        for packet in outcome.sent:
            found[self.worlds.states.packets[packet].dst].append(packet)
        return found

    def _due(self, state: int) -> object:
        """Of its timers, what decides which can fire next."""
        states = self.worlds.states
        if self.worlds.model.time is Time.TIMELY:
            return states.timers[state]
        return {name for name, due_ns in states.timers[state] if due_ns == states.first_ns[state]}

    def _relate(self, images: list[dict[int, int]], orbit: Sequence[int]) -> None:
        """``orbit``: what a thing is under each renaming. Raises AsymmetryError where it is known to be another."""
        for early, thing in enumerate(orbit):
            for late, after in enumerate(self._composed):
                image = orbit[after[early]]
                if images[late].setdefault(thing, image) != image:
                    raise AsymmetryError("what is the same for one node is not for another")


def _after(late: Renaming, early: Renaming) -> Renaming:
    return tuple(late[name] for name in early)
