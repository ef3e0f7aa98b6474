"""Good records of simulated runs, and ways to damage them: what a broken engine, host or file would have left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

from verdict_story import US, plan_on, star

from testbed.engines.sim.engine import SimEngine
from testbed.engines.sim.kernel_record import as_a_kernel_records
from testbed.history import Event, Events, History, Hop, Hops
from testbed.nodes.core.record import Dropped, Received, Sent
from testbed.nodes.frames import FrameKey
from testbed.plan import Fault, Plan, derive_seed
from testbed.topologies.impairment import Impairment

WINDOW_NS = 300 * US
PERIOD_NS = 400 * US


@cache
def run(
    way: Impairment,
    rounds: int = 150,
    faults: tuple[Fault, ...] = (),
    hosts: int = 3,
    seed: int = 3,
    value_bytes: int = 0,
    **protocol: object,
) -> tuple[Plan, History]:
    """A good run of hosts at one switch, every direction of it impaired alike but under its own seed. value_bytes: how
    long Paxos' values are."""
    settings = {"depth": 4, "window_ns": WINDOW_NS, "period_ns": PERIOD_NS, "rounds": rounds} | protocol
    if value_bytes:
        settings |= {"consensus": "paxos", "instances": rounds, "f": 1, "parameters": {"value_bytes": value_bytes}}
    plan = plan_on(star(hosts, way), faults, **settings)
    links = tuple(
        replace(
            link,
            ab=link.ab.with_seed(derive_seed(seed, index, "ab")),
            ba=link.ba.with_seed(derive_seed(seed, index, "ba")),
        )
        for index, link in enumerate(plan.fabric.links)
    )
    whole = replace(
        plan,
        fabric=replace(plan.fabric, links=links),
        duration_ns=(rounds + 2) * plan.protocol.period_ns,
        epsilon_ns=WINDOW_NS,
    )
    return whole, SimEngine().run(whole)


@dataclass
class Damage:
    """A copy of a record that may be changed: rows in lists, in the order of time once ``history`` is asked for."""

    plan: Plan
    events: list[Event]
    hops: list[Hop]
    meta: dict[str, object]
    engine: str
    names: tuple[str, ...]
    complete: bool = True

    @staticmethod
    def of(plan: Plan, history: History, engine: str = "sim") -> Damage:
        """engine: ``vkernel`` leaves out what only ``sim`` records: hops that say why a frame was dropped, traffic."""
        told = history if engine == "sim" else as_a_kernel_records(history, engine)
        return Damage(plan, list(told.events), list(told.hops), dict(told.meta), engine, told.names)

    def history(self) -> History:
        """The record as it stands, in the order of time."""
        events = Events.of(sorted(self.events, key=lambda event: event.t_ns), self.names)
        hops = Hops.of(sorted(self.hops, key=lambda hop: hop.t_ns))
        return History(self.engine, events, hops, dict(self.meta), self.complete)

    # -- what frames there are -----------------------------------------------------------------------------------------

    def crossed(self, link: str) -> list[FrameKey]:
        """The frames that crossed a direction (``host1>leaf1``), in the order in which they arrived."""
        place = self._far_end(link)
        return [hop.key for hop in self.hops if hop.what == "in" and (hop.node, hop.nic) == place]

    def _far_end(self, link: str) -> tuple[str, str]:
        near, _, far = link.partition(">")
        for joint in self.plan.fabric.links:
            for one, other in ((joint.a, joint.b), (joint.b, joint.a)):
                if (one.node, other.node) == (near, far):
                    return other.node, other.nic
        raise ValueError(link)

    # -- damages -------------------------------------------------------------------------------------------------------

    def delay(self, link: str, by_ns: Callable[[int, int], int]) -> None:
        """Frames arrive later at the far end of ``link``, and everywhere behind it, by ``by_ns(number, its delay)``."""
        place = self._far_end(link)
        entered = {event.what.key: event.t_ns for event in self.events if isinstance(event.what, Sent)}
        near = link.partition(">")[0]
        for hop in self.hops:
            if hop.what == "in" and hop.node == near:
                entered[hop.key] = hop.t_ns
        arrived: dict[FrameKey, int] = {}
        shift: dict[FrameKey, int] = {}
        for hop in self.hops:
            if hop.what == "in" and (hop.node, hop.nic) == place and hop.key not in shift:
                shift[hop.key] = by_ns(len(shift), hop.t_ns - entered[hop.key])
                arrived[hop.key] = hop.t_ns
        for number, hop in enumerate(self.hops):
            if hop.key in shift and hop.t_ns >= arrived[hop.key] and not (hop.what == "in" and hop.node == near):
                self.hops[number] = hop._replace(t_ns=hop.t_ns + shift[hop.key])
        for number, event in enumerate(self.events):
            if isinstance(event.what, Received | Dropped) and event.what.key in shift:
                self.events[number] = moved(event, shift[event.what.key])

    def delay_all(self, by_ns: Callable[[int, int], int]) -> None:
        """Every frame of every direction, as ``delay``."""
        for link in self.plan.fabric.links:
            self.delay(f"{link.a.node}>{link.b.node}", by_ns)
            self.delay(f"{link.b.node}>{link.a.node}", by_ns)

    def lose(self, link: str, keys: Iterable[FrameKey], what: str = "lost") -> None:
        """Frames do not get over ``link``: a hop says so in ``sim``, elsewhere they are not seen again."""
        place, gone = self._far_end(link), set(keys)
        near = link.partition(">")[0]
        at = {hop.key: hop.t_ns for hop in self.hops if hop.what == "in" and (hop.node, hop.nic) == place}
        entries = {hop.key: hop.t_ns for hop in self.hops if hop.what == "in" and hop.node == near}
        entries |= {
            event.what.key: event.t_ns for event in self.events if isinstance(event.what, Sent) and event.node == near
        }
        tx = next(
            one.nic
            for joint in self.plan.fabric.links
            for one, other in ((joint.a, joint.b), (joint.b, joint.a))
            if (one.node, (other.node, other.nic)) == (near, place)
        )
        kept: list[Hop] = []
        for hop in self.hops:
            if hop.key not in gone or hop.t_ns < at[hop.key] or (hop.what == "in" and hop.node == near):
                kept.append(hop)
            elif self.engine == "sim" and hop.what == "in" and (hop.node, hop.nic) == place:
                kept.append(hop._replace(t_ns=entries[hop.key], node=near, nic=tx, what=what))
        self.hops = kept
        self.drop_events(lambda event: isinstance(event.what, Received | Dropped) and event.what.key in gone)
        traffic = self.meta.get("traffic")
        if isinstance(traffic, dict):
            self.meta["traffic"] = traffic | {
                what: traffic[what] + len(gone),
                "delivered": traffic["delivered"] - len(gone),
            }

    def drop_events(self, wanted: Callable[[Event], bool]) -> None:
        """Events are missing."""
        self.events = [event for event in self.events if not wanted(event)]

    def drop_hops(self, wanted: Callable[[Hop], bool]) -> None:
        """Hops are missing."""
        self.hops = [hop for hop in self.hops if not wanted(hop)]

    def change(self, wanted: Callable[[Event], bool], how: Callable[[Event], Event], first: int = 1 << 60) -> int:
        """The first events that are wanted are changed; how many were."""
        changed = 0
        for number, event in enumerate(self.events):
            if changed < first and wanted(event):
                self.events[number] = how(event)
                changed += 1
        return changed


def moved(event: Event, by_ns: int) -> Event:
    """The event, and the stamp in it, so much later."""
    stamps = {name: getattr(event.what, name) + by_ns for name in ("at_ns", "due_ns") if hasattr(event.what, name)}
    return with_(event, **stamps)._replace(t_ns=event.t_ns + by_ns)


def with_(event: Event, **fields: object) -> Event:
    """The event with other fields of what happened."""
    return event._replace(what=event.what._replace(**fields))
