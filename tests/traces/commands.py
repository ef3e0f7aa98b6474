"""The commands of a trace, and how a trace file is read and written. README.md in this folder tells them to users."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Callable
from dataclasses import fields
from typing import NamedTuple

from builders import engine
from network import EVERYTHING, KINDS, Network, Way

from testbed.explore.model import all_pairs
from testbed.nodes.core.config import ProtocolConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.text import time_text
from testbed.nodes.frames import Frame, FrameKey, Kind, Message
from testbed.nodes.registry import engine_spec
from testbed.scenario.units import parse_time

SEPARATOR = "----"


class Block(NamedTuple):
    """A part of a trace: what tells the story (comments, blank lines), the command and the output that it is to have.
    line: the command's, from 1; a part without a command ends the file."""

    line: int
    story: list[str]
    command: str
    expected: list[str]


class TraceError(Exception):
    """A trace can't be read or obeyed: where, what, what would be right."""


def read_trace(text: str) -> list[Block]:
    """The parts of a trace file. Raises TraceError for a command without a separator below it."""
    blocks: list[Block] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        story = at
        while at < len(lines) and (not lines[at].strip() or lines[at].startswith("#")):
            at += 1
        if at == len(lines):
            blocks.append(Block(at, lines[story:], "", []))
            break
        if at + 1 == len(lines) or lines[at + 1] != SEPARATOR:
            raise TraceError(f"line {at + 2}: write {SEPARATOR} below the command {lines[at]!r}")
        end = at + 2
        while end < len(lines) and lines[end].strip():
            end += 1
        blocks.append(Block(at + 1, lines[story:at], lines[at], lines[at + 2 : end]))
        at = end
    return blocks


def run_trace(blocks: list[Block]) -> list[list[str]]:
    """What each command really gives. Raises TraceError for one that can't be obeyed."""
    stage = Stage()
    outputs = []
    for block in blocks:
        try:
            outputs.append(stage.obey(block.command) if block.command else [])
        except (TraceError, ValueError, KeyError, TypeError) as error:
            raise TraceError(f"line {block.line}: {block.command}: {error}") from error
    return outputs


def written(blocks: list[Block], outputs: list[list[str]]) -> str:
    """The file with ``outputs`` in place of what was expected."""
    lines: list[str] = []
    for block, output in zip(blocks, outputs, strict=True):
        lines += block.story
        if block.command:
            lines += [block.command, SEPARATOR, *output]
    return "\n".join(lines) + "\n"


class Line(NamedTuple):
    """A command line: its words and its ``key=value`` options."""

    words: list[str]
    options: dict[str, str]


def _line(command: str) -> Line:
    words, options = [], {}
    for part in shlex.split(command):
        key, equals, value = part.partition("=")
        if equals:
            options[key] = value
        else:
            words.append(part)
    return Line(words, options)


class Stage:
    """What a trace plays on: one Network, set up by the command ``nodes``."""

    def __init__(self) -> None:
        self.net: Network
        self.aside: list[Way] = []

    def obey(self, command: str) -> list[str]:
        """Its output, never empty."""
        (verb, *words), options = _line(command)
        deed: Callable[[list[str], dict[str, str]], list[str]] | None = getattr(self, f"_do_{verb}", None)
        if deed is None:
            known = ", ".join(name.removeprefix("_do_") for name in dir(self) if name.startswith("_do_"))
            raise TraceError(f"there is no command {verb!r}; there are {known}")
        if verb != "nodes" and not hasattr(self, "net"):
            raise TraceError("a trace begins with nodes")
        output = deed(words, options)
        output, self.net.told = output + self.net.told, []
        return output or ["(nothing)"]

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _do_nodes(self, words: list[str], options: dict[str, str]) -> list[str]:
        """nodes N [begun] engine=NAME [fields of ProtocolConfig or the engine's own]: all down so far; ``begun``:
        round or instance 0 has just begun at all of them, which is not told."""
        spec = engine_spec(options.pop("engine", "none"))
        kinds = {field.name: str(field.type) for field in fields(ProtocolConfig)}
        settings: dict[str, object] = {"consensus": spec.name, "instance_rounds": 0}
        own = {field.name for field in fields(spec.parameters)}
        settings["parameters"] = {key: json.loads(options.pop(key)) for key in own & set(options)}
        for key, value in options.items():
            name = f"{key}_ns" if f"{key}_ns" in kinds else key
            settings[name] = (
                parse_time(value) if name.endswith("_ns") else int(value) if kinds[name] == "int" else value
            )
        settings["instance_rounds"] = spec.rounds_per_instance(int(str(settings.get("f", 0))))
        settings.setdefault("period_ns", settings.get("window_ns", ProtocolConfig().window_ns))
        self.net = Network(all_pairs(int(words[0]), ProtocolConfig(**settings)), spec.says)  # type: ignore[arg-type]
        if words[1:] == ["begun"]:
            self._do_start([], {})
            self.net.tick(0)
            self.net.told = []
        return [f"{', '.join(self.net.nodes)} run {spec.name}: {spec.title}"]

    def _do_start(self, words: list[str], options: dict[str, str]) -> list[str]:
        """start [NODE ..]: these, or all, come up."""
        for name in words or list(self.net.nodes):
            self.net.start(name)
        return []

    def _do_crash(self, words: list[str], options: dict[str, str]) -> list[str]:
        """crash NODE: now. With entering=STATE, leaving=STATE or sends=N and perhaps round=R, or with writes=N: at that
        moment of the life that begins next."""
        name = words[0]
        if not options:
            self.net.crash(name)
            return []
        moment = Moment(
            0,
            enters=options.get("entering", ""),
            leaves=options.get("leaving", ""),
            after_sends=int(options.get("sends", 0)),
            after_writes=int(options.get("writes", 0)),
            round=int(options.get("round", -1)),
        )
        self.net.doomed.setdefault(self.net.nodes[name].config.name, []).append(moment)
        return [f"{name} will"]

    def _do_restart(self, words: list[str], options: dict[str, str]) -> list[str]:
        """restart NODE kept|unsynced_lost|torn|lost: the next life, with what is left of the last one's state."""
        name, state = words
        if state not in list(State):
            raise TraceError(f"restart {name} {', '.join(State)}, not {state}")
        self.net.start(name, State(state))
        return []

    def _do_tick(self, words: list[str], options: dict[str, str]) -> list[str]:
        """tick TIME: timers fire up to and including TIME, counted from the beginning of round 0; frames wait."""
        self.net.tick(parse_time(words[0]))
        return []

    # -- frames ------------------------------------------------------------------------------------------------------

    def _do_deliver(self, words: list[str], options: dict[str, str]) -> list[str]:
        """deliver A->B .. [step=S] [round=R] [count=N]: what is under way there arrives, in order."""
        for way in self._chosen(words, options):
            self.net.deliver(way)
        return []

    def _do_drop(self, words: list[str], options: dict[str, str]) -> list[str]:
        """drop A->B ..: what is under way there is lost. Options as for deliver."""
        for way in self._chosen(words, options):
            self.net.lose(way)
        return []

    def _do_duplicate(self, words: list[str], options: dict[str, str]) -> list[str]:
        """duplicate A->B ..: what is under way there will arrive twice. Options as for deliver."""
        for way in self._chosen(words, options):
            self.net.copy(way)
        return []

    def _do_delay(self, words: list[str], options: dict[str, str]) -> list[str]:
        """delay A->B ..: what is under way there is put aside, until ``release``. Options as for deliver."""
        chosen = self._chosen(words, options)
        for way in chosen:
            self.net.wire.remove(way)
        self.aside += chosen
        return [f"put aside: {self.net.way_text(way)}" for way in chosen]

    def _do_release(self, words: list[str], options: dict[str, str]) -> list[str]:
        """release: what was put aside arrives now."""
        waiting, self.aside = self.aside, []
        for way in waiting:
            self.net.hear(way.frame)
        return []

    def _do_inject(self, words: list[str], options: dict[str, str]) -> list[str]:
        """inject A->B KIND [round= step= flags= epoch= answers=]: B hears a frame that A never sent."""
        (src, dst), kind = self._way(words[0]), words[1]
        number = {key: int(value) for key, value in options.items()}
        message = Message(Kind[kind], number.get("round", 0), number.get("step", 1), flags=number.get("flags", 0))
        ends = [self.net.nodes[name].config.node for name in (src, dst)]
        key = FrameKey(ends[0], number.get("epoch", 1), 0)
        self.net.hear(Frame(key, ends[1], number.get("answers", 1), message))
        return []

    def _do_cut(self, words: list[str], options: dict[str, str]) -> list[str]:
        """cut A->B .. or A ..: what is sent there from now on is lost."""
        self.net.cuts |= self._ways(words)
        return ["cut off: " + " ".join("->".join(cut) for cut in sorted(self.net.cuts))]

    def _do_heal(self, words: list[str], options: dict[str, str]) -> list[str]:
        """heal [A->B .. or A ..]: that is over, there or everywhere."""
        self.net.cuts -= self._ways(words) if words else self.net.cuts
        return ["cut off: " + (" ".join("->".join(cut) for cut in sorted(self.net.cuts)) or "nothing")]

    def _do_stabilize(self, words: list[str], options: dict[str, str]) -> list[str]:
        """stabilize: all that is under way arrives, and what is said to it, until the wire is empty; time stands."""
        while self.net.wire:
            self.net.deliver(self.net.wire[0])
        return []

    def _do_play(self, words: list[str], options: dict[str, str]) -> list[str]:
        """play TIME [delay=10us] [loss=P seed=N]: until TIME by itself; every frame takes that long, or is lost."""
        loss, rng = float(options.get("loss", 0)), random.Random(int(options.get("seed", 0)))
        self.net.play(parse_time(words[0]), parse_time(options.get("delay", "10us")), lambda: rng.random() < loss)
        return []

    # -- what is told ------------------------------------------------------------------------------------------------

    def _do_show(self, words: list[str], options: dict[str, str]) -> list[str]:
        """show everything | KIND ..: what is told from now on; headings only above something told, unless ``frame``."""
        shows = EVERYTHING if words == ["everything"] else frozenset(words)
        if unknown := sorted(shows - KINDS):
            raise TraceError(f"nothing is called {', '.join(unknown)}; there are {', '.join(sorted(KINDS))}")
        self.net.shows = shows
        return ["from now on: " + ("everything" if shows == EVERYTHING else ", ".join(words))]

    def _do_wire(self, words: list[str], options: dict[str, str]) -> list[str]:
        """wire: what is under way, in order of sending."""
        return [f"{time_text(way.sent_ns)} {self.net.way_text(way)}" for way in self.net.wire] or ["the wire is empty"]

    def _do_swaps(self, words: list[str], options: dict[str, str]) -> list[str]:
        """swaps: what each end remembers of its swaps."""
        return [
            f"{name} with {self.net.names[link.peer]}: "
            + (", ".join(f"{round_} {end.state}" for round_, end in sorted(link.ends.items())) or "nothing")
            for name, node in self.net.nodes.items()
            if node.machine is not None
            for link in engine(node.machine).links
        ]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _way(self, text: str) -> tuple[str, str]:
        src, arrow, dst = text.partition("->")
        if not arrow or not {src, dst} <= set(self.net.nodes):
            raise TraceError(f"{text!r} is no way from node to node, such as n0->n1")
        return src, dst

    def _ways(self, words: list[str]) -> set[tuple[str, str]]:
        ways = {self._way(word) for word in words if "->" in word}
        alone = [word for word in words if "->" not in word]
        nodes = self.net.nodes
        return ways | {(src, dst) for src in nodes for dst in nodes if src != dst and (src in alone or dst in alone)}

    def _chosen(self, words: list[str], options: dict[str, str]) -> list[Way]:
        ways = self._ways(words)
        if unknown := set(options) - {"step", "round", "count"}:
            raise TraceError(f"no option {', '.join(sorted(unknown))}; there are step, round, count")
        chosen = [
            way
            for way in self.net.wire
            if (self.net.names[way.frame.key.src], self.net.names[way.frame.dst]) in ways
            and all(str(getattr(way.frame.message, key)) == options[key] for key in ("step", "round") if key in options)
        ]
        if not chosen:
            raise TraceError("nothing of the kind is under way")
        return chosen[: int(options.get("count", len(chosen)))]
