"""What clients lose first: counted from what they saw, placed in the sweep with certainty, told on a page."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from testbed.engines.sim import SimEngine
from testbed.history import Event, Events, History
from testbed.nodes.core import Decide, Invoke, Return
from testbed.nodes.core.record import Sent
from testbed.plan import Plan
from testbed.report.pages import figures, loss_lines, study_page
from testbed.study.document import Crashes, load_study
from testbed.study.load import Load, seen_by_clients
from testbed.study.losses import (
    AGREEMENT,
    AVAILABILITY,
    DEADLINE,
    LOSSES,
    Lost,
    contradiction,
    loss_row,
    lost_first,
    typical,
    where_lost,
)
from testbed.study.measure import compiled
from testbed.study.runner import run_study
from testbed.study.trials import Trial
from testbed.verdicts import judge

DOCUMENT = {
    "name": "small",
    "scenario": {
        "name": "small",
        "topology": {"kind": "star", "hosts": 4},
        "protocol": {"consensus": "paxos", "f": 1, "window": "1100us", "retry": "1ms", "participants": "host[123]"},
        "service": "kv",
        "clients": {"hosts": "host4", "operations": 4, "think": "100us", "timeout": "8ms", "mix": {"keys": 1}},
    },
    "sweep": {"parameter": ["links.default.delay", "links.default.jitter"], "values": ["50us", "400us"]},
    "measure": "losses",
    "losses": {"deadline": "30ms", "outage": "40ms"},
    "crashes": {"nics": 1, "within": "4ms"},
    "runs": 12,
    "variants": [
        {
            "name": "paxos",
            "set": {"protocol.consensus": "paxos", "protocol.instances": 80},
            "expect": {"keeps": ["agreement", "availability"]},
        },
        {
            "name": "floodset",
            "set": {"protocol.consensus": "floodset", "protocol.rounds": 80},
            "expect": {"loses": ["agreement"]},
        },
    ],
    "seed": 5,
}
MS = 1_000_000


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A small study, run."""
    folder = tmp_path_factory.mktemp("losses")
    (folder / "small.yaml").write_text(yaml.safe_dump(DOCUMENT, sort_keys=False), encoding="utf-8")
    results = run_study(load_study(folder / "small.yaml"), folder / "out", jobs=0)
    return folder / "out", results.to_dict()


def test_a_nic_that_goes_down_costs_floodset_agreement_and_paxos_time(found: tuple[Path, dict[str, Any]]) -> None:
    """The host behind a dead NIC lives on and decides alone: no crash of those that floodset bears."""
    _, results = found
    assert [item["held"] for item in results["expectations"]] == [True] * 3
    by_name = {variant["name"]: variant for variant in results["variants"]}
    quiet, crashed = by_name["floodset"]["lost"]
    assert quiet["where"][AGREEMENT] == {"before": 50_000.0, "at": 400_000.0}
    assert crashed["where"][AGREEMENT]["at"] == 50_000.0
    assert crashed["first"] == [AGREEMENT]
    rows = by_name["paxos"]["sim"]
    assert [(row["crashes"], row["x"]) for row in rows] == [(c, x) for c in (False, True) for x in (50e3, 400e3)]
    assert all(row["unanswered"] == 0 and row["operations"] == 4 * 12 for row in rows)
    assert rows[2]["p99_ns"]["high"] > 5 * rows[0]["p99_ns"]["high"]  # who asks the one behind the dead NIC waits
    assert rows[0]["attempts"] == {"value": 1.0, "low": 1.0, "high": 1.0}  # the first ballot decides
    assert {row["attempts"]["value"] for row in by_name["floodset"]["sim"]} == {2.0}  # f + 1 rounds, always


def test_a_study_of_losses_is_told_alike_in_memory_in_its_file_and_on_its_page(
    found: tuple[Path, dict[str, Any]],
) -> None:
    folder, results = found
    kept = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert loss_lines(kept) == loss_lines(json.loads(json.dumps(results)))
    page = study_page(results)
    assert page == study_page(results)
    for words in ("1 NIC crashes", "between 50\u00a0µs and 400\u00a0µs", "kept", 'id="losses"', "agreement lost"):
        assert words in page
    for line in loss_lines(kept):
        for told in figures(line.base):
            assert f'>{told.value}<br><span class="soft">{told.interval}</span>' in page
    columns = pq.read_table(folder / "trials.parquet").to_pydict()
    loads = [load for trial in columns["loads"] for load in trial]
    assert len(loads) == 2 * 2 * 2 * 12
    assert sum(load["operations"] for load in loads) == 4 * len(loads)


def test_a_finished_study_of_losses_runs_nothing_again(
    found: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = found
    monkeypatch.setattr("testbed.study.measure.SimEngine", None)
    again = run_study(load_study(folder / "study.yaml"), folder, jobs=0).to_dict()
    assert again["variants"] == results["variants"]


# -- of one run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, History]:
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.yaml").write_text(yaml.safe_dump(DOCUMENT, sort_keys=False), encoding="utf-8")
    study = load_study(folder / "small.yaml")
    plan = compiled(study.scenario_at(study.document.variants[0], 50_000), 7)
    return plan, SimEngine().run(plan)


def told(run: tuple[Plan, History], *spans: tuple[int, int | None]) -> History:
    """Its history with other operations of clients: from when (ms) until when each (None: no answer)."""
    _, history = run
    events = [event for event in history.events if not isinstance(event.what, Invoke | Return)]
    model = next(event for event in history.events if isinstance(event.what, Invoke))
    for number, (begin, end) in enumerate(spans):
        events.append(model._replace(t_ns=begin * MS, what=Invoke(number, b"")))
        if end is not None:
            events.append(model._replace(t_ns=end * MS, what=Return(number, b"")))
    return with_events(history, events)


def with_events(history: History, events: list[Event]) -> History:
    return replace(history, events=Events.of(sorted(events, key=lambda event: event.t_ns), history.names))


def test_what_clients_saw(run: tuple[Plan, History]) -> None:
    """Two wait from 2 and 3 ms on, and the first answer comes at 9: an outage of 7. Nobody waits from 10 to 20."""
    plan, _ = run
    seen = seen_by_clients(plan, told(run, (2, 9), (3, 10), (20, 21)), {})
    assert (seen.operations, seen.latencies_ns) == (3, (7 * MS, 7 * MS, MS))
    assert (seen.slowest_ns, seen.outage_ns) == (7 * MS, 7 * MS)
    silent = seen_by_clients(plan, told(run, (2, 9), (3, None), (8, 11)), {})
    assert silent.slowest_ns == plan.duration_ns - 3 * MS
    assert silent.outage_ns == plan.duration_ns - 11 * MS
    assert seen_by_clients(plan, told(run), {2: 5, 1: 7}) == (0, (), 0, 0, 0, ((1, 7), (2, 5)))


def test_messages_are_the_members_until_the_last_answer(run: tuple[Plan, History]) -> None:
    plan, history = run
    sent = [event for event in history.events.of_kind(Sent) if event.node in ("host1", "host2", "host3")]
    early = seen_by_clients(plan, told(run, (1, 2)), {}).messages
    assert early == sum(event.t_ns <= 2 * MS for event in sent)
    assert early < seen_by_clients(plan, told(run, (1, None)), {}).messages == len(sent)


def test_a_contradiction_is_told_and_a_sound_run_has_none(run: tuple[Plan, History]) -> None:
    plan, history = run
    verdicts = judge(plan, history)
    assert contradiction(verdicts.service, verdicts.consensus) == ""
    events = list(history.events)
    place, last = next(
        (place, event) for place, event in reversed(list(enumerate(events))) if isinstance(event.what, Decide)
    )
    events[place] = last._replace(what=last.what._replace(value=b"another"))
    damaged = judge(plan, with_events(history, events))
    assert contradiction(damaged.service, damaged.consensus).startswith(f"{last.what.instance} is decided in more")
    answered = next(place for place, event in enumerate(history.events) if isinstance(event.what, Return))
    events = list(history.events)
    events[answered] = events[answered]._replace(what=events[answered].what._replace(result=b"\x00another"))
    damaged = judge(plan, with_events(history, events))
    assert "returned" in contradiction(damaged.service, damaged.consensus)


@pytest.mark.parametrize(("crashes", "verbs"), [(Crashes(nics=1), {"nic_down"}), (Crashes(nodes=1), {"node_kill"})])
def test_crashes_strike_members_only(tmp_path: Path, crashes: Crashes, verbs: set[str]) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(DOCUMENT, sort_keys=False), encoding="utf-8")
    study = load_study(tmp_path / "small.yaml")
    scenario = study.scenario_at(study.document.variants[0], 50_000)
    faults = [fault for seed in range(30) for fault in compiled(scenario, seed, crashes).faults]
    assert {fault.verb for fault in faults} == verbs
    assert {fault.target for fault in faults} == {"host1", "host2", "host3"}


def test_what_a_run_was_waited_for_and_what_it_cost() -> None:
    """Four operations, one of which was never answered: so long was a quarter of them waited for."""
    load = Load(4, (30, 10, 20), 99, 0, 60, ((1, 3), (5, 1)))
    assert [load.waited_ns(share) for share in (0.25, 0.5, 0.75, 0.76)] == [10, 20, 30, inf]
    assert load.messages_per_answer() == 20
    assert load.attempts_per_decision() == 2
    silent = Load(4, (), 99, 0, 60)
    assert silent.waited_ns(0.01) == silent.messages_per_answer() == silent.attempts_per_decision() == inf
    assert Load(0, (), 0, 0, 0).waited_ns(0.99) == 0


# -- of many -----------------------------------------------------------------------------------------------------------


def load(slowest_ms: int, outage_ms: int) -> Load:
    return Load(0, (), slowest_ms * MS, outage_ms * MS, 0)


def rows(suffered: dict[float, int], runs: int = 12) -> list[Any]:
    """Of runs that all are in time but so many, which have an outage of 50 ms."""
    return [
        loss_row(
            x,
            False,
            [
                Trial(
                    "key",
                    "v",
                    "sim",
                    x,
                    tuple(range(runs)),
                    0,
                    0,
                    loads=(load(60, 50),) * count + (load(1, 1),) * (runs - count),
                )
            ],
            deadline_ns=100 * MS,
            outage_ns=50 * MS,
            confidence=0.995,
        )
        for x, count in suffered.items()
    ]


def test_the_median_run_is_told_with_its_interval() -> None:
    """Of twelve runs, the 2nd to the 11th at 99 %. What no run, or only the slower half, has an end of is open."""
    twelve = [*range(1, 13)]
    assert typical(reversed(twelve), 0.99) == (6, 2, 11)
    assert typical([*twelve[:10], inf, inf], 0.99) == (6, 2, None)
    assert typical([*twelve[:5], *(inf,) * 7], 0.99) == (None, 2, None)
    assert typical([inf] * 12, 0.99) == (None, None, None)
    assert typical([1, 2, 3], 0.99) == (2, None, None)  # three runs are too few for any


def test_figures_are_told_in_three_digits_with_their_intervals() -> None:
    (row,) = rows({1: 0})
    told = {one.name: one for one in figures(row.to_dict())}
    assert told["longest outage"][1:] == ("1\u00a0ms", "1 – 1\u00a0ms")
    assert told["messages an answer"][1:] == ("–", "")
    some = {"value": 999_600_000, "low": 1_234_567, "high": None}
    told = {one.name: one for one in figures({**row.to_dict(), "p99_ns": some, "attempts": {**some, "low": None}})}
    assert told["99 %"][1:] == ("1\u00a0s", "from 1.23\u00a0ms on")
    assert told["attempts a decision"].interval == "too few runs"


@pytest.mark.parametrize(
    ("suffered", "where"),
    [
        ({1: 0, 2: 0, 3: 12, 4: 12}, Lost(2, 3)),
        ({1: 0, 2: 5, 3: 12, 4: 12}, Lost(1, 3)),  # at 2 nothing is certain
        ({1: 12, 2: 12, 3: 12}, Lost(None, 1)),
        ({1: 0, 2: 0, 3: 6}, Lost(2, None)),
        ({1: 0, 2: 12, 3: 0}, Lost(1, 2)),  # what comes again is lost where it came first
        ({1: 6, 2: 7}, Lost(None, None)),
    ],
)
def test_a_loss_comes_between_two_values_that_are_both_certain(suffered: dict[float, int], where: Lost) -> None:
    assert where_lost(rows(suffered), AVAILABILITY, 0.5) == where
    assert where_lost(rows(suffered), DEADLINE, 0.5) == Lost(max(suffered), None)


def test_what_comes_first_is_the_lowest_and_ties_are_told_as_such() -> None:
    where = dict(zip(LOSSES, (Lost(1, 2), Lost(None, 2), Lost(2, 3)), strict=True))
    assert lost_first(where) == (DEADLINE, AVAILABILITY)
    assert lost_first(dict.fromkeys(LOSSES, Lost(3, None))) == ()
