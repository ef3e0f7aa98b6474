"""Replicas and clients on the simulator: what crashes, restarts, losses and silence leave of a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from builders import node_config
from service_story import served
from work import steps

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.nodes.core import Apply, Decide, Effects, Install, Invoke, Life, Port, Return
from testbed.nodes.core.config import Program
from testbed.nodes.core.record import Died, Noted, Sent, Started
from testbed.nodes.frames import Kind, Message
from testbed.nodes.registry import build_machine, service_spec
from testbed.nodes.services.by_instances import ReplicaByInstances
from testbed.nodes.services.log import NOTHING
from testbed.nodes.services.spec import LogParameters
from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge
from testbed.verdicts.model import Verdicts


def story(faults: list[dict[str, Any]], seed: int = 1, **changes: Any) -> tuple[Plan, History, Verdicts]:
    """Three replicas (host1 to host3) and two clients, of 60 operations each."""
    data: dict[str, Any] = {
        "name": "x",
        "topology": {"kind": "star", "hosts": 5},
        "links": {"default": {"delay": "20us", "jitter": "5us", "loss": 0.01}},
        "protocol": {"consensus": "paxos", "f": 1, "window": "1ms", "instances": 250, "retry": "300us",
                     "participants": ["host[123]"]},
        "service": {"kind": "kv", "snapshot_every": 16},
        "clients": {"hosts": ["host[45]"], "operations": 60, "think": "200us", "timeout": "3ms", "mix": {"keys": 2}},
        "faults": faults,
        "seed": seed,
    }  # fmt: skip
    for key, value in changes.items():
        data[key] = {name: held for name, held in {**data[key], **value}.items() if held is not None}
    plan = compile_plan(from_data(data))
    history = SimEngine().run(plan)
    return plan, history, judge(plan, history)


def applied(history: History, since_ns: int = -1) -> dict[str, list[int]]:
    """Node -> the entries that it applied, in order."""
    found: dict[str, list[int]] = {}
    for event in history.events.of_kind(Apply):
        if isinstance(event.what, Apply) and event.t_ns >= since_ns:
            found.setdefault(event.node, []).append(event.what.entry)
    return found


CRASHES: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "the leader dies": [{"at": "8ms", "do": "node_kill", "on": "host1"}],
    "a follower dies": [{"at": "8ms", "do": "node_kill", "on": "host3"}],
    "the leader restarts with its disk": [
        {"at": "8ms", "do": "node_kill", "on": "host1", "for": "5ms", "state": "kept"}
    ],
    "a follower's power fails in a write": [
        {"when": {"node": "host2", "after_sends": 2, "round": 20}, "do": "node_kill", "for": "5ms", "state": "torn"}
    ],
    "a follower restarts without": [{"at": "8ms", "do": "node_kill", "on": "host2", "for": "5ms", "state": "lost"}],
    "the leader is silent for a while": [{"at": "8ms", "do": "nic_mute", "on": "host1", "for": "10ms"}],
    "a follower is paused": [{"at": "8ms", "do": "node_pause", "on": "host2", "for": "10ms"}],
}


@pytest.mark.parametrize("what", CRASHES)
def test_every_operation_returns_once_and_by_the_log_whatever_one_replica_does(what: str) -> None:
    for seed in range(2):
        _, history, verdicts = story(CRASHES[what], seed)
        service = verdicts.service
        assert service is not None
        assert service.violations == ()
        assert (service.done, service.open) == (120, 0)
        assert verdicts.consensus is not None
        assert not verdicts.consensus.disagreements
        assert not verdicts.consensus.invalid
        assert verdicts.fidelity.reasons == ()
        assert len(history.events.table(Invoke)) == len(history.events.table(Return)) == 120


@pytest.mark.parametrize("what", [what for what in CRASHES if "power" not in what])
def test_it_is_so_on_an_engine_that_keeps_one_log(what: str) -> None:
    _, history, verdicts = story(CRASHES[what], protocol={"consensus": "multi_paxos"})
    service, told = verdicts.service, verdicts.consensus
    assert service is not None
    assert service.violations == ()
    assert (service.done, service.open) == (120, 0)
    assert told is not None
    assert not told.disagreements
    assert told.invalid == told.repeated == told.disordered == told.undecided == ()
    assert verdicts.fidelity.reasons == ()
    assert ("restarts" in what) <= (history.events.count(Install) > 0), "who comes back is given a state"


SWAPS: dict[str, Any] = {
    "links": {"default": {"delay": "20us", "jitter": "5us"}},
    "clients": {"operations": 15, "timeout": "6ms"},
}
ON_SWAPS = {"consensus": "oae", "window": "250us"}


def on_swaps(faults: list[dict[str, Any]], rounds: int = 500, **links: Any) -> tuple[Plan, History, Verdicts]:
    """The same three replicas on rounds of swaps."""
    changes = {**SWAPS, "links": {"default": {**SWAPS["links"]["default"], **links}}}
    return story(faults, protocol={**ON_SWAPS, "rounds": rounds, "instances": None}, **changes)


@pytest.mark.parametrize("what", [what for what in CRASHES if "power" not in what])
def test_it_is_so_on_an_engine_made_of_swaps_as_well(what: str) -> None:
    _, history, verdicts = on_swaps(CRASHES[what])
    service = verdicts.service
    assert service is not None
    assert service.violations == ()
    assert (service.done, service.open) == (30, 0)
    assert verdicts.consensus is not None
    assert not verdicts.consensus.disagreements
    assert not verdicts.consensus.invalid
    assert verdicts.fidelity.reasons == ()
    last = {entries[-1] for node, entries in applied(history).items() if (node, what) not in DEAD}
    assert len(last) == 1, "who was away or came back has the whole log"


DEAD = {("host1", "the leader dies"), ("host3", "a follower dies")}


def test_a_value_that_did_not_reach_a_member_is_asked_for_when_it_is_decided_on() -> None:
    """Much of what goes to host3 is lost for a while, swaps and values alike."""
    faults = [{"at": "10ms", "do": "jitter", "links": "*->host3", "loss": "15%", "for": "60ms"}]
    _, history, verdicts = on_swaps(faults)
    assert verdicts.service is not None
    assert verdicts.service.violations == ()
    assert (verdicts.service.done, verdicts.service.open) == (30, 0)
    entries = applied(history)
    assert entries["host3"][-1] == entries["host1"][-1]
    assert {142, 143} <= set(history.events.table(Sent)["step"].tolist()), "a value was wanted, and given"


def test_an_instance_of_rounds_that_nobody_decided_stalls_the_log_and_nothing_false_is_told() -> None:
    faults = [{"at": "20ms", "do": "jitter", "delay": "400us", "jitter": "0us", "for": "5ms"}]
    _, history, verdicts = on_swaps(faults)
    assert verdicts.service is not None
    assert verdicts.service.violations == ()
    assert verdicts.service.open == 2
    assert {entries[-1] for entries in applied(history).values()} < {12, 13, 14}, "20 ms into 1.5 ms an entry"


def test_a_replica_that_kept_its_disk_goes_on_in_its_log_and_proposes() -> None:
    _, history, _ = story(CRASHES["the leader restarts with its disk"])
    entries = applied(history)
    assert entries["host1"][-1] == entries["host2"][-1]
    born = [event.t_ns for event in history.events.of_kind(Started) if event.node == "host1"][-1]
    again = applied(history, born)["host1"]
    assert again == list(range(again[0], again[-1] + 1)), "from its last snapshot on, without a gap"
    assert again[0] % 16 == 0


def test_a_replica_without_its_disk_gets_the_log_from_the_others_and_takes_no_part_in_consensus() -> None:
    _, history, _ = story(CRASHES["a follower restarts without"])
    born = [event.t_ns for event in history.events.of_kind(Started) if event.node == "host2"][-1]
    proposed = [
        e for e in history.events if e.node == "host2" and e.t_ns >= born and type(e.what).__name__ == "Propose"
    ]
    assert proposed == []
    entries = applied(history)
    assert entries["host2"][-1] == entries["host1"][-1]
    assert any(isinstance(e.what, Noted) and e.what.what == "restored" for e in history.events if e.node == "host2")


class Decided:
    """An engine that has decided what each message says."""

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        return []

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        return [Decide(message.round, message.body, 1)]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        return []

    def awaits(self, now_ns: int) -> int | None:
        return None

    def propose(self, instance: int, value: bytes, now_ns: int) -> Effects:
        return []


def test_an_event_is_no_more_work_for_a_replica_however_long_its_log_is() -> None:
    """No snapshot stands for any entry."""
    parameters = LogParameters(snapshot_every=1000)
    replica = ReplicaByInstances(node_config(0, 3), Decided(), service_spec("kv"), True, parameters)
    decisions = [Message(Kind.DATA, entry, 1, NOTHING) for entry in range(200)]
    work = [steps(replica.on_message, 0, decision, Life(1, 1), 0) for decision in decisions]
    assert replica.applied == 200
    assert max(work) <= 2 * work[0]


def test_with_too_many_crashes_operations_stay_open_and_nothing_false_is_told() -> None:
    faults = [{"at": "8ms", "do": "node_kill", "on": "host[12]"}]
    _, _, verdicts = story(faults)
    assert verdicts.service is not None
    assert verdicts.service.violations == ()
    assert verdicts.service.open == 2, "each client waits for one, and asks on"


def test_a_client_that_dies_leaves_its_operation_open_and_its_next_life_begins_anew() -> None:
    faults = [{"at": "8050us", "do": "node_kill", "on": "host4", "for": "2ms"}]
    _, history, verdicts = story(faults)
    assert verdicts.service is not None
    assert verdicts.service.violations == ()
    assert verdicts.service.open <= 1
    numbers = {event.what.operation for event in history.events.of_kind(Invoke) if isinstance(event.what, Invoke)}
    assert len(numbers) == verdicts.service.done + verdicts.service.open > 120
    assert [e.node for e in history.events.of_kind(Died)] == ["host4"]


def test_an_open_loop_calls_by_the_clock_and_answers_come_as_they_can() -> None:
    clients = {"think": None, "every": "100us", "operations": 80}
    _, history, verdicts = story([], clients=clients)
    assert verdicts.service is not None
    assert verdicts.service.violations == ()
    assert (verdicts.service.done, verdicts.service.open) == (160, 0)
    times = [event.t_ns for event in history.events.of_kind(Invoke) if event.node == "host4"]
    assert times == [100_000 * place for place in range(80)]
    assert verdicts.service.entries < 160, "what comes meanwhile shares an entry"


def test_entries_longer_than_a_frame_travel_in_parts() -> None:
    _, history, verdicts = story([], clients={"mix": {"keys": 2, "value_bytes": 4000, "get": 0}, "operations": 20})
    assert verdicts.service is not None
    assert verdicts.service.violations == ()
    assert verdicts.service.done == 40
    assert max(history.events.table(Sent)["size"].tolist()) == 1514


def test_a_run_is_told_again_by_its_seed() -> None:
    one, other = (story(CRASHES["the leader dies"], 3)[1] for _ in range(2))
    assert one.events == other.events
    assert story(CRASHES["the leader dies"], 4)[1].events != one.events


def test_roles_without_a_program_and_engines_without_a_log_are_refused_by_name() -> None:
    config = story([])[0].node_config("host1")
    for role in ("foreign", "guest"):
        with pytest.raises(ValueError, match=f"host1: no program of role '{role}' can be run"):
            build_machine(replace(config, program=Program(role, "x")))
    bits = replace(config, protocol=replace(config.protocol, consensus="ben_or", parameters={}))
    with pytest.raises(ValueError, match="host1: ben_or decides a bit at a time; a service needs bytes"):
        build_machine(bits)


PARTED = "at 4ms partition host1 | host2,host3 for 9ms"
"""host1, which leads, is parted from the other replicas and hears its clients all the time."""


def test_an_answer_before_the_operation_stands_in_the_log_is_found_when_whoever_gave_it_is_lost() -> None:
    faults, clients = [PARTED, "at 6ms node_kill host1"], {"operations": 100, "timeout": "1ms"}
    _, sound = served({"kind": "kv"}, clients, faults)
    assert sound.properties == {"durability": True}
    _, planted = served({"kind": "kv"}, clients, faults, ("answers_too_soon",))
    assert planted.properties == {"durability": False}
    assert any(told.endswith("at host4 and stands in no entry of the log") for told in planted.violations)


def test_an_operation_that_happens_as_often_as_it_stands_in_the_log_is_found() -> None:
    """host1 still has what its client has asked for elsewhere meanwhile, and brings it into the log again."""
    clients = {"operations": 150, "timeout": "1ms", "mix": {"keys": 1, "cas": 0, "put": 2}}
    _, sound = served({"kind": "kv"}, clients, [PARTED], seed=1)
    assert sound.holds
    _, planted = served({"kind": "kv"}, clients, [PARTED], ("happens_again",), seed=1)
    assert planted.consistency == {"linearizable": False}
    assert any("by the log it is" in told for told in planted.violations)
