"""A scenario laid over its fabric: which direction does what, who takes part, which faults strike whom. No seed enters.

Everything that needs the fabric to be checked is checked here; all problems are reported together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from testbed.faults import VERBS, Order
from testbed.nodes.core.clock import Clock
from testbed.nodes.core.config import START_NS, ProtocolConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.lies import FOREVER_NS, Lie, LieKind
from testbed.nodes.core.moments import Moment
from testbed.nodes.registry import engine_spec, engine_specs, service_spec
from testbed.own_engines import Files
from testbed.plan import Captures
from testbed.scenario.custom import custom_fabric, installed_fabric
from testbed.scenario.document import Document
from testbed.scenario.errors import FieldError, ScenarioError, shown, suggestion
from testbed.scenario.errors import Path as KeyPath
from testbed.scenario.from_file import file_fabric
from testbed.scenario.model import (
    MOST_BLOWS,
    ClockSync,
    CustomTopology,
    FaultOrder,
    FromFileTopology,
    InstalledTopology,
    LieOrder,
    MeasuredDelays,
    OwnFault,
    RandomPlan,
    Trigger,
    Written,
    instant_ns,
)
from testbed.scenario.neighbourhoods import ALL, REACH, neighbours, pairs, strangers_among
from testbed.scenario.own_faults import orders_of
from testbed.scenario.parameters import mix_model, parameters_model
from testbed.scenario.problems import problem_lines
from testbed.scenario.random_faults import Budget, draw_faults
from testbed.scenario.selectors import Matches, is_of_a_place, matcher, parse_selector, selected
from testbed.scenario.settings import make_impairment, settings_of
from testbed.topologies.build import make_fabric
from testbed.topologies.cells import as_cells
from testbed.topologies.draw import spell_time
from testbed.topologies.fabric import Fabric
from testbed.topologies.impairment import Impairment
from testbed.topologies.netem import correlation_remark, netem_params
from testbed.topologies.paths import hop_bound
from testbed.topologies.routes import Routes
from testbed.topologies.tables import greatest_delay_ns, least_delay_ns

Settings = dict[str, Any]
Direction = tuple[int, str]

_EXACT_PATHS_UP_TO = 48  # participants; above that, delays over the longest path are bounded instead of followed


@dataclass(frozen=True)
class Resolved:
    """fabric: with clean links, and the forwarding that the neighbours need. routes: over the whole of it. impairments:
    one per direction, still without seeds. peers: participant -> its neighbours, as node numbers; None: everybody else.
    drawn: the lines of orders that came of chance. lies: of those participants that have any to tell.

    cells: the switches that are nodes and carry swaps; they stand behind the fabric's hosts.
    clocks: per host that has one of its own, its clock from the start on, still without its seed.
    neighbourhood: the kind that peers came of. clients: the hosts that ask for the service. mix: what they ask for.
    protocol: what all nodes share, still without its seed. settle_ns: from the end of the last round to the end of the
    run.
    """

    fabric: Fabric
    routes: Routes
    impairments: dict[Direction, Impairment]
    participants: tuple[str, ...]
    clients: tuple[str, ...]
    cells: tuple[str, ...]
    mix: dict[str, Any]
    neighbourhood: str
    peers: dict[int, tuple[int, ...]] | None
    clocks: dict[str, Clock]
    orders: tuple[Order, ...]
    drawn: tuple[str, ...]
    lies: dict[int, tuple[Lie, ...]]
    protocol: ProtocolConfig
    settle_ns: int
    capture: bool | Captures
    warnings: tuple[str, ...]


def resolve(written: Written, document: Document, base_dir: Path) -> Resolved:
    """Lays what was written over its fabric. Raises ScenarioError with all problems found.

    document: where it stands, for their lines. base_dir: from where paths in it count.
    """
    return _Resolver(written, document, base_dir).resolve()


@dataclass
class _Problems:
    document: Document
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, path: KeyPath, what: str) -> None:
        self.errors.append(self.document.problem(path, what))

    def warn(self, path: KeyPath, what: str) -> None:
        self.warnings.append(self.document.problem(path, what))

    def stop(self) -> None:
        if self.errors:
            raise ScenarioError(list(dict.fromkeys(self.errors)))


class _Resolver:
    def __init__(self, scenario: Written, document: Document, base_dir: Path) -> None:
        self.scenario = scenario
        self.document = document
        self.base_dir = base_dir
        self.problems = _Problems(document)
        self.engine = engine_spec(scenario.protocol.engine)
        self.drawn: tuple[str, ...] = ()

    def resolve(self) -> Resolved:
        self.plain = self._routes()
        self.routes = self._cells(self.plain)
        self.fabric = self.routes.fabric
        self.cells = self.fabric.hosts[len(self.plain.fabric.hosts) :]
        self.settings = self._settings()
        self.problems.stop()
        impairments = self._impairments()
        self.participants = self._participants()
        self.clients = self._clients()
        mix = self._mix()
        clocks = self._clocks()
        self.problems.stop()
        self.pairs = self._neighbourhood()
        self._check_f()
        self.protocol = self._protocol()
        orders = self._orders()
        self._check_drifts(orders, clocks)
        lies = self._lies()
        capture = self._capture()
        self.problems.stop()
        longest, shortest = self._path_delays(impairments)
        self._warn_about_time(shortest)
        needed_ns = self.engine.settle_ns(self.protocol, len(self.participants), longest)
        own = self.scenario.settle
        return Resolved(
            fabric=self.fabric if self.pairs is None else self._forwarding_for(self.pairs),
            routes=self.routes,
            impairments=impairments,
            participants=self.participants,
            clients=self.clients,
            cells=self.cells,
            mix=mix,
            neighbourhood=self.neighbourhood,
            peers=None if self.pairs is None else neighbours(self.members, self.pairs),
            clocks=clocks,
            orders=tuple(order for _, order in orders),
            drawn=self.drawn,
            lies=lies,
            protocol=replace(self.protocol, settle_ns=needed_ns),
            settle_ns=max(0, needed_ns - self.protocol.period_ns) if own is None else own,
            capture=capture,
            warnings=tuple(dict.fromkeys(self.problems.warnings)),
        )

    # -- the fabric ---------------------------------------------------------------------------------------------

    def _routes(self) -> Routes:
        topology = self.scenario.topology
        try:
            if isinstance(topology, CustomTopology):
                return Routes(custom_fabric(topology.custom, Files(self.base_dir, self.document.files)))
            if isinstance(topology, InstalledTopology):
                return Routes(installed_fabric(topology))
            if isinstance(topology, FromFileTopology):
                return Routes(file_fabric(topology, self.base_dir))
            chosen = topology.model_dump()
            return _known_routes(chosen.pop("kind"), tuple(chosen.items()))
        except FieldError as error:
            raise ScenarioError(self.document.problem(("topology", *error.path), str(error))) from None
        except ValueError as error:
            raise ScenarioError(self.document.problem(("topology",), str(error))) from None

    def _cells(self, plain: Routes) -> Routes:
        """The fabric with its switches as nodes, where they are to be."""
        if self.scenario.switches == "plain":
            return plain
        try:
            return Routes(as_cells(plain.fabric))
        except ValueError as error:
            raise ScenarioError(self.document.problem(("switches",), f"{error}; take plain")) from None

    # -- the links ----------------------------------------------------------------------------------------------

    def _settings(self) -> dict[Direction, Settings]:
        """Per direction, the merged settings: what the user's class says of the link (nothing, where the class is one
        of the project's), then ``default``, then the other selectors as written."""
        found: dict[Direction, Settings] = {
            (index, way): settings_of(getattr(link, way))
            for index, link in enumerate(self.fabric.links)
            for way in ("ab", "ba")
        }
        links = self.scenario.links
        self.last_selector: dict[Direction, str] = {}
        for text in sorted(links, key=lambda text: text != "default"):
            try:
                meant = list(found) if text == "default" else selected(self.fabric, parse_selector(text))
            except ValueError as error:
                self.problems.error(("links", text), str(error))
                continue
            said = links[text].settings()
            self._warn_of_kept(text, said, [found[direction] for direction in meant])
            for direction in meant:
                found[direction].update(said)
                self.last_selector[direction] = text
        return found

    def _warn_of_kept(self, text: str, said: Settings, before: Sequence[Settings]) -> None:
        """Measured delays bring a mean and a deviation, but not where an earlier line, or the class, has said some."""
        if not isinstance(said.get("distribution"), MeasuredDelays):
            return
        names = [name for name in ("delay", "jitter") if name not in said and any(name in each for each in before)]
        if not names:
            return
        try:
            measured = make_impairment({"distribution": said["distribution"]}, self.base_dir)
        except ValueError:
            return  # told by whoever makes the impairment
        times = {"delay": measured.delay_ns, "jitter": measured.jitter_ns}
        self.problems.warn(
            ("links", text, "distribution"),
            f"leaves {' and '.join(names)} as an earlier line, or the topology, says; for what was measured, write "
            f"{', '.join(f'{name}: {times[name]}ns' for name in names)} here",
        )

    def _impairments(self) -> dict[Direction, Impairment]:
        found: dict[Direction, Impairment] = {}
        made: dict[str, Impairment] = {}
        for direction, settings in self.settings.items():
            text = self.last_selector.get(direction, "")
            key = f"{text}\0{settings!r}"
            if key not in made:
                made[key] = self._impairment(settings, ("links", text) if text else ("topology",))
            found[direction] = made[key]
        return found

    def _impairment(self, settings: Mapping[str, Any], path: KeyPath) -> Impairment:
        try:
            impairment = make_impairment(settings, self.base_dir)
            netem_params(impairment)
        except FieldError as error:
            self.problems.error((*path, *error.path), str(error))
            return Impairment()
        except ValueError as error:
            self.problems.error(path, str(error))
            return Impairment()
        self._warn_about(impairment, settings, path)
        return impairment

    def _warn_about(self, impairment: Impairment, settings: Mapping[str, Any], path: KeyPath) -> None:
        raw_least = least_delay_ns(impairment, clip=False)
        if impairment.jitter_ns and raw_least < 0:
            self.problems.warn(
                (*path, "jitter"),
                f"reaches {spell_time(-raw_least)} below zero: such frames take 1 ns, so probability piles up "
                f"there; raise delay or narrow jitter",
            )
        remark = correlation_remark(impairment)
        if remark:
            self.problems.warn((*path, "correlation"), remark)
        if impairment.rate_bps and settings.get("order") == "free" and impairment.jitter_ns:
            self.problems.warn((*path, "order"), "is free, but netem keeps frames in order once a rate is set")
        if settings.get("distribution") not in (None, "uniform") and not impairment.jitter_ns:
            self.problems.warn((*path, "distribution"), "does nothing without jitter")

    # -- who takes part -----------------------------------------------------------------------------------------

    def _participants(self) -> tuple[str, ...]:
        hosts = self.plain.fabric.hosts
        chosen: set[str] = set()
        for place, pattern in enumerate(self.scenario.protocol.participants):
            chosen.update(self._matching(pattern, ("protocol", "participants", place)))
        if not self.problems.errors and len(chosen) < 2:
            listed = ", ".join(chosen)
            self.problems.error(
                ("protocol", "participants"),
                f"a protocol needs two participants at least, here only {listed} takes part",
            )
        return tuple(host for host in hosts if host in chosen)

    def _matching(self, pattern: str, path: KeyPath, nodes: Sequence[str] = ()) -> list[str]:
        """The hosts that are meant; where others are, too: those of ``nodes``."""
        among, before = nodes or self.plain.fabric.hosts, len(self.problems.errors)
        meant = self._matcher(pattern, path)
        matching = [node for node in among if meant(node)]
        if not matching and len(self.problems.errors) == before:
            what = "node" if nodes else "host"
            self.problems.error(path, f"{shown(pattern)} matches no {what}; {suggestion(pattern, among)}")
        return matching

    def _clients(self) -> tuple[str, ...]:
        """The hosts that ask for the service; they are no participants."""
        clients = self.scenario.clients
        if clients is None:
            return ()
        chosen: set[str] = set()
        for place, pattern in enumerate(clients.hosts):
            chosen.update(self._matching(pattern, ("clients", "hosts", place)))
        both = [host for host in self.participants if host in chosen]
        if both:
            self.problems.error(
                ("clients", "hosts"),
                f"{both[0]} takes part in the protocol; a client does not: leave it out here or in "
                "protocol.participants",
            )
        return tuple(host for host in self.fabric.hosts if host in chosen)

    def _clocks(self) -> dict[str, Clock]:
        """Hosts' own clocks; one that nothing befalls has to be one that tells the time at all."""
        merged: dict[str, dict[str, Any]] = {}
        last: dict[str, str] = {}
        for pattern, settings in self.scenario.clocks.items():
            for host in self._matching(pattern, ("clocks", pattern), self.fabric.hosts if self.cells else ()):
                fields = {name: getattr(settings, name) for name in settings.model_fields_set}
                merged.setdefault(host, {}).update(fields)
                last[host] = pattern
        found: dict[str, Clock] = {}
        for host, fields in merged.items():
            try:
                found[host] = _clock(fields.get("offset") or 0, fields.get("drift") or 0, fields.get("sync"))
            except ValueError as error:
                self.problems.error(("clocks", last[host]), str(error))
        return found

    def _mix(self) -> dict[str, Any]:
        """What the clients ask for, all of it."""
        service, clients = self.scenario.service, self.scenario.clients
        if service is None or clients is None:
            return {}
        try:
            mix = mix_model(service.kind).model_validate(clients.mix).model_dump()
            service_spec(service.kind).mix(**mix)
        except ValidationError as error:
            self.problems.errors += problem_lines(error, self.document, below=("clients", "mix"))
        except ValueError as error:
            self.problems.error(("clients", "mix"), str(error))
        else:
            return mix
        return {}

    def _capture(self) -> bool | Captures:
        """The links and nodes that captures are wanted of."""
        asked = self.scenario.capture
        if isinstance(asked, bool):
            return asked
        links: set[int] = set()
        for place, text in enumerate(asked.links):
            try:
                selector = parse_selector(text)
                if not selector.both_ways:
                    raise ValueError(f"{text}: the capture of a link holds both directions; write <-> in place of ->")
                links.update(index for index, _ in selected(self.fabric, selector))
            except ValueError as error:
                self.problems.error(("capture", "links", place), str(error))
        nodes = (*self.fabric.hosts, *self.fabric.switches)
        chosen: set[str] = set()
        for place, pattern in enumerate(asked.nodes):
            chosen.update(self._matching(pattern, ("capture", "nodes", place), nodes))
        return Captures(tuple(sorted(links)), tuple(node for node in nodes if node in chosen))

    def _matcher(self, pattern: str, path: KeyPath) -> Matches:
        """Which nodes a pattern means; none where it can't mean any, which is told."""
        try:
            return matcher(self.fabric, pattern)
        except ValueError as error:
            self.problems.error(path, str(error))
            return lambda _: False

    @property
    def members(self) -> tuple[int, ...]:
        """The participants' numbers."""
        numbers = {host: number for number, host in enumerate(self.fabric.hosts)}
        return tuple(numbers[host] for host in self.participants)

    @property
    def running(self) -> tuple[str, ...]:
        """The nodes on which something runs."""
        return (*self.participants, *self.clients, *self.cells)

    def _neighbourhood(self) -> list[tuple[int, int]] | None:
        """The pairs of neighbours; None when everybody is everybody's."""
        path: KeyPath = ("protocol", "neighbourhood")
        apart = strangers_among(self.members, self.plain.fabric)
        kind = self.neighbourhood = self.scenario.protocol.neighbourhood or (REACH if apart else ALL)
        if self.engine.all_pairs and (apart or kind != ALL):
            self.problems.error(path, self._speaks_with_all(kind, apart))
        if kind == ALL and not apart:
            return None
        found = pairs(kind, self.members, self.plain.fabric, self.scenario.protocol.neighbourhood_width or 0)
        hosts = self.fabric.hosts
        beyond = next((pair for pair in found if pair in apart), None)
        if beyond:
            one, other = (hosts[member] for member in beyond)
            self.problems.error(path, f"{kind}, but {one} can't reach {other}: hosts do not forward; take {REACH}")
        lonely = sorted(set(self.members) - {member for pair in found for member in pair})
        if lonely:
            self.problems.error(
                path,
                f"{kind} leaves {hosts[lonely[0]]} without a neighbour; take another, or leave it out of participants",
            )
        if apart:
            self.problems.stop()  # what follows looks for paths
        return found

    def _speaks_with_all(self, kind: str, apart: Collection[tuple[int, int]]) -> str:
        others = ", ".join(spec.name for spec in engine_specs() if not spec.all_pairs)
        everybody = f"but in {self.engine.name} every member speaks with every other"
        if not apart:
            return f"{kind}, {everybody}; take {ALL}, or an engine that does with neighbours: {others}"
        one, other = (self.fabric.hosts[member] for member in min(apart))
        return (
            f"{one} can't reach {other} (hosts do not forward), {everybody}; take another fabric, fewer participants, "
            f"or an engine that does with neighbours: {others}"
        )

    def _forwarding_for(self, found: list[tuple[int, int]]) -> Fabric:
        """The fabric with the entries that frames between neighbours pass, and no others."""
        entries: dict[str, dict[str, str]] = {switch: {} for switch in self.fabric.forwarding}
        hosts, whole = self.fabric.hosts, self.fabric.forwarding
        for low, high in found:
            for src, dst in ((hosts[low], hosts[high]), (hosts[high], hosts[low])):
                address = self.plain.port(src, dst).mac
                for crossing in self.plain.path(src, dst)[:-1]:
                    link = self.fabric.links[crossing.link]
                    switch = (link.b if crossing.way == "ab" else link.a).node
                    entries[switch][address] = whole[switch][address]
        return replace(self.fabric, forwarding=entries)

    def _check_f(self) -> None:
        protocol, n = self.scenario.protocol, len(self.participants)
        most = self.engine.most_f(n)
        if self.engine.decides and protocol.f > most:
            self.problems.error(
                ("protocol", "f"),
                f"{protocol.f} is too large: {self.engine.name} needs {self.engine.rule} and {n} hosts take part; "
                f"{most} is the most",
            )

    def _protocol(self) -> ProtocolConfig:
        protocol = self.scenario.protocol
        instance_rounds = self.engine.rounds_per_instance(protocol.f)
        before = len(self.problems.errors)
        config = ProtocolConfig(
            consensus=protocol.engine,
            handshake=protocol.handshake,
            depth=protocol.depth,
            horizon=protocol.horizon,
            window_ns=protocol.window,
            period_ns=protocol.period_ns,
            rounds=protocol.count if self.engine.made_of_swaps else 0,
            instances=protocol.count // instance_rounds if self.engine.decides else 0,
            f=protocol.f,
            retry_ns=protocol.retry_ns,
            instance_rounds=instance_rounds,
            inputs=protocol.inputs,
            parameters=self._parameters(),
        )
        self._check_inputs()
        wrong = self.engine.wrong(config, len(self.participants)) if len(self.problems.errors) == before else ""
        if wrong:
            self.problems.error(("protocol", "parameters"), wrong)
        return config

    def _check_inputs(self) -> None:
        """Random bits are for who proposes in instances: submissions to a log, and calls of clients, must differ."""
        if self.scenario.protocol.inputs == "distinct":
            return
        why = ""
        if self.scenario.service is not None:
            why = "the service's clients say what is put in order"
        elif self.engine.keeps_a_log:
            why = f"what is submitted to {self.engine.name} differs, so that each can be told from the others"
        if why:
            self.problems.error(
                ("protocol", "inputs"), f"{self.scenario.protocol.inputs} has no meaning here: {why}; leave it out"
            )

    def _parameters(self) -> dict[str, Any]:
        """The engine's own settings, all of them, times in nanoseconds."""
        protocol = self.scenario.protocol
        model = parameters_model(protocol.engine)
        below: KeyPath = (
            ("protocol", "custom", "args") if protocol.custom and protocol.custom.args else ("protocol", "parameters")
        )
        try:
            return model.model_validate(protocol.settings).model_dump()
        except ValidationError as error:
            self.problems.errors += problem_lines(error, self.document, lambda *_: list(model.model_fields), below)
            return {}

    # -- faults -------------------------------------------------------------------------------------------------

    def _faults(self) -> list[tuple[int, FaultOrder]]:
        """Those that are listed, or drawn, each with its place in the list; of the user's own what they are made of."""
        if not isinstance(self.scenario.faults, RandomPlan):
            listed = enumerate(self.scenario.faults)
            return [(place, order) for place, fault in listed for order in self._made_of(fault, place)]
        spec, path = self.scenario.faults.random, ("faults", "random")
        period_ns = self.scenario.protocol.period_ns
        from_ns, until_ns = instant_ns(spec.from_, period_ns), instant_ns(spec.until, period_ns)
        hosts = [host for host in self._running(spec.on, (*path, "on")) if host not in self.cells]
        if until_ns <= from_ns:
            self.problems.error((*path, "until"), f"{spec.until} is not after {spec.from_}, from:")
        self.problems.stop()
        budget = Budget(
            spec.crashes,
            spec.restarts,
            spec.pauses,
            spec.mutes,
            spec.flaps,
            spec.partitions,
            spec.slows,
            shortest_ns=spec.shortest,
            longest_ns=spec.longest,
        )
        try:
            lines = draw_faults(spec.seed, budget, hosts, from_ns, until_ns)
        except ValueError as error:
            self.problems.error(path, str(error))
            return []
        self.drawn = tuple(lines)
        return [(place, FaultOrder.model_validate(line)) for place, line in enumerate(lines)]

    def _made_of(self, fault: FaultOrder | OwnFault, place: int) -> list[FaultOrder]:
        if isinstance(fault, FaultOrder):
            return [fault]
        try:
            return orders_of(fault, self.fabric, Files(self.base_dir, self.document.files))
        except FieldError as error:
            self.problems.error(("faults", place, *error.path), str(error))
            return []

    def _orders(self) -> list[tuple[int, Order]]:
        """What the faults come to, each with its place in the list; one for each node whose moment it waits for."""
        found: list[tuple[int, Order]] = []
        for place, fault in self._faults():
            path = ("faults", place)
            each = [fault]
            if fault.when is not None:
                triggers = self._triggers(fault.when, (*self.participants, *self.cells), path)
                each = [fault.model_copy(update={"when": when}) for when in triggers]
            made = [self._order(one, path) for one in each]
            found += [(place, order) for order in made if order is not None]
        return found

    def _triggers(self, when: Trigger, nodes: Sequence[str], path: KeyPath) -> list[Trigger]:
        """The same moment at each node that is meant; as it stands where that is none, which ``_moment`` tells."""
        before = len(self.problems.errors)
        meant = self._matcher(when.node, (*path, "when", "node"))
        if len(self.problems.errors) > before:
            return []
        return [when.model_copy(update={"node": node}) for node in nodes if meant(node)] or [when]

    def _check_drifts(self, orders: Sequence[tuple[int, Order]], clocks: Mapping[str, Clock]) -> None:
        """No clock comes to run backwards, or to be set back by more than it has gone on: by a fault at a moment, or by
        those at instants, together."""
        changes: dict[str, list[tuple[int, int, int]]] = {}
        for place, order in orders:
            for host, _ in order.targets if order.verb == "clock_drift" else ():
                if order.moment is not None:
                    self._check_drift(host, clocks, order.amount, place)
                    continue
                for at_ns in (order.at_ns + turn * order.every_ns for turn in range(order.times)):
                    ended = [(at_ns + order.for_ns, place, -order.amount)] if order.for_ns >= 0 else []
                    changes.setdefault(host, []).extend([(at_ns, place, order.amount), *ended])
        for host, of_host in changes.items():
            more_ppb = 0
            for _, place, amount in sorted(of_host):
                more_ppb += amount
                self._check_drift(host, clocks, more_ppb, place)

    def _check_drift(self, host: str, clocks: Mapping[str, Clock], more_ppb: int, place: int) -> None:
        clock = clocks.get(host, Clock())
        try:
            replace(clock, drift_ppb=clock.drift_ppb + more_ppb)
        except ValueError as error:
            self.problems.error(("faults", place, "drift"), f"can't be at {host}: {error}")

    def _order(self, fault: FaultOrder, path: KeyPath) -> Order | None:
        before = len(self.problems.errors)
        targets: tuple[tuple[str, str], ...] = ()
        peers: tuple[tuple[str, ...], ...] = ()
        changes: tuple[tuple[tuple[Direction, ...], Impairment | None], ...] = ()
        links: tuple[Direction, ...] = ()
        verb = VERBS[fault.do]
        if fault.do == "unimpair":
            changes = ((tuple(self._directions(fault, path)), None),)
        elif verb.strikes == "links":
            changes = self._changes(fault, path)
        elif verb.strikes == "link":
            links = tuple((link, "ab") for link in sorted({link for link, _ in self._directions(fault, path)}))
        elif verb.strikes == "switch":
            targets = self._switches(fault, path)
        elif verb.strikes == "fabric":
            pass
        elif fault.groups is not None:
            targets, peers = self._parted(fault.groups, bool(fault.one_way), (*path, "groups"))
        else:
            targets, peers = self._targets(fault, path), ()
            if fault.to is not None:
                targets, peers = self._deaf_to(fault.to, targets, (*path, "to"))
        self._check_cells(fault, targets, path)
        moment = self._moment(fault.when, path) if fault.when else None
        begin = fault.from_ if fault.at is None else fault.at
        at_ns = -1 if begin is None else self._instant(begin, (*path, "from" if fault.at is None else "at"))
        for_ns, times, span_ns = self._lasting(fault, at_ns, path)
        if len(self.problems.errors) > before:
            return None
        return Order(
            verb=fault.do,
            targets=targets,
            at_ns=at_ns,
            moment=moment,
            node=fault.when.node if fault.when else "",
            after_ns=fault.when.after if fault.when else 0,
            for_ns=for_ns,
            every_ns=fault.every or 0,
            times=times,
            span_ns=span_ns,
            peers=peers,
            direction=fault.direction or "",
            state=State(fault.state or State.LOST),
            amount=fault.amount,
            links=links,
            reroute_ns=-1 if fault.reroute is None else fault.reroute,
            changes=changes,
        )

    def _check_cells(self, fault: FaultOrder, targets: Sequence[tuple[str, str]], path: KeyPath) -> None:
        """A cell has no disk, and its trees stay as they are."""
        cell = next((node for node, _ in targets if node in self.cells), "")
        if cell and fault.do.startswith("disk_"):
            self.problems.error((*path, "on"), f"{cell} is a cell, which keeps nothing on a disk")
        if cell and fault.state not in (None, State.LOST):
            self.problems.error((*path, "state"), f"is lost at {cell} in any case: a cell keeps nothing on a disk")
        if self.cells and (fault.reroute is not None or fault.do == "reroute"):
            self.problems.error((*path, "reroute"), "is for plain switches; cells carry along the trees of the fabric")
        if fault.when is None or fault.when.node not in self.cells:
            return
        for key in ("peer", "after_writes"):
            if getattr(fault.when, key) is not None:
                what = f"means nothing at {fault.when.node}: a cell is no end of a swap, and writes nothing"
                self.problems.error((*path, "when", key), what)

    def _instant(self, value: str | int | float, path: KeyPath) -> int:
        protocol = self.scenario.protocol
        at_ns = instant_ns(value, protocol.period_ns)
        end_ns = self.protocol.length_ns
        if at_ns >= end_ns:
            self.problems.warn(
                path,
                f"{spell_time(at_ns)} lies behind the last {protocol.counted.removesuffix('s')}, which ends at "
                f"{spell_time(end_ns)}",
            )
        return at_ns

    def _lasting(self, fault: FaultOrder, at_ns: int, path: KeyPath) -> tuple[int, int, int]:
        """After how long each blow is undone (-1: never), how often it strikes, and how long all of it goes on."""
        for_ns = -1 if fault.for_ is None else fault.for_
        span_ns = 0
        if fault.until is not None:
            span_ns = instant_ns(fault.until, self.scenario.protocol.period_ns) - at_ns
            if span_ns <= 0:
                self.problems.error((*path, "until"), f"{fault.until} is not after {fault.from_}, from:")
        if fault.every is None:
            return (span_ns if fault.until is not None else for_ns), 1, span_ns
        if fault.do == "flap" and fault.for_ is None:
            for_ns = fault.every // 2
        in_all = 1 if fault.do in ("churn", "rolling_restart") else fault.times or -(-span_ns // fault.every)
        blows = span_ns // fault.every if fault.do == "churn" else in_all
        if blows > MOST_BLOWS:
            self.problems.error(
                (*path, "every"), f"makes {blows} faults; {MOST_BLOWS} are the most, take a longer time"
            )
        return for_ns, in_all, span_ns

    def _parted(
        self, groups: Sequence[Sequence[str]], one_way: bool, path: KeyPath
    ) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, ...], ...]]:
        """Every NIC that a partition makes deaf, and to whom. Who is in several groups hears, and is heard by, all of
        them; who is in none is not concerned."""
        meant = [self._running(group, (*path, place)) for place, group in enumerate(groups)]
        targets: list[tuple[str, str]] = []
        peers: list[tuple[str, ...]] = []
        in_any = {host for group in meant for host in group}
        for host in (host for host in self.running if host in in_any):
            if one_way:
                unheard = meant[0] if host in meant[1] and host not in meant[0] else []
            else:
                with_it = {other for group in meant if host in group for other in group}
                unheard = [other for other in self.running if other in in_any - with_it]
            for end in self.routes.nics(host):
                sources = self._sources((host, end.nic), unheard)
                if sources:
                    targets.append((host, end.nic))
                    peers.append(sources)
        if not targets and not self.problems.errors:
            alone = "every host shares a group with every other"
            self.problems.error(path, f"part nobody: {self._from_neighbours() or alone}")
        return tuple(targets), tuple(peers)

    def _sources(self, target: tuple[str, str], unheard: Sequence[str]) -> tuple[str, ...]:
        """Of those that a NIC is to be deaf to, whoever sends frames to it at all: with cells only its neighbour."""
        if not self.cells:
            return tuple(unheard)
        ends = [(link.a, link.b) for link in self.fabric.links] + [(link.b, link.a) for link in self.fabric.links]
        near = next(far.node for end, far in ends if (end.node, end.nic) == target)
        return tuple(other for other in unheard if other == near)

    def _from_neighbours(self) -> str:
        """Why hosts hear nothing of each other, where it is so."""
        return "with cells all frames come from neighbours; name those cells as well" if self.cells else ""

    def _deaf_to(
        self, patterns: Sequence[str], targets: Sequence[tuple[str, str]], path: KeyPath
    ) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, ...], ...]]:
        """The NICs among the targets that have others to be deaf to, and to whom."""
        to = self._running(patterns, path)
        found = [(target, self._sources(target, [peer for peer in to if peer != target[0]])) for target in targets]
        found = [(target, peers) for target, peers in found if peers]
        if to and targets and not found:
            self.problems.error(path, self._from_neighbours() or f"{to[0]} is the host itself; name others")
        return tuple(target for target, _ in found), tuple(peers for _, peers in found)

    def _running(self, patterns: Sequence[str], path: KeyPath) -> list[str]:
        """Hosts on which something runs, by pattern, in order."""
        return self._among(self.running, patterns, path)

    def _among(self, hosts: Sequence[str], patterns: Sequence[str], path: KeyPath) -> list[str]:
        """Those of the hosts that patterns mean, in order."""
        chosen: set[str] = set()
        for pattern in patterns:
            before = len(self.problems.errors)
            matches = self._matcher(pattern, path)
            found = {host for host in hosts if matches(host)}
            if not found and len(self.problems.errors) == before:
                self.problems.error(path, self._unknown_node(pattern))
            chosen |= found
        return [host for host in hosts if host in chosen]

    def _targets(self, fault: FaultOrder, path: KeyPath) -> tuple[tuple[str, str], ...]:
        """(host, interface) of everything that is struck; the interface is empty for a node's verb."""
        of_nic = VERBS[fault.do].strikes == "nic"
        on_path: KeyPath
        if fault.do == "heal" and fault.on is None:
            names, on_path = list(self.running), path
        elif fault.on is None:
            names, on_path = [fault.when.node] if fault.when else [], (*path, "when", "node")
        else:
            names, on_path = list(fault.on), (*path, "on")
        found: list[tuple[str, str]] = []
        for name in names:
            before = len(self.problems.errors)
            meant = self._matcher(name, on_path)
            hosts = [host for host in self.running if meant(host)]
            if len(self.problems.errors) > before:
                continue
            if hosts and of_nic:
                found += [(host, end.nic) for host in hosts for end in self.routes.nics(host)]
            elif hosts:
                found += [(host, "") for host in hosts]
            else:
                found += self._interfaces(name, of_nic, on_path)
        return tuple(dict.fromkeys(found))

    def _switches(self, fault: FaultOrder, path: KeyPath) -> tuple[tuple[str, str], ...]:
        found: list[str] = []
        for name in fault.on or ():
            matching = [*filter(self._matcher(name, (*path, "on")), self.fabric.switches)]
            if not matching and any(map(self._matcher(name, (*path, "on")), self.cells)):
                what = f"{name} is a cell here, a node like hosts; {fault.do.replace('switch', 'node')} strikes it"
                self.problems.error((*path, "on"), what)
            elif not matching:
                what = f"no switch {shown(name)} in this fabric; {suggestion(name, self.fabric.switches)}"
                self.problems.error((*path, "on"), what)
            found += matching
        return tuple((switch, "") for switch in dict.fromkeys(found))

    def _interfaces(self, name: str, of_nic: bool, path: KeyPath) -> list[tuple[str, str]]:
        known = [(host, end.nic) for host in self.running for end in self.routes.nics(host)]
        matching = [(host, nic) for host, nic in known if fnmatchcase(nic, name)]
        if matching and of_nic:
            return matching
        self.problems.error(path, self._unknown_node(name, bool(matching)))
        return []

    def _unknown_node(self, name: str, is_interface: bool = False) -> str:
        if is_interface:
            return f"{shown(name)} is an interface; this verb strikes a whole node: name the host"
        if is_of_a_place(name):
            return f"{name} means no host that takes part; faults strike hosts (for a link, use jitter with loss: 100%)"
        if name in self.fabric.switches:
            return f"{name} is a switch; this strikes hosts (for a switch there is switch_kill, for a link link_down)"
        if name in self.fabric.hosts:
            return f"{name} takes no part in the protocol; see protocol.participants"
        return f"no host {shown(name)} in this fabric; {suggestion(name, self.participants)}"

    def _moment(self, when: Trigger, path: KeyPath) -> Moment:
        protocol = self.scenario.protocol
        for key, name in (("node", when.node), ("peer", when.peer)):
            if name is not None and name not in (*self.participants, *(self.cells if key == "node" else ())):
                self.problems.error((*path, "when", key), self._unknown_node(name))
        if not self.engine.made_of_swaps and (when.enters or when.leaves):
            self.problems.error(
                (*path, "when"),
                f"{self.engine.name} is not made of swaps: no link state is entered; use after_sends or after_writes",
            )
        if when.round is not None and when.round >= protocol.count:
            self.problems.error(
                (*path, "when", "round"),
                f"{when.round} is never run; {protocol.counted} count from 0 to {protocol.count - 1}",
            )
        return Moment(
            index=-1,
            enters=when.enters or "",
            leaves=when.leaves or "",
            after_sends=when.after_sends or 0,
            after_writes=when.after_writes or 0,
            round=-1 if when.round is None else when.round,
            peer=self.fabric.hosts.index(when.peer) if when.peer in self.fabric.hosts else -1,
        )

    def _changes(self, fault: FaultOrder, path: KeyPath) -> tuple[tuple[tuple[Direction, ...], Impairment], ...]:
        """New impairments, one per group of directions that come out alike."""
        groups: dict[Impairment, list[Direction]] = {}
        made: dict[str, Impairment] = {}
        for direction in self._directions(fault, path):
            settings = {**self.settings[direction], **fault.settings()}
            key = repr(settings)
            if key not in made:
                made[key] = self._impairment(settings, path)
            groups.setdefault(made[key], []).append(direction)
        return tuple((tuple(directions), impairment) for impairment, directions in groups.items())

    def _directions(self, fault: FaultOrder, path: KeyPath) -> list[Direction]:
        if fault.links is None:
            return list(self.settings)
        found: list[Direction] = []
        for place, text in enumerate(fault.links):
            try:
                found += list(self.settings) if text == "default" else selected(self.fabric, parse_selector(text))
            except ValueError as error:
                self.problems.error((*path, "links", place), str(error))
        return sorted(set(found))

    # -- lies ---------------------------------------------------------------------------------------------------

    def _lies(self) -> dict[int, tuple[Lie, ...]]:
        found: dict[int, tuple[Lie, ...]] = {}
        for place, order in enumerate(self.scenario.lies):
            for node, lie in self._told(order, ("lies", place)):
                found[node] = (*found.get(node, ()), lie)
        if found.keys() == set(self.members):
            self.problems.warn(("lies",), "all participants lie, and nobody is left whom verdicts bind")
        return found

    def _told(self, order: LieOrder, path: KeyPath) -> list[tuple[int, Lie]]:
        """Who tells this lie; the same one each, but for the peers that they have."""
        if order.kind not in self.engine.lies:
            listed = ", ".join(self.engine.lies)
            self.problems.error(
                (*path, "kind"), f"{order.kind} has no meaning in {self.engine.name}; there are {listed}"
            )
        triggers = self._triggers(order.when, self.participants, path) if order.when else []
        moment = self._moment(triggers[0], path) if triggers else None
        liars = [when.node for when in triggers]
        if order.on:
            liars = self._among(self.participants, order.on, (*path, "on"))
        if order.when and liars != [when.node for when in triggers]:
            what = f"must be {order.when.node} alone: a lie begins at a moment of the liar's own"
            self.problems.error((*path, "on"), what)
        to = self._among(self.participants, order.to, (*path, "to")) if order.to else []
        period_ns = self.scenario.protocol.period_ns
        from_ns = -FOREVER_NS if order.from_ is None else instant_ns(order.from_, period_ns)
        for_ns = FOREVER_NS if order.for_ is None else order.for_
        until_ns = FOREVER_NS if order.for_ is None else max(0, from_ns) + for_ns
        if order.until is not None:
            until_ns = instant_ns(order.until, period_ns)
        if until_ns <= from_ns:
            self.problems.error((*path, "until"), f"{spell_time(until_ns)} is not after {spell_time(from_ns)}, from:")
        numbers = {host: number for number, host in enumerate(self.fabric.hosts)}
        near = None if self.pairs is None else neighbours(self.members, self.pairs)
        told = []
        for liar in (host for host in liars if host in self.participants):
            hearers = tuple(numbers[host] for host in to if host != liar)
            if near is not None:
                hearers = tuple(hearer for hearer in hearers if hearer in near[numbers[liar]])
            if to and not hearers:
                self.problems.error((*path, "to"), f"{liar} has none of them as a peer")
            if moment is None:
                lie = Lie(LieKind(order.kind), hearers, from_ns, until_ns, by_ns=order.by or 0)
            else:
                after_ns = order.when.after if order.when else 0
                lie = Lie(LieKind(order.kind), hearers, 0, 0, moment, after_ns, for_ns, order.by or 0)
            told.append((numbers[liar], lie))
        return told

    # -- time ---------------------------------------------------------------------------------------------------

    def _path_delays(self, impairments: Mapping[Direction, Impairment]) -> tuple[int, int]:
        """The longest and the shortest one-way delay between neighbours (ns), over the paths that frames take."""
        worst = {direction: greatest_delay_ns(impairment) for direction, impairment in impairments.items()}
        best = {direction: least_delay_ns(impairment) for direction, impairment in impairments.items()}
        if self.pairs is None and len(self.participants) > _EXACT_PATHS_UP_TO:
            hops = hop_bound(self.plain.fabric)
            return hops * max(worst.values()), min(best.values())
        hosts = self.fabric.hosts
        found = combinations(self.members, 2) if self.pairs is None else self.pairs
        paths = [path for low, high in found for path in self._there_and_back(hosts[low], hosts[high])]
        return (
            max(sum(worst[crossing] for crossing in path) for path in paths),
            min(sum(best[crossing] for crossing in path) for path in paths),
        )

    def _there_and_back(self, low: str, high: str) -> tuple[tuple[Direction, ...], tuple[Direction, ...]]:
        """The paths between two hosts; cells carry on one way there and back."""
        there = self.routes.path(low, high)
        if not self.cells:
            return there, self.routes.path(high, low)
        return there, tuple((crossing.link, "ba" if crossing.way == "ab" else "ab") for crossing in reversed(there))

    def _warn_about_time(self, shortest_ns: int) -> None:
        protocol, instance_rounds = self.scenario.protocol, self.protocol.instance_rounds
        if not self.engine.made_of_swaps:
            return
        steps = 1 if protocol.handshake == "simultaneous" else protocol.depth
        if steps * shortest_ns > protocol.window:
            self.problems.warn(
                ("protocol", "window"),
                f"no swap can complete: {steps} messages take {spell_time(steps * shortest_ns)} at the least, "
                f"the window is {spell_time(protocol.window)}",
            )
        if self.engine.decides and protocol.count < instance_rounds:
            self.problems.warn(
                ("protocol", "rounds"),
                f"{protocol.count} are too few for one instance: {self.engine.name} with f = {protocol.f} takes "
                f"{instance_rounds} rounds",
            )


def _clock(offset_ns: int, drift_ppb: int, sync: ClockSync | None) -> Clock:
    """A clock that has run since the nodes were started. Raises ValueError."""
    plain = Clock(drift_ppb=drift_ppb)
    if sync is not None:
        plain = replace(plain, every_ns=sync.every, within_ns=sync.within, bias_ns=offset_ns)
    return plain.stepped(START_NS, offset_ns)


@lru_cache(maxsize=8)
def _known_routes(kind: str, parameters: tuple[tuple[str, int], ...]) -> Routes:
    return Routes(make_fabric(kind, dict(parameters)))
