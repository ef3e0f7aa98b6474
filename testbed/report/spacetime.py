"""Space-time diagrams as SVG: nodes are vertical lines, time runs downwards, frames are arrows.

``swap_diagram`` shows the frames of one swap in one round, through the switches when the run was captured;
``instance_diagram`` shows who heard whom in each round of a consensus instance that went wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from testbed.history import Event, History, Hop
from testbed.nodes.core import Decide, Propose, Resolve, SwapId, Transition
from testbed.nodes.core.record import Died, Dropped, Received, Sent, Struck
from testbed.nodes.frames import FrameKey
from testbed.plan import Plan
from testbed.report.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, WIDTH, Canvas
from testbed.verdicts.model import Break, Disagreement
from testbed.verdicts.values import value_text

_OUTCOME_COLOUR = {"committed": GREEN, "aborted": PURPLE, "in_doubt": ORANGE}
_WIDTH, _LEFT, _RIGHT, _TOP = WIDTH, 84.0, 84.0, 58.0
_SHORT, _LETTERS = (
    16,
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
)  # characters of a value that a picture has room for; what stands for others
_MAX_INSTANCE_ROUNDS = 16


def nanoseconds(value_ns: float) -> str:
    """A time for people."""
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if abs(value_ns) >= factor:
            return f"{value_ns / factor:.5g} {unit}"
    return f"{value_ns:.0f} ns"


# -- one swap of one round --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flight:
    """One transmission: its send, the instants at which it came in somewhere, and where it was lost, if it was."""

    sent: Sent
    t_ns: int
    sender: str
    receiver: str
    points: tuple[tuple[int, str], ...]
    lost: Hop | None
    arrived: bool


def swap_diagram(plan: Plan, history: History, broken: Break) -> str:
    """The frames of the broken swap, the states of its ends and of the cells between them, the window, and the frame
    that broke it highlighted."""
    low, high = broken.link.split("<->")
    protocol = plan.protocol
    start_ns = broken.round * protocol.period_ns
    number = {name: place for place, name in enumerate(history.names)}
    swap = SwapId(broken.round, number[low], number[high])
    flights = flights_of(plan, history, swap)
    columns = columns_of(plan, history, flights, swap)
    latest = max([time for flight in flights for time, _ in flight.points] + [start_ns + protocol.window_ns])
    span_ns = min(max(1.18 * protocol.window_ns, 1.05 * (latest - start_ns)), 2.4 * protocol.window_ns)
    canvas = Canvas(height=_TOP + 470)
    bottom = canvas.height - 34
    scale = (bottom - _TOP) / span_ns

    def at_y(time_ns: float) -> float:
        return _TOP + (time_ns - start_ns) * scale

    place = _spread(columns)
    _draw_nodes(canvas, place, bottom, ends=(low, high))
    _draw_times(canvas, span_ns)
    _draw_window(canvas, at_y(start_ns + protocol.window_ns), protocol.window_ns)
    for flight in flights:
        _draw_flight(canvas, flight, place, at_y, bottom, guilty=flight.sent.key == broken.key)
    states = states_of(history, swap)
    for name in columns:
        side = "end" if name == low else "start"
        _draw_states(canvas, [event for event in states if event.node == name], place[name], side, at_y, bottom)
    title = swap_title(broken)
    canvas.text(_WIDTH / 2, 16, title, "title", bold=True)
    return canvas.svg(title)


def swap_title(broken: Break) -> str:
    """What its diagram is called; of a swap that did not break, ``kind`` is how it ended, and it has no cause."""
    cause = f" ({broken.cause})" if broken.cause else ""
    return f"round {broken.round}, {broken.link}: {broken.kind}{cause}"


def states_of(history: History, swap: SwapId) -> list[Event]:
    """What the ends of a swap went through, in order."""
    chosen: list[tuple[int, Event]] = []
    for kind in (Transition, Resolve, Died):
        table = history.events.table(kind)
        if kind is not Died:
            table = table.take(table["swap_round"] == swap.round)
        for order, event in zip(table.order.tolist(), table.rows(), strict=True):
            if isinstance(event.what, Died) or event.what.swap == swap:  # type: ignore[union-attr]
                chosen.append((order, event))
    return [event for _, event in sorted(chosen, key=lambda entry: entry[0])]


def flights_of(plan: Plan, history: History, swap: SwapId) -> list[Flight]:
    table = history.events.table(Sent)
    of_round = table.take(table["round"] == swap.round).rows()
    sends = [(event, event.what) for event in of_round if isinstance(event.what, Sent) and event.what.swap == swap]
    wanted = {sent.key for _, sent in sends}
    hops: dict[FrameKey, list[Hop]] = {}
    likely = np.isin(history.hops.key_seq, [key.seq for key in wanted])
    for hop in history.hops.take(likely).rows():
        if hop.key in wanted:
            hops.setdefault(hop.key, []).append(hop)
    arrivals: dict[FrameKey, int] = {}
    for kind in (Received, Dropped):
        table = history.events.table(kind)
        for event in table.take(table["round"] == swap.round).rows():
            what = event.what
            if isinstance(what, Received | Dropped) and what.key in wanted:
                arrivals[what.key] = min(what.at_ns, arrivals.get(what.key, what.at_ns))
    hosts = set(plan.fabric.hosts)
    flights = []
    for event, sent in sends:
        path = sorted(hops.get(sent.key, ()), key=lambda hop: hop.t_ns)
        ways = [(hop.t_ns, hop.node) for hop in path if hop.what == "in" and hop.node not in hosts]
        lost = next((hop for hop in path if hop.what in ("lost", "limit", "cut", "mute", "unknown")), None)
        arrived, receiver = sent.key in arrivals, history.names[sent.dst]
        end = [(arrivals[sent.key], receiver)] if arrived else []
        points = ((event.t_ns, event.node), *_first_visits(ways), *end)
        flights.append(Flight(sent, event.t_ns, event.node, receiver, points, lost, arrived))
    return flights


def _first_visits(ways: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """A copy made by the network passes a second time: the first passage is drawn."""
    seen: dict[str, int] = {}
    for time, node in ways:
        seen.setdefault(node, time)
    return [(time, node) for node, time in seen.items()]


def columns_of(plan: Plan, history: History, flights: Sequence[Flight], swap: SwapId) -> list[str]:
    """The two ends outside, the cells or switches between them in the order in which frames pass them."""
    if plan.cells:
        return [history.names[node] for node in plan.way(swap.low, swap.high)]
    low, high = history.names[swap.low], history.names[swap.high]
    ranks: dict[str, list[float]] = {}
    for flight in flights:
        inner = [node for _, node in flight.points if node not in (low, high)]
        if flight.sender == high:
            inner.reverse()
        for index, node in enumerate(inner):
            ranks.setdefault(node, []).append((index + 1) / (len(inner) + 1))
    order = sorted(ranks, key=lambda node: (sum(ranks[node]) / len(ranks[node]), node))
    return [low, *order, high]


def _spread(columns: Sequence[str]) -> dict[str, float]:
    left, right = _LEFT + 92, _WIDTH - _RIGHT - 24
    step = (right - left) / max(1, len(columns) - 1)
    return {name: left + step * index for index, name in enumerate(columns)}


def _draw_nodes(canvas: Canvas, place: dict[str, float], bottom: float, ends: Sequence[str]) -> None:
    for name, x in place.items():
        end = name in ends
        canvas.line(x, _TOP, x, bottom, "#444B55" if end else "#B9BEC6", "node", 2.0 if end else 1.2)
        canvas.text(x, _TOP - 18, name, "name", bold=end)


def _draw_times(canvas: Canvas, span_ns: float) -> None:
    step = _nice(span_ns / 6)
    scale = (canvas.height - 34 - _TOP) / span_ns
    for index in range(int(span_ns / step) + 1):
        y = _TOP + index * step * scale
        canvas.line(_LEFT - 4, y, _LEFT + 2, y, GREY, "tick", 1.0)
        canvas.text(_LEFT - 9, y + 4, nanoseconds(index * step) if index else "0", "time", "end", GREY)


def _nice(value: float) -> float:
    power = 10.0 ** len(str(int(value))[1:])
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= value)


def _draw_window(canvas: Canvas, y: float, window_ns: int) -> None:
    canvas.line(_LEFT, y, _WIDTH - 8, y, "#444B55", "window", 1.4, "7 4")
    canvas.text(_WIDTH - 8, y - 12, f"W = {nanoseconds(window_ns)}", "window", "end")  # clear of an ending's name at W


def _draw_flight(
    canvas: Canvas,
    flight: Flight,
    place: dict[str, float],
    at_y: Callable[[float], float],
    bottom: float,
    guilty: bool,
) -> None:
    colour = VERMILION if guilty else BLUE
    width = 2.6 if guilty else 1.5
    kind = "frame guilty" if guilty else "frame"
    points = [(place[node], at_y(time)) for time, node in flight.points if node in place]
    times = [time for time, node in flight.points if node in place]
    if points[0][1] > bottom:
        return
    for ((x1, y1), (x2, y2)), canvas.at_ns in zip(pairwise(points), times[1:], strict=True):
        if y1 >= bottom:
            break
        if y2 > bottom:
            edge = x1 + (x2 - x1) * (bottom - y1) / (y2 - y1)
            canvas.line(x1, y1, edge, bottom, colour, kind, width, "3 3")
            canvas.text(edge, bottom + 14, f"arrives {_late(flight)}", "late", colour=colour)
            break
        canvas.line(x1, y1, x2, y2, colour, kind, width, arrow=(x2, y2) == points[-1] and flight.arrived)
    x, y = points[0]
    canvas.at_ns = flight.t_ns
    ahead = 1 if place.get(flight.receiver, x) > x else -1
    canvas.text(x + ahead * 15, y + 17, f"{flight.sent.step}", "step", colour=colour, bold=True)
    if not flight.arrived and points[-1][1] <= bottom:
        canvas.at_ns = flight.lost.t_ns if flight.lost else times[-1]
        _draw_loss(canvas, flight, points, ahead, colour, kind)
    canvas.at_ns = None


def _late(flight: Flight) -> str:
    return nanoseconds(flight.points[-1][0] - flight.t_ns) + " after it was sent"


def _draw_loss(
    canvas: Canvas, flight: Flight, points: Sequence[tuple[float, float]], ahead: int, colour: str, kind: str
) -> None:
    x, y = points[-1]
    canvas.line(x, y, x + ahead * 44, y + 14, colour, kind, 2.0, "4 3")
    where = f"{flight.lost.what} at {flight.lost.nic}" if flight.lost else "never arrived"
    canvas.cross(x + ahead * 50, y + 16, colour, "lost", where)
    y = canvas.free(x + ahead * 60, y + 20, ahead * 7.0 * len(where))
    canvas.text(x + ahead * 60, y, where, "lost", "start" if ahead > 0 else "end", colour)


def _draw_states(
    canvas: Canvas, events: Sequence[Event], x: float, side: str, at_y: Callable[[float], float], bottom: float
) -> None:
    sign = -1 if side == "end" else 1
    taken = -100.0
    resolved = {(event.t_ns, event.what.outcome) for event in events if isinstance(event.what, Resolve)}
    for event in events:
        y, what = at_y(event.t_ns), event.what
        if y > bottom or y < _TOP - 1:
            continue
        canvas.at_ns = event.t_ns
        if isinstance(what, Transition):
            state = what.new
            if (event.t_ns, state.lower()) in resolved:
                continue  # said by the resolution at the same instant
            canvas.dot(x, y, "#444B55", f"state {state}", f"{event.node}: {what.old}>{state}", 3.6)
            taken = max(y + 4, taken + 13)
            canvas.text(x + sign * 9, taken, state.lower().replace("_", " "), "state", side)
        elif isinstance(what, Resolve):
            colour = _OUTCOME_COLOUR[what.outcome]
            canvas.dot(x, y, colour, f"resolve {what.outcome}", f"{event.node}: {what.outcome}", 6.0)
            taken = max(y + 4, taken + 13)
            canvas.text(x + sign * 9, taken, what.outcome.replace("_", " "), "resolve", side, colour, bold=True)
        else:
            canvas.cross(x, y, VERMILION, "died", f"{event.node} died")
    canvas.at_ns = None


# -- one instance of consensus ----------------------------------------------------------------------------------------


def instance_caption(plan: Plan, history: History, found: Disagreement) -> list[str]:
    """What each node decided, and what the letters in the picture stand for, a line each."""
    letters = letters_of(plan, history, found)
    decided = ", ".join(
        f"{node} decided {' and '.join(letters.get(value, value) for value in values)}"
        for node, values in sorted(found.decisions.items())
    )
    return [f"{decided}.", *(f"{letter}: {value}" for value, letter in letters.items())]


def letters_of(plan: Plan, history: History, found: Disagreement) -> dict[str, str]:
    """Letters for what was decided and proposed in an instance, as the verdict tells it, where a picture has no room
    for it; else nothing."""
    told = [value for decided in found.decisions.values() for value in decided]
    told += [value for _, value in proposals_of(plan, history, found.instance)]
    values = sorted(set(told), key=told.index)
    if max(map(len, values)) <= _SHORT:
        return {}
    return {value: _LETTERS[place] if place < len(_LETTERS) else f"#{place + 1}" for place, value in enumerate(values)}


def instance_diagram(plan: Plan, history: History, found: Disagreement) -> str:
    """Who heard whom in each round of the instance, what each member proposed and decided; long values by letters."""
    letters = letters_of(plan, history, found)
    protocol = plan.protocol
    first = found.instance * protocol.instance_rounds
    rounds = list(range(first, first + min(protocol.instance_rounds, _MAX_INSTANCE_ROUNDS)))
    names = [plan.fabric.hosts[member] for member in plan.members]
    height = 96.0
    canvas = Canvas(height=_TOP + 26 + height * len(rounds) + 50)
    top = _TOP + 26
    bottom = top + height * len(rounds)
    place = {
        name: _LEFT + 10 + (_WIDTH - _LEFT - 70) * index / max(1, len(names) - 1) for index, name in enumerate(names)
    }
    values = sorted(
        {value for made in found.decisions.values() for value in made}, key=lambda value: letters.get(value, value)
    )
    start_ns = first * protocol.period_ns
    died = {event.node: event.t_ns for event in history.events.of_kind(Died)}

    def at_y(time_ns: float) -> float:
        return top + height * (time_ns - start_ns) / protocol.period_ns

    for name, x in place.items():
        end = min(bottom, max(top, at_y(died[name]))) if name in died else bottom
        canvas.line(x, top, x, end, "#444B55", "node", 2.0)
        canvas.text(x, 40, name, "name", bold=True)
    for name, value in proposals_of(plan, history, found.instance):
        if name in place:
            canvas.text(place[name], 57, f"proposes {letters.get(value, value)}", "propose", colour=GREY)
    end_ns = start_ns + len(rounds) * protocol.period_ns
    _draw_faults(canvas, [event for event in history.events.of_kind(Struck) if event.t_ns < end_ns], place, at_y)
    for index, round_ in enumerate(rounds):
        y = top + height * index
        canvas.line(4, y, _WIDTH - 8, y, "#C9CDD3", "round", 1.0, "2 3")
        canvas.text(4, y + 16, f"round {round_}", "round", "start", GREY)
        _draw_heard(canvas, history, round_, place, y + 8, y + height - 6)
    for name, x in place.items():
        if name in died and died[name] < end_ns:
            y = max(top, at_y(died[name]))
            canvas.at_ns = died[name]
            canvas.cross(x, y, VERMILION, "died", f"{name} died")
            beside, anchor = _beside(x, 10)
            canvas.text(beside, y + 4, "crashed", "died", anchor, VERMILION)
    decided_ns = {event.node: event.t_ns for event in decisions_of(history, found.instance)}
    for name, made in found.decisions.items():
        for value in made:
            colour = (GREEN, VERMILION, BLUE, PURPLE, ORANGE)[values.index(value) % 5]
            words = f"decides {letters.get(value, value)}"
            canvas.at_ns = decided_ns.get(name)
            canvas.text(place[name], bottom + 20, words, "decide", colour=colour, bold=True)
    canvas.at_ns = None
    for name in names:
        if name not in found.decisions and name not in died:
            canvas.text(place[name], bottom + 20, "undecided", "undecided", colour=GREY)
    decided = ", ".join(letters.get(value, value) for value in values)
    title = f"{protocol.consensus}, instance {found.instance}: decisions {decided}"
    canvas.text(_WIDTH / 2, 16, title, "title", bold=True)
    canvas.text(
        _WIDTH / 2,
        bottom + 42,
        "arrow: heard · dashed: split, the other end heard and this one did not",
        "legend",
        colour=GREY,
    )
    return canvas.svg(title)


def decisions_of(history: History, instance: int) -> list[Event]:
    """Who decided in it, and when; the first decision of each last, so that it stands in a mapping made of them."""
    rows = history.events.table(Decide)
    return list(rows.take(rows["instance"] == instance).rows())[::-1]


def proposals_of(plan: Plan, history: History, instance: int) -> list[tuple[str, str]]:
    """Who proposed what in it."""
    rows = history.events.table(Propose)
    found = rows.take(rows["instance"] == instance).rows()
    return [(event.node, value_text(plan, event.what.value)) for event in found if isinstance(event.what, Propose)]


def _draw_faults(
    canvas: Canvas, faults: Sequence[Event], place: dict[str, float], at_y: Callable[[float], float]
) -> None:
    """What befell the NICs of a node, at its instant, or at the top when it was before the instance."""
    for event in faults:
        verb = event.what.verb if isinstance(event.what, Struck) else ""
        if event.node in place and verb.startswith("nic_"):
            y = max(at_y(event.t_ns), _TOP + 26)
            canvas.at_ns = event.t_ns
            canvas.dot(place[event.node], y, VERMILION, "fault", f"{verb} at {nanoseconds(event.t_ns)}")
            beside, anchor = _beside(place[event.node], 9)
            canvas.text(beside, y + 14, verb.replace("_", " "), "fault", anchor, VERMILION)
    canvas.at_ns = None


def _beside(x: float, away: float) -> tuple[float, str]:
    """Where words about what is at x begin, or end where there is no room to the right of it."""
    return (x - away, "end") if x > _WIDTH - 100 else (x + away, "start")


def _draw_heard(
    canvas: Canvas, history: History, round_: int, place: dict[str, float], top: float, bottom: float
) -> None:
    outcomes: dict[tuple[str, str], tuple[int, str]] = {}
    resolutions = history.events.table(Resolve)
    for event in resolutions.take(resolutions["swap_round"] == round_).rows():
        if isinstance(event.what, Resolve):
            low, high = (history.names[number] for number in event.what.swap[1:])
            peer = high if event.node == low else low
            outcomes.setdefault((event.node, peer), (event.t_ns, event.what.outcome))
    for (node, peer), (canvas.at_ns, outcome) in sorted(outcomes.items()):
        if node not in place or peer not in place:
            continue
        x1, x2 = place[peer], place[node]
        x2 += 4 if x1 > x2 else -4
        if outcome == "committed":
            canvas.line(x1, top, x2, bottom, GREY, "heard", 1.3, arrow=True)
        elif outcomes.get((peer, node), (0, ""))[1] == "committed":
            canvas.line(x1, top, x2, bottom, VERMILION, "split", 2.2, "6 4", arrow=True)
    canvas.at_ns = None
