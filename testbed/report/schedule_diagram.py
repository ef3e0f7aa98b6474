"""A schedule as a picture: nodes are vertical lines, each step is a row, messages are arrows from their sending on."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testbed.explore.worlds import Network, Step, Verb, World, Worlds
from testbed.nodes.core import Decide, Effect
from testbed.nodes.core.values import text
from testbed.report.canvas import BLUE, GREEN, GREY, ORANGE, VERMILION, Canvas

_WIDTH, _TOP, _ROW = 980.0, 70.0, 22.0
_LETTER = 6.7  # pixels that a character takes, about
_NUMBERS, _BESIDE = 44.0, 20.0  # pixels for the steps' numbers, and from the last node to the words
_LEGEND = "dot: a timer fires · arrow: a message comes · dashed: it is lost · dotted: it is still under way"
_FROM_TO = {Verb.DELIVER, Verb.DROP, Verb.COPY}


def schedule_diagram(
    worlds: Worlds, steps: Sequence[Step], title: str, ways: Mapping[bytes, Sequence[Step]] | None = None
) -> str:
    """The schedule as SVG. ways: how it may go on, drawn below, side by side, each under the value that it leads to."""
    ways = ways or {}
    longest = max((len(way) for way in ways.values()), default=0)
    fork = _TOP + _ROW * (len(steps) + 1)
    canvas = Canvas(fork + (60 + _ROW * (longest + 1) if ways else 0) + 30, _WIDTH)
    canvas.text(_WIDTH / 2, 18, title, "title", bold=True)
    canvas.text(_WIDTH / 2, canvas.height - 10, _LEGEND, "legend", colour=GREY)
    panel = _Panel(canvas, worlds, 0.0, _WIDTH, _TOP, 96.0)
    world, under_way = panel.draw(worlds.begin(), steps, {})
    panel.close(fork, under_way)
    width = _WIDTH / max(1, len(ways))
    for place, (value, way) in enumerate(sorted(ways.items())):
        half = _Panel(canvas, worlds, width * place, width, fork + 60, 40.0)
        canvas.text(half.left + 8, fork + 26, f"{len(way)} steps on: {text(value)}", "way", "start", GREEN, bold=True)
        _, rest = half.draw(world, way, under_way)
        half.close(half.top + _ROW * (len(way) + 1), rest)
    return canvas.svg(title)


_UnderWay = Mapping[int, Sequence[int]]
"""Of each message, by its number, at which rows those of it were sent that are under way; -1: before the first row."""


@dataclass
class _Panel:
    """One column of rows. left, width, top: where it stands. gap: between nodes, at most."""

    canvas: Canvas
    worlds: Worlds
    left: float
    width: float
    top: float
    gap: float

    def __post_init__(self) -> None:
        names = [config.name for config in self.worlds.model.configs]
        gap = min(self.gap, self.width / 3 / max(1, len(names) - 1))
        self.places = [self.left + _NUMBERS + 14 + gap * node for node in range(len(names))]
        self.words = self.places[-1] + _BESIDE
        for name, x in zip(names, self.places, strict=True):
            self.canvas.text(x, self.top - 14, name, "name", bold=True)

    def draw(self, world: World, steps: Sequence[Step], before: _UnderWay) -> tuple[World, _UnderWay]:
        """All steps; what the world is after them, and what is under way there."""
        waiting: dict[int, deque[int]] = defaultdict(deque)
        for packet in world.wire:
            waiting[packet].append(-1)
        for packet, rows in before.items():
            waiting[packet] = deque([-1] * len(rows))
        for row, step in enumerate(steps):
            following = self.worlds.after(world, step)
            decided = [effect.value for effect in self._effects(world, step) if isinstance(effect, Decide)]
            self._draw_step(row, step, waiting)
            self._draw_words(row, step, decided)
            new = Counter(following.wire)
            new.subtract(world.wire)
            if step.verb in (Verb.DELIVER, Verb.DROP) and self.worlds.rules.network is not Network.SET:
                new[self._packet(step)] += 1
            for packet, count in new.items():
                waiting[packet].extend([row] * count)
            world = following
        return world, {packet: list(rows) for packet, rows in waiting.items() if rows and packet in world.wire}

    def close(self, bottom: float, under_way: _UnderWay) -> None:
        """The nodes' lines, and where what is under way comes from."""
        for x in self.places:
            self.canvas.line(x, self.top - 6, x, bottom, "#444B55", "node", 1.6)
        for packet, rows in under_way.items():
            one = self.worlds.states.packets[packet]
            for row in rows:
                x, y = self.places[one.src], self._y(row)
                ahead = 1 if one.dst > one.src else -1
                self.canvas.line(x, y, x + ahead * 16, y + 9, GREY, "under way", 1.2, "2 3")

    def _y(self, row: int) -> float:
        return self.top + _ROW * (row + 0.5)

    def _packet(self, step: Step) -> int:
        assert isinstance(step.event, int)
        return step.event

    def _effects(self, world: World, step: Step) -> Sequence[Effect]:
        """What the node does."""
        up = self.worlds.states.up[world.nodes[step.node]]
        if step.verb not in (Verb.DELIVER, Verb.FIRE, Verb.RESTART) or (step.verb is Verb.DELIVER and not up):
            return ()
        now_ns = self.worlds.after(world, step).now_ns
        return self.worlds.states.step(world.nodes[step.node], step.event, now_ns)[1][: step.done]

    def _draw_step(self, row: int, step: Step, waiting: dict[int, deque[int]]) -> None:
        x, y, name = self.places[step.node], self._y(row), str(step.verb)
        if step.verb in (Verb.DELIVER, Verb.DROP):
            self._draw_message(row, step, waiting)
        elif step.verb is Verb.FIRE:
            self.canvas.dot(x, y, ORANGE, name, str(step.event))
        elif step.verb is Verb.RESTART:
            self.canvas.dot(x, y, GREEN, name)
        if step.verb is Verb.CRASH or step.done is not None:
            self.canvas.cross(x, y, VERMILION, "died")

    def _draw_message(self, row: int, step: Step, waiting: dict[int, deque[int]]) -> None:
        packet = self._packet(step)
        sent = waiting[packet].popleft() if waiting[packet] else -1
        x1, y1 = self.places[self.worlds.states.packets[packet].src], self._y(sent)
        x2, y2 = self.places[step.node], self._y(row)
        if step.verb is Verb.DELIVER:
            self.canvas.line(x1, y1, x2 - (2 if x2 > x1 else -2), y2, BLUE, "deliver", 1.3, arrow=True)
            return
        x2, y2 = x1 + 0.7 * (x2 - x1), y1 + 0.7 * (y2 - y1)
        self.canvas.line(x1, y1, x2, y2, VERMILION, "drop", 1.6, "5 3")
        self.canvas.cross(x2, y2, VERMILION, "drop")

    def _draw_words(self, row: int, step: Step, decided: Sequence[bytes]) -> None:
        y = self._y(row) + 4
        self.canvas.text(self.left + _NUMBERS - 8, y, str(row + 1), "number", "end", GREY)
        ends = "".join(f", decides {text(value)}" for value in decided)
        room = int((self.left + self.width - self.words) / _LETTER) - len(ends)
        said = self._said(step)
        said = said if len(said) <= room else said[: room - 1] + "…"
        colour = GREEN if decided else VERMILION if step.verb is Verb.DROP else "currentColor"
        self.canvas.text(self.words, y, said + ends, "said", "start", colour, bold=bool(decided))

    def _said(self, step: Step) -> str:
        configs, states = self.worlds.model.configs, self.worlds.states
        name = configs[step.node].name
        if step.verb in _FROM_TO:
            packet = states.packets[self._packet(step)]
            meaning = " ".join(self.worlds.model.says(packet.message).split())
            what = {Verb.DELIVER: "hears", Verb.DROP: "does not hear", Verb.COPY: "will hear twice"}[step.verb]
            said = f"{name} {what} {configs[packet.src].name}: {meaning}"
        elif step.verb is Verb.FIRE:
            said = f"{name} timer {step.event}"
        else:
            said = f"{name} dies" if step.verb is Verb.CRASH else f"{name} starts again, disk {step.event}"
        return said + (", and dies" if step.done is not None else "")
