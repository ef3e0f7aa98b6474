"""A service's verdict: a good run passes, and each way of damaging its record is seen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from testbed.engines.sim import SimEngine
from testbed.history import Event, Events, History
from testbed.nodes.core import Apply, Decide, Invoke, Return
from testbed.nodes.services.kv.store import Went, get
from testbed.nodes.services.log import pack_entry, read_entry
from testbed.plan import Plan
from testbed.report.operations import drawn
from testbed.scenario import compile_plan, load
from testbed.verdicts import judge
from testbed.verdicts.model import Service, Verdicts
from testbed.verdicts.service import judge_service
from testbed.verdicts.values import operation_name

SCENARIO = Path(__file__).resolve().parents[3] / "scenarios" / "kv-on-paxos.yaml"


@cache
def run() -> tuple[Plan, History]:
    plan = compile_plan(load(SCENARIO))
    return plan, SimEngine().run(plan)


def judged(change: Callable[[Event], Event | None]) -> Service:
    """The verdict on the record with rows replaced, or left out."""
    plan, history = run()
    events = [changed for event in history.events if (changed := change(event)) is not None]
    found = judge_service(plan, replace(history, events=Events.of(events, history.names)))
    assert found is not None
    return found


def once(kind: type, change: Callable[[Event], Event | None], place: int = 40) -> Service:
    """With one row of a kind changed."""
    left = [place]

    def damage(event: Event) -> Event | None:
        if not isinstance(event.what, kind):
            return event
        left[0] -= 1
        return change(event) if left[0] == -1 else event

    return judged(damage)


def with_what(event: Event, **fields: object) -> Event:
    return event._replace(what=event.what._replace(**fields))  # type: ignore[arg-type]


def test_a_good_run_holds_and_is_linearizable() -> None:
    service = judged(lambda event: event)
    assert service.holds
    assert service.violations == ()
    assert (service.name, service.done, service.open) == ("kv", 200, 0)
    assert service.contradiction == ()
    assert service.unchecked == ()
    assert list(service.latency_ns) == sorted(service.latency_ns)
    assert service.latency_ns[0] > 0


def test_another_result_than_the_logs_is_seen() -> None:
    service = once(Return, lambda event: with_what(event, result=b"\0forged"))
    assert service.violations[1:] == ("what clients saw is not linearizable: 1 operation shows it",)
    assert "returned 'ok forged' at host" in service.violations[0]
    assert "by the log it is" in service.violations[0]


def test_a_replica_that_applies_something_else_is_seen() -> None:
    service = once(Apply, lambda event: with_what(event, value=b""))
    (told,) = (violation for violation in service.violations if "of the log is " in violation)
    assert re.search(r"is (nothing at .* and \[host[45]\.1\.\d+ \w+ k\d|\[.*\] at .* and nothing at)", told), told


def test_entries_in_another_order_are_seen_in_the_results() -> None:
    """All replicas alike, and so are the decisions: only what clients were told gives it away."""
    places = {40: 41, 41: 40}

    def swap(event: Event) -> Event:
        if isinstance(event.what, Apply):
            return with_what(event, entry=places.get(event.what.entry, event.what.entry))
        if isinstance(event.what, Decide):
            return with_what(event, instance=places.get(event.what.instance, event.what.instance))
        return event

    tried = 0
    for first in range(10, 60, 2):
        places = {first: first + 1, first + 1: first}
        tried += not judged(swap).holds
    assert tried > 0


def test_an_operation_taken_out_of_the_log_is_seen() -> None:
    plan, history = run()
    returned = history.events.of_kind(Return)
    lost = next(
        event.what.operation for event in returned if isinstance(event.what, Return) and event.t_ns > 10_000_000
    )

    def without(event: Event) -> Event:
        if isinstance(event.what, Apply | Decide):
            operations = read_entry(event.what.value) or []
            return with_what(event, value=pack_entry(one for one in operations if one.number != lost))
        return event

    violations = judged(without).violations
    assert any(
        f"operation {operation_name(plan, lost)} (" in told and "stands in no entry" in told for told in violations
    )


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        (Decide, lambda event: with_what(event, value=b"", instance=event.what.instance + 1000), ""),
        (Return, lambda event: with_what(event, operation=1), "had not been asked for"),
        (Invoke, lambda event: None, "had not been asked for"),
        (Invoke, lambda event: with_what(event, call=b"\x01"), "is another in the log"),
    ],
    ids=["a decision of an instance that is none", "a result for nobody", "a call left out", "another call"],
)
def test_calls_and_results_that_do_not_fit_are_seen(kind: type, change: Callable[[Event], Event], said: str) -> None:
    service = once(kind, change)
    assert service.holds == (not said)
    assert any(said in violation for violation in service.violations) == bool(said)


def test_an_entry_that_nobody_decided_or_that_all_skipped_is_seen() -> None:
    undecided = judged(lambda event: None if isinstance(event.what, Decide) and event.what.instance == 9 else event)
    assert any("entry 9 was applied at host" in told and "nobody decided" in told for told in undecided.violations)
    skipped = judged(lambda event: None if isinstance(event.what, Apply) and event.what.entry == 9 else event)
    assert any("entry 9 of the log was applied by nobody" in told for told in skipped.violations)


def test_an_old_value_read_after_it_was_written_over_is_drawn_with_what_it_contradicts() -> None:
    """The log is as it was, so it is what clients saw that gives the stale read away."""
    _, history = run()
    returns = {
        event.what.operation: event for event in history.events.of_kind(Return) if isinstance(event.what, Return)
    }
    stale = next(
        event
        for event in history.events.of_kind(Invoke)
        if isinstance(event.what, Invoke)
        and event.what.call == get(b"k1")
        and returns[event.what.operation].what.result[:1] == bytes([Went.OK])  # type: ignore[union-attr]
        and event.t_ns > 10_000_000
    )

    def nothing_there(event: Event) -> Event:
        read = isinstance(event.what, Return) and event.what.operation == stale.what.operation  # type: ignore[union-attr]
        return with_what(event, result=bytes([Went.ABSENT])) if read else event

    service = judged(nothing_there)
    assert not service.holds
    assert "what clients saw is not linearizable: 2 operations show it" in service.violations
    written, read = service.contradiction
    assert (read.call, read.result) == ("get k1", "absent")
    assert written.call.split()[:2] in (["put", "k1"], ["cas", "k1"])
    assert written.returned_ns is not None
    assert written.returned_ns < read.called_ns
    top, first, second = drawn(service.contradiction)
    assert top.strip().endswith("not to scale")
    assert first.index("┤") < second.index("├")
    assert second.endswith("get k1: absent")


def test_a_result_that_is_not_on_record_leaves_its_operation_open_and_accuses_nobody() -> None:
    service = once(Return, lambda event: None)
    assert service.holds
    assert (service.done, service.open) == (199, 1)


def test_verdicts_with_a_service_come_back_from_json() -> None:
    verdicts = judge(*run())
    assert Verdicts.from_dict(json.loads(json.dumps(verdicts.to_dict()))) == verdicts
