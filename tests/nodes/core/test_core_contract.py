"""The contract around a machine: its configuration crosses borders, its effects become rows, its state one value."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace
from typing import NamedTuple

import pytest

from testbed.nodes.core import (
    Decide,
    Effect,
    Life,
    LinkState,
    Machine,
    Note,
    Outcome,
    Resolve,
    RoundStart,
    SwapId,
    Transition,
    swap_id,
)
from testbed.nodes.core.config import NodeConfig, Peer, ProtocolConfig, node_config_from_json
from testbed.nodes.core.record import KINDS, Died, Dropped, Noted, Sent, What, kind_named, recorded, schema
from testbed.nodes.core.snapshot import snapshot
from testbed.nodes.core.values import of_int, text, to_int
from testbed.nodes.frames import Frame, FrameKey, Kind, Message
from testbed.nodes.registry import build_machine, engine_names, engine_spec

NAMES = {0: "host1", 1: "host2", 2: "host3"}
SAID = Message(Kind.SWAP, 17, 4)
FRAME = Frame(FrameKey(2, 3, 99), 1, 0, SAID)


def config(consensus: str = "none", **protocol: object) -> NodeConfig:
    peers = tuple(Peer(node, NAMES[node], "eth0", f"02:00:00:00:00:0{node}") for node in (0, 2))
    settings = ProtocolConfig(consensus=consensus, rounds=3, instances=3, f=1, instance_rounds=3, **protocol)  # type: ignore[arg-type]
    return NodeConfig(1, "host2", peers, {"eth0": "02:00:00:00:00:01"}, (0, 1, 2), settings, seed=5, epoch=1)


def test_a_configuration_comes_back_from_json_text() -> None:
    assert node_config_from_json(json.loads(json.dumps(asdict(config())))) == config()
    assert config().n == 3


def test_a_swap_has_one_name_whoever_asks() -> None:
    assert swap_id(5, 1, 2) == swap_id(5, 2, 1) == SwapId(5, 1, 2)


@pytest.mark.parametrize(
    ("what", "columns"),
    [
        (
            Transition(SwapId(17, 1, 2), LinkState.TENTATIVE, LinkState.REFLECTING),
            {"swap_round": 17, "swap_low": 1, "swap_high": 2, "old": "TENTATIVE", "new": "REFLECTING"},
        ),
        (
            Resolve(SwapId(17, 0, 1), Outcome.COMMITTED, b"\x01\xff"),
            {"swap_round": 17, "swap_low": 0, "swap_high": 1, "outcome": "committed", "value": b"\x01\xff"},
        ),
        (Decide(4, of_int(7), 12), {"instance": 4, "value": b"\0\0\0\7", "round": 12}),
        (Died("disk full"), {"why": "disk full"}),
        (
            Sent(FrameKey(2, 3, 99), 1, 17, 4, 1514, 5),
            {"key_src": 2, "key_epoch": 3, "key_seq": 99, "dst": 1, "round": 17, "step": 4, "size": 1514, "ends": 5},
        ),
        (
            Dropped("short", None, -1, -1, 5),
            {"why": "short", "key_src": -1, "key_epoch": -1, "key_seq": -1, "round": -1, "step": -1, "at_ns": 5},
        ),
    ],
)
def test_the_columns_of_what_is_recorded(what: What, columns: dict[str, object]) -> None:
    form = schema(type(what))
    assert dict(zip([column.name for column in form.columns], form.flat(what), strict=True)) == columns
    assert [column.holds for column in form.columns] == [type(value) for value in columns.values()]
    (again,) = form.whats([[value] for value in form.flat(what)], 1)
    assert again == what
    assert [type(field) for field in again] == [type(field) for field in what]


@pytest.mark.parametrize(
    ("effect", "what"),
    [
        (RoundStart(3, b"\x01\xff"), RoundStart(3, b"\x01\xff")),
        (Note("late", 3, "by far"), Noted("late", 3, "by far", None, -1)),
        (Note("stale", 17, "", FRAME), Noted("stale", 17, "", FrameKey(2, 3, 99), 4)),
        (Note("stray", 17, "", SAID), Noted("stray", 17, "", None, 4)),  # no frame is in hand any more
    ],
)
def test_an_effect_is_recorded_as_itself_and_a_notes_frame_by_its_key(effect: Effect, what: What) -> None:
    assert recorded(effect) == what
    assert type(recorded(effect)) in KINDS


def test_every_kind_has_a_name_of_its_own() -> None:
    names = [schema(kind).name for kind in KINDS]
    assert len(set(names)) == len(names) == len(KINDS)
    assert [kind_named(name) for name in names] == list(KINDS)


def test_a_field_that_has_no_form_as_columns_is_refused() -> None:
    class Odd(NamedTuple):
        values: list[int]

    with pytest.raises(TypeError, match=r"Odd\.values"):
        schema(Odd)  # type: ignore[arg-type]


def test_a_value_is_written_as_the_number_it_is_or_in_hex_and_a_long_one_by_its_digest() -> None:
    assert [text(of_int(number)) for number in (0, 7, 0xFFFFFFFF)] == ["0", "7", "4294967295"]
    assert [text(value) for value in (b"", b"\x07", b"key=1")] == ["0x", "0x07", "0x6b65793d31"]
    long, other = text(bytes(4096)), text(bytes(4095) + b"\1")
    assert long.startswith("4096B:")
    assert long != other
    assert len(long) < 50
    with pytest.raises(ValueError, match="4 bytes, not 3"):
        to_int(b"abc")


def test_there_is_no_other_engine() -> None:
    with pytest.raises(ValueError, match=f"'telepathy' is no engine; there are {', '.join(engine_names())}"):
        build_machine(config("telepathy"))


# -- the state ---------------------------------------------------------------------------------------------------------


def lead(machine: Machine, consensus: str) -> Machine:
    """Some events; what the machine answers is of no interest here."""
    kind = Kind.SWAP if engine_spec(consensus).made_of_swaps else Kind.DATA
    machine.on_start(-1, {})
    machine.on_timer("instance" if kind is Kind.DATA else "round", 0)
    for port in (0, 1):
        machine.on_message(port, Message(kind, 0, 1, bytes([0, 0, 0, 1] * 4)), Life(1, 0), 10)
    return machine


@pytest.mark.parametrize("consensus", engine_names())
def test_equal_events_lead_to_equal_states_and_answers(consensus: str) -> None:
    one, other = (lead(build_machine(config(consensus)), consensus) for _ in range(2))
    assert snapshot(one) == snapshot(other)
    assert hash(snapshot(one)) == hash(snapshot(other))
    name = "horizon" if engine_spec(consensus).made_of_swaps else "retry 0"
    assert one.on_timer(name, 300_000) == other.on_timer(name, 300_000)
    assert snapshot(one) == snapshot(other)


@pytest.mark.parametrize("consensus", engine_names())
def test_a_state_is_the_same_after_pickle_and_another_after_an_event(consensus: str) -> None:
    machine = lead(build_machine(config(consensus)), consensus)
    before = snapshot(machine)
    assert snapshot(pickle.loads(pickle.dumps(machine))) == before
    kind = Kind.SWAP if engine_spec(consensus).made_of_swaps else Kind.DATA
    if engine_spec(consensus).keeps_a_log:
        machine.on_timer("input", 20)
    else:
        machine.on_message(0, Message(kind, 1, 1), Life(2, 0), 20)
    assert snapshot(machine) != before
    assert snapshot(build_machine(replace(config(consensus), seed=6))) != snapshot(build_machine(config(consensus)))


def test_a_snapshot_knows_no_order_where_there_is_none() -> None:
    assert snapshot({1: {3, 4}, 2: [5]}) == snapshot({2: (5,), 1: {4, 3}})
    assert snapshot([1, 2]) != snapshot([2, 1])
    assert snapshot(replace(config().protocol, f=2)) != snapshot(config().protocol)


def test_what_pickle_cannot_copy_has_no_snapshot() -> None:
    with pytest.raises(TypeError, match="generator"):
        snapshot({"state": (number for number in range(3))})
