"""A schedule: what happens in which order, as a file that can be run again, and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import yaml

from testbed.errors import UserError
from testbed.explore.model import Model, Time, model_of
from testbed.explore.states import FIRST, Packet
from testbed.explore.worlds import Network, Rules, Step, Verb, World, Worlds
from testbed.nodes.core import CancelTimer, Effect, Life, Persist, SetTimer
from testbed.nodes.core.disk import State
from testbed.nodes.core.own import EngineName
from testbed.nodes.core.text import effect_text, message_text, time_text
from testbed.nodes.frames import Kind, Message
from testbed.own_engines import Files, engine_called


@dataclass(frozen=True, slots=True)
class Asked:
    """What is explored and under which rules, as a user says it. settings: of the protocol (model_of)."""

    engine: EngineName
    nodes: int | None = None
    f: int | None = None
    pitfalls: tuple[str, ...] = ()
    time: Time | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)

    def model(self) -> Model:
        """Raises UserError."""
        return model_of(self.engine, self.nodes, self.f, self.pitfalls, self.time, **self.settings)

    def worlds(self) -> Worlds:
        """Raises UserError."""
        return Worlds(self.model(), self.rules)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps under rules, each as plain data (step_data), and what they lead to."""

    asked: Asked
    steps: tuple[dict[str, Any], ...]
    breaks: str = ""


def schedule_of(asked: Asked, worlds: Worlds, steps: Sequence[Step], breaks: str) -> Schedule:
    """Steps that were found in ``worlds``."""
    return Schedule(asked, tuple(step_data(worlds, step) for step in steps), breaks)


# -- a step as plain data ----------------------------------------------------------------------------------------------


def step_data(worlds: Worlds, step: Step) -> dict[str, Any]:
    """``{do: deliver, from: n0, to: n1, kind: DATA, round: 0, step: 1, body: 00}`` and its like, in which no number of
    the search stands: of messages all that they say, with ``flags`` and ``life`` where they matter."""
    names = [config.name for config in worlds.model.configs]
    data: dict[str, Any] = {"do": str(step.verb)}
    if step.verb in (Verb.DELIVER, Verb.DROP, Verb.COPY):
        assert isinstance(step.event, int)
        src, dst, life, message = worlds.states.packets[step.event]
        data |= {"from": names[src], "to": names[dst], "kind": message.kind.name, "round": int(message.round)}
        data |= {"step": int(message.step), "body": message.body.hex()}
        data |= {"flags": int(message.flags)} if message.flags else {}
        data |= {"life": list(life)} if life != FIRST else {}
    else:
        data["node"] = names[step.node]
        if step.verb is Verb.FIRE:
            data["timer"] = step.event
        elif step.verb is Verb.RESTART:
            data["disk"] = str(step.event)
    if step.done is not None:
        data["dies_after"] = step.done
    return data


def _step(worlds: Worlds, data: Mapping[str, Any]) -> Step:
    """The inverse of step_data. Raises ValueError or KeyError for what can't be."""
    names = {config.name: config.node for config in worlds.model.configs}
    verb = Verb(data["do"])
    done = None if data.get("dies_after") is None else int(data["dies_after"])
    if verb in (Verb.DELIVER, Verb.DROP, Verb.COPY):
        body, flags = bytes.fromhex(str(data["body"])), int(data.get("flags", 0))
        message = Message(Kind[data["kind"]], int(data["round"]), int(data["step"]), body, flags)
        packet = Packet(names[data["from"]], names[data["to"]], Life(*data.get("life", FIRST)), message)
        return Step(verb, packet.dst, worlds.states.packet_number(packet), done)
    node = names[data["node"]]
    if verb is Verb.FIRE:
        return Step(verb, node, str(data["timer"]), done)
    return Step(verb, node, State(data["disk"]) if verb is Verb.RESTART else 0, done)


# -- a schedule as a file ----------------------------------------------------------------------------------------------

_HEAD = """\
# What happens, in this order. Run it again, told in words:
#     testbed explore --replay {name}
"""


def write_schedule(schedule: Schedule, name: str) -> str:
    """The file's text."""
    asked, rules = schedule.asked, asdict(schedule.asked.rules)
    rules |= {"network": str(rules["network"]), "finds": [str(find) for find in rules["finds"]]}
    head = {
        "engine": asked.engine if isinstance(asked.engine, str) else asked.engine.reference,
        "nodes": asked.nodes,
        "f": asked.f,
        "pitfalls": list(asked.pitfalls),
        "time": None if asked.time is None else str(asked.time),
        "settings": dict(asked.settings),
        "rules": rules,
        "breaks": schedule.breaks,
    }
    text = yaml.safe_dump(head, sort_keys=False, default_flow_style=None, width=120)
    worlds = asked.worlds()
    lines = []
    for step in schedule.steps:
        flow = yaml.safe_dump(step, sort_keys=False, default_flow_style=True, width=1 << 20).strip()
        said = _said(worlds, step)
        lines.append(f"  - {flow}" + (f"  # {said}" if said else ""))
    return _HEAD.format(name=name) + text + "steps:\n" + "\n".join(lines) + "\n"


def _said(worlds: Worlds, data: Mapping[str, Any]) -> str:
    """What the message of a step means."""
    if "body" not in data:
        return ""
    event = _step(worlds, data).event
    assert isinstance(event, int)
    message = worlds.states.packets[event].message
    return " ".join(worlds.model.says(message).split())


def read_schedule(text: str, name: str) -> Schedule:
    """The inverse of write_schedule. Raises UserError."""
    try:
        data = yaml.safe_load(text)
        rules = data["rules"]
        unknown = set(rules) - {one.name for one in fields(Rules)}
        if unknown:
            raise ValueError(f"rules: {', '.join(sorted(unknown))} unknown")
        rules |= {"network": Network(rules["network"]), "finds": tuple(State(find) for find in rules["finds"])}
        asked = Asked(
            engine_called(str(data["engine"]), Files()) or str(data["engine"]),
            data["nodes"],
            data["f"],
            tuple(data["pitfalls"]),
            None if data["time"] is None else Time(data["time"]),
            dict(data["settings"]),
            Rules(**rules),
        )
        return Schedule(asked, tuple(map(dict, data["steps"])), str(data["breaks"]))
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise UserError(f"{name} is no schedule: {why}; testbed explore and testbed search write such files") from None


# -- a schedule is run ------------------------------------------------------------------------------------------------


def replay(worlds: Worlds, steps: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps as they are there. Raises UserError for one that can't happen."""
    world, found = worlds.begin(), []
    for place, data in enumerate(steps, 1):
        try:
            step = _step(worlds, data)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"step {place} of the schedule: {error}; write it as testbed explore does") from None
        if not worlds.can_happen(world, step):
            raise UserError(f"step {place} of the schedule can't happen there: {step_text(worlds, step)}")
        world = worlds.after(world, step)
        found.append(step)
    return found


# -- a schedule in words -----------------------------------------------------------------------------------------------


def step_text(worlds: Worlds, step: Step) -> str:
    """A step in one line."""
    names = [config.name for config in worlds.model.configs]
    name, event = names[step.node], step.event
    if isinstance(event, int) and step.verb is not Verb.CRASH:
        packet = worlds.states.packets[event]
        said = message_text(packet.message, worlds.model.says)
        if step.verb is Verb.DELIVER:
            return f"{name} hears {names[packet.src]}: {said}"
        what = "lost" if step.verb is Verb.DROP else "copied"
        return f"{what}: {names[packet.src]}->{name} {said}"
    if step.verb is Verb.FIRE:
        return f"{name} timer {event}"
    return f"{name} dies" if step.verb is Verb.CRASH else f"{name} starts again, disk {event}"


def story(worlds: Worlds, steps: Sequence[Step]) -> Iterator[str]:
    """What happens and what nodes do, a line each; at the end what is broken, if anything is."""
    world = worlds.begin()
    for place, step in enumerate(steps, 1):
        following = worlds.after(world, step)
        at = f"{time_text(following.now_ns)} " if worlds.model.time is Time.TIMELY else ""
        yield f"{place:3}. {at}{step_text(worlds, step)}{_is_down(worlds, world, step)}"
        for line in _doings(worlds, world, step):
            yield f"       {line}"
        world = following
    if broken := worlds.broken(world):
        yield f"     {broken}"


def _is_down(worlds: Worlds, world: World, step: Step) -> str:
    down = step.verb is Verb.DELIVER and not worlds.states.up[world.nodes[step.node]]
    return " (is down)" if down else ""


def _doings(worlds: Worlds, world: World, step: Step) -> Iterator[str]:
    """What the node does in the step."""
    if step.verb not in (Verb.DELIVER, Verb.FIRE, Verb.RESTART) or _is_down(worlds, world, step):
        return
    now_ns = worlds.after(world, step).now_ns
    _, effects = worlds.states.step(world.nodes[step.node], step.event, now_ns)
    for effect in effects[: step.done]:
        if _is_shown(effect, worlds):
            yield effect_text(effect, worlds.model.configs[step.node], worlds.model.says)
    if step.done is not None:
        yield "dies here"


def _is_shown(effect: Effect, worlds: Worlds) -> bool:
    if isinstance(effect, SetTimer | CancelTimer):
        return worlds.model.time is not Time.STILL
    return bool(worlds.states.finds) or not isinstance(effect, Persist)
