"""A service: whether replicas agree about the log, and whether what clients were told follows from it.

Replicas record the entries that they apply, clients what they ask for and are told. The log is the entries that were
applied, by their numbers; played back on a fresh state machine it gives the result of every operation, which happens in
the first entry that holds it. Whether clients could have seen things happen one after another in real time
(linearizability) is judged by what they asked for and were told alone: the log has no say in it. What only reads may
stand in no entry (LogParameters.reads), and is judged so alone. Local reads may be old: of a service with those it is
promised that things could have happened one after another as each client saw its own (sequential consistency).
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from testbed.history import History
from testbed.nodes.consensus.spec import LOCAL, LOG, PARTIAL
from testbed.nodes.core import Apply, Decide, Invoke, Return
from testbed.nodes.core.commuting import Commuting, Place, Places
from testbed.nodes.core.record import Started
from testbed.nodes.registry import commuting, engine_spec, service_spec
from testbed.nodes.services.log import life_of, parts_of, read_entry
from testbed.nodes.services.spec import LogParameters, ServiceSpec
from testbed.plan import Plan
from testbed.quantiles import quantile
from testbed.verdicts.coordination import PROPERTIES, Observed
from testbed.verdicts.linearizability import (
    Answer,
    Judged,
    Timed,
    least_contradiction,
    linearizable,
    sequentially_consistent,
)
from testbed.verdicts.model import LINEARIZABLE, SEQUENTIAL, Seen, Service
from testbed.verdicts.values import operation_name, value_text

_AT = (0.5, 0.9, 0.99, 1.0)


def judge_service(plan: Plan, history: History) -> Service | None:
    """None when no service was run."""
    if not plan.service:
        return None
    partial = engine_spec(plan.protocol.consensus).order == PARTIAL
    log, violations = _merged(plan, history) if partial else _log(plan, history)
    spec = service_spec(plan.service)
    asked = _Asked(plan, history)
    reads = _reads(plan)
    lost = _lost(plan, asked, log, reads)
    violations += asked.violations + lost + _against(plan, asked, log)
    seen = _consistency(spec, asked, SEQUENTIAL if reads == LOCAL else LINEARIZABLE)
    violations += seen.violations
    observed = _observed(plan, spec, asked)
    found = {name: PROPERTIES[name](observed) for name in spec.properties}
    violations += [sentence for sentences in found.values() for sentence in sentences]
    latencies = sorted(ended.t_ns - asked.invoked[number].t_ns for number, ended in asked.returned.items())
    return Service(
        name=plan.service,
        entries=len(log),
        done=len(asked.returned),
        open=len(asked.invoked) - len(asked.returned),
        at=_AT if latencies else (),
        latency_ns=tuple(int(quantile(latencies, at)) for at in _AT) if latencies else (),
        violations=tuple(violations),
        contradiction=seen.contradiction,
        unchecked=seen.unchecked,
        consistency=seen.consistency,
        properties={"durability": not lost, **{name: not sentences for name, sentences in found.items()}},
    )


def _reads(plan: Plan) -> str:
    """How replicas carry out what only reads."""
    programs = {node.node: node.program for node in plan.nodes}
    return LogParameters(**programs[plan.members[0]].parameters).reads


class _Told(NamedTuple):
    """A call, or a result."""

    t_ns: int
    node: str
    said: bytes


class _Asked:
    """What clients asked for and were told, by operation; whatever returned was asked for."""

    def __init__(self, plan: Plan, history: History) -> None:
        self.plan = plan
        self.invoked: dict[int, _Told] = {}
        self.returned: dict[int, _Told] = {}
        self.violations: list[str] = []
        for t_ns, node, what in history.events.of_kind(Invoke, Return):
            if isinstance(what, Invoke):
                self._add(self.invoked, what.operation, _Told(t_ns, node, what.call), "was asked for")
            elif isinstance(what, Return) and what.operation in self.invoked:
                self._add(self.returned, what.operation, _Told(t_ns, node, what.result), "returned")
            elif isinstance(what, Return):
                name = operation_name(plan, what.operation)
                self.violations.append(f"operation {name} returned at {node} and had not been asked for")

    def operations(self) -> list[Timed]:
        """As the processes saw them: each life of a client is one."""
        found = []
        for number, invoked in self.invoked.items():
            one = Timed(_process(number, invoked), invoked.said, invoked.t_ns)
            if number in self.returned:
                one = one._replace(result=self.returned[number].said, returned=self.returned[number].t_ns)
            found.append(one)
        return found

    def _add(self, known: dict[int, _Told], operation: int, told: _Told, did: str) -> None:
        if known.setdefault(operation, told) is not told:
            self.violations.append(f"operation {operation_name(self.plan, operation)} {did} twice")


def _process(number: int, invoked: _Told) -> str:
    """The life of a client that asked."""
    _, epoch = life_of(parts_of(number)[0])
    return invoked.node if epoch == 1 else f"{invoked.node}.{epoch}"


def _observed(plan: Plan, spec: ServiceSpec, asked: _Asked) -> list[Observed]:
    """What clients asked for and were told, as facts."""
    found = []
    for number, invoked in asked.invoked.items():
        ended = asked.returned.get(number)
        told = spec.tells(invoked.said, ended.said) if ended is not None else ()
        returned_ns = ended.t_ns if ended is not None else None
        name = f"operation {operation_name(plan, number)}"
        process = _process(number, invoked)
        found.append(Observed(name, process, invoked.t_ns, returned_ns, spec.asks(invoked.said), told))
    return found


def _lost(plan: Plan, asked: _Asked, log: _Log, reads: str) -> list[str]:
    """What clients were told to have happened and is in no entry, or in one that some replica has otherwise."""
    spec, violations = service_spec(plan.service), []
    standing, lacking = _standing(log)
    for number, ended in asked.returned.items():
        call = asked.invoked[number].said
        if number in standing or (reads != LOG and spec.only_reads(call)):
            continue
        where = "stands in no entry of the log"
        if number in lacking:
            entry, node = lacking[number]
            where = f"{node} has entry {entry} of the log without it"
        violations.append(
            f"operation {operation_name(plan, number)} ({spec.call_text(call)}) returned at {ended.node} and {where}"
        )
    return violations


def _standing(log: _Log) -> tuple[set[int], dict[int, tuple[int, str]]]:
    """The operations that stand in some entry as all have it who have it; of the others those that somebody has, and
    who has what entry without them."""
    standing: set[int] = set()
    lacking: dict[int, tuple[int, str]] = {}
    for entry, known in log.items():
        held = {value: {one.number for one in read_entry(value) or ()} for value in known}
        common = set.intersection(*held.values())
        standing |= common
        for number in set.union(*held.values()) - common:
            lacking[number] = entry, next(node for value, node in known.items() if number not in held[value])
    return standing, lacking


def _against(plan: Plan, asked: _Asked, log: _Log) -> list[str]:
    """Where the log and what clients saw contradict each other."""
    spec, violations = service_spec(plan.service), []
    results, commands = _played_back(spec, log)
    for number, ended in asked.returned.items():
        if number in results and results[number] != ended.said:
            name = f"operation {operation_name(plan, number)} ({spec.call_text(asked.invoked[number].said)})"
            told, due = spec.result_text(ended.said), spec.result_text(results[number])
            violations.append(f"{name} returned {told!r} at {ended.node}; by the log it is {due!r}")
    for number, command in commands.items():
        if number not in asked.invoked:
            name = operation_name(plan, number)
            violations.append(f"operation {name} is in the log and was never asked for")
        elif asked.invoked[number].said != command:
            name = operation_name(plan, number)
            violations.append(f"operation {name} is another in the log than the one that was asked for")
    return violations


class _Object:
    """A service as an object whose operations happen one after another (testbed.verdicts.linearizability)."""

    def __init__(self, spec: ServiceSpec) -> None:
        self._machine = spec.build()
        self._first = self._machine.snapshot()

    def initial(self) -> bytes:
        return self._first

    def apply(self, state: bytes, call: bytes) -> tuple[bytes, bytes]:
        self._machine.restore(state)
        result = self._machine.apply(call)
        return self._machine.snapshot(), result


class _Consistency(NamedTuple):
    """Of what clients saw, as the verdict's fields of the same names."""

    consistency: dict[str, bool]
    violations: tuple[str, ...] = ()
    contradiction: tuple[Seen, ...] = ()
    unchecked: tuple[str, ...] = ()


def _consistency(spec: ServiceSpec, asked: _Asked, promised: str) -> _Consistency:
    what, operations = _Object(spec), asked.operations()
    judged = linearizable(operations, what, spec.part_of)
    if judged.answer is Answer.YES:  # and so sequentially consistent
        return _Consistency({promised: True, LINEARIZABLE: True})
    contradiction = least_contradiction(judged.part, what) if judged.answer is Answer.NO else ()
    seen = tuple(_seen(spec, one) for one in contradiction)
    known = {LINEARIZABLE: False} if seen else {}
    shown = "1 operation shows it" if len(seen) == 1 else f"{len(seen)} operations show it"
    if promised == SEQUENTIAL:
        judged = sequentially_consistent(operations, what)
        shown = _furthest(spec, judged)
    if judged.answer is Answer.OPEN:
        return _Consistency(known, (), seen, (f"{promised} or not (given up after {judged.steps} steps)",))
    holds = judged.answer is Answer.YES
    violations = () if holds else (f"what clients saw is not {promised}: {shown}",)
    return _Consistency({promised: holds, **known}, violations, seen)


def _furthest(spec: ServiceSpec, judged: Judged) -> str:
    """How far an order goes that each process can have seen, and what none of them can see next."""
    placed = set(judged.longest)
    following: dict[str, Timed] = {}
    for one in judged.part:
        if one.returned is not None and one not in placed:
            following.setdefault(one.process, one)
    said = "; ".join(
        f"{name} {spec.call_text(one.call)}: {spec.result_text(one.result)}" for name, one in following.items()
    )
    return f"no order of them goes beyond {len(placed)}, after which would come {said}"


def _seen(spec: ServiceSpec, one: Timed) -> Seen:
    result = "" if one.returned is None else spec.result_text(one.result)
    return Seen(one.process, spec.call_text(one.call), one.called, result, one.returned)


_Log = dict[int, dict[bytes, str]]
"""Each entry as it was applied, what came first first, with the replica that did so."""


def _log(plan: Plan, history: History) -> tuple[_Log, list[str]]:
    """The entries that replicas applied, and where they contradict each other, or what was decided."""
    log: _Log = {}
    violations: dict[str, None] = {}
    decided: dict[int, bytes] = {}
    for event in history.events.of_kind(Apply, Decide):
        what = event.what
        if isinstance(what, Decide):
            decided.setdefault(what.instance, what.value)
        elif isinstance(what, Apply):
            known = log.setdefault(what.entry, {})
            known.setdefault(what.value, event.node)
            first = next(iter(known))
            if what.value != first:
                one, other = value_text(plan, first), value_text(plan, what.value)
                where = f"{one} at {known[first]} and {other} at {event.node}"
                violations[f"entry {what.entry} of the log is {where}"] = None
    for entry, known in log.items():
        value, node = next(iter(known.items()))
        if entry not in decided:
            violations[f"entry {entry} was applied at {node}, and nobody decided it"] = None
        elif decided[entry] != value:
            violations[f"entry {entry} was applied at {node} as something else than was decided"] = None
    missing = next((entry for entry in range(len(log)) if entry not in log), None)
    if missing is not None:
        violations[f"entry {missing} of the log was applied by nobody, and later ones were"] = None
    return log, list(violations)


_Entry = tuple[bytes, int]
"""An entry's value, and how many with the same value were applied before: what is asked of several replicas may stand
in as many entries."""


class _Life:
    """What one life of a replica has applied in a partial order, and where each entry stood."""

    def __init__(self, node: str, rules: Commuting) -> None:
        self.node = node
        self.entries: list[tuple[_Entry, Place]] = []
        self.merged = 0  # how many of them
        self._places = Places(rules)
        self._times: Counter[bytes] = Counter()

    def apply(self, value: bytes) -> None:
        self.entries.append(((value, self._times[value]), self._places.add(value)))
        self._times[value] += 1


def _merged(plan: Plan, history: History) -> tuple[_Log, list[str]]:
    """The same in a partial order: one order of all entries in which whatever conflicts stands as each life had it."""
    rules = commuting(plan.protocol, plan.service)
    lives, decided = _lives(history, rules)
    log: dict[_Entry, Place] = {}
    violations: dict[str, None] = {}
    order = Places(rules)
    while any(_merge(life, log, order) for life in lives):
        pass
    for life in lives:
        if life.merged < len(life.entries):
            value, _ = life.entries[life.merged][0]
            violations[f"{life.node} applied {value_text(plan, value)} in an order that contradicts the others'"] = None
        for entry, place in life.entries[: life.merged]:
            if log[entry] != place:
                violations[f"{value_text(plan, entry[0])} stands elsewhere at {life.node} than at others"] = None
    for value, _ in log:
        if value not in decided:
            violations[f"{value_text(plan, value)} was applied, and nobody decided it"] = None
    by = {entry: life.node for life in reversed(lives) for entry, _ in life.entries}
    return {place: {entry[0]: by[entry]} for place, entry in enumerate(log)}, list(violations)


def _lives(history: History, rules: Commuting) -> tuple[list[_Life], set[bytes]]:
    """All lives, and what was decided in any."""
    lives: list[_Life] = []
    current: dict[str, _Life] = {}
    decided: set[bytes] = set()
    for _, node, what in history.events.of_kind(Started, Apply, Decide):
        if isinstance(what, Decide):
            decided.add(what.value)
            continue
        if isinstance(what, Started) or node not in current:
            current[node] = _Life(node, rules)
            lives.append(current[node])
        if isinstance(what, Apply):
            current[node].apply(what.value)
    return lives, decided


def _merge(life: _Life, log: dict[_Entry, Place], order: Places) -> bool:
    """As much of it as may stand next, or stands there already. Whether that was anything."""
    before = life.merged
    for entry, place in life.entries[before:]:
        if entry not in log:
            if order.next(entry[0]) != place:
                break  # what stands before it comes from another life, or from nowhere
            log[entry] = order.add(entry[0])
        life.merged += 1
    return life.merged > before


def _played_back(spec: ServiceSpec, log: _Log) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """What each operation comes to, and its command, by the log alone."""
    state = spec.build()
    results: dict[int, bytes] = {}
    commands: dict[int, bytes] = {}
    for _, known in sorted(log.items()):
        for number, _, command in read_entry(next(iter(known))) or ():
            if number not in results:
                results[number] = state.apply(command)
                commands[number] = command
    return results, commands
