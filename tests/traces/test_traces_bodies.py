"""What the messages of each engine hold, field by field: what its code packs, its declared form tells, and so does the
dissector for Wireshark, whose tables are written from the forms."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from commands import read_trace, run_trace
from needs import ROOT
from network import Network
from wireshark import dissected

from testbed.nodes.consensus import logs
from testbed.nodes.consensus.hydra import messages as hydra
from testbed.nodes.consensus.hydra.merge import Entry as SiteEntry
from testbed.nodes.consensus.ios import messages as ios
from testbed.nodes.consensus.multi_paxos import messages as multi_paxos
from testbed.nodes.consensus.multi_paxos.roles import Vote
from testbed.nodes.consensus.paxos import messages as paxos
from testbed.nodes.consensus.raft import messages as raft
from testbed.nodes.consensus.raft.entries import Entry, Spot
from testbed.nodes.consensus.raft.quorums import Membership
from testbed.nodes.consensus.vrr import messages as vrr
from testbed.nodes.core.layout import Body, entry, fields, number, part, parts, rest
from testbed.nodes.frames import Frame, FrameKey, Kind, Message, encode
from testbed.nodes.registry import engine_specs
from testbed.pcapng import About, Packets, Wires, write_packets
from testbed.report.dissector import SCRIPT, bodies_by_owner, with_forms

SPECS = {spec.name: spec for spec in engine_specs()}
ENTRY = logs.Submission(2, 1, 7, b"value").entry()
SUBMITTED = [("entry_rank", 2), ("entry_life", 1), ("entry_place", 7), ("value", b"value")]


def form_of(engine: str, message: Message) -> Body | None:
    """What is declared of such a message."""
    bodies = bodies_by_owner()["services" if message.step >= 128 else engine]
    return bodies.get(0 if message.kind is Kind.SWAP else message.step)


@pytest.fixture(scope="module")
def told() -> dict[str, list[Message]]:
    """What machines say in the traces of the engines: each message once."""
    said: dict[str, dict[Message, None]] = defaultdict(dict)
    transmit = Network.transmit
    with pytest.MonkeyPatch.context() as patch:
        for name in SPECS:
            trace = ROOT / "tests" / "traces" / f"{'rounds' if name == 'none' else name}.txt"
            heard = said[name]

            def listen(net: Network, frame: Frame, heard: dict[Message, None] = heard) -> None:
                heard[frame.message] = None
                transmit(net, frame)

            patch.setattr(Network, "transmit", listen)
            run_trace(read_trace(trace.read_text(encoding="utf-8")))
    return {
        name: [message for message in heard if message.kind in (Kind.SWAP, Kind.DATA)] for name, heard in said.items()
    }


def test_every_engine_declares_the_form_of_everything_that_it_says(told: dict[str, list[Message]]) -> None:
    """No body has more than its form, or less."""
    for engine, messages in told.items():
        assert len(messages) > 5, engine
        for message in messages:
            form = form_of(engine, message)
            assert form is not None, (engine, message)
            fields(form.items, message.body)


def test_every_step_of_every_engine_has_a_form() -> None:
    for name, spec in SPECS.items():
        if not spec.made_of_swaps:
            module = import_module(f"testbed.nodes.consensus.{name}.messages")
            own = getattr(module, "Step", getattr(module, "Phase", ()))
            assert {int(step): step.name.lower() for step in own}.items() <= {
                step: form.name for step, form in spec.bodies.items()
            }.items()


VOTES = multi_paxos.pack_votes({6: Vote(2, ENTRY), 8: Vote(1, logs.NOOP)})
MEMBERS = Membership(1, (0, 1), ())
PACKED = raft.pack_members(MEMBERS)
APPEND = raft.Append(Spot(9, 3), 8, 77, (Entry(4, ENTRY), Entry(4, logs.NOOP)))
LOG = vrr.State(6, 7, (vrr.Entry(2, ENTRY),), b"base")
AFTER = [("at", 9), ("term", 3), ("commit", 8), ("probe", 77)]
KNOWN = [("normal", 2), ("life", 1), ("life", 4)]
Wanted = list[tuple[str, int | bytes]]


def data(step: int, body: bytes) -> Message:
    return Message(Kind.DATA, 3, step, body)


SAID: list[tuple[str, Message, str, Wanted]] = [
    (
        "paxos",
        data(2, paxos.Message(paxos.Step.PROMISE, 9, 4, b"abc").body()),
        "promise",
        [("ballot", 9), ("voted", 4), ("value", b"abc")],
    ),
    (
        "multi_paxos",
        data(2, multi_paxos.Message(multi_paxos.Step.PROMISE, 3, (6,), VOTES).body()),
        "promise",
        [("slot", 6), ("slot", 6), ("ballot", 2), *SUBMITTED, ("slot", 8), ("ballot", 1), ("entry", logs.NOOP)],
    ),
    ("ios", data(12, ios.Order(3, 5, 4, ENTRY).body()), "order", [("slot", 5), ("chosen", 4), *SUBMITTED]),
    (
        "hydra",
        data(98, hydra.pack_entries(1, 40, [SiteEntry(7, b"xy")])),
        "entries",
        [("site", 1), ("place", 40), ("ballot", 7), ("value", b"xy")],
    ),
    (
        "raft",
        raft.message(4, APPEND),
        "append",
        [*AFTER, ("term", 4), ("size", len(ENTRY)), *SUBMITTED, ("term", 4), ("size", 1), ("entry", logs.NOOP)],
    ),
    (
        "raft",
        raft.message(4, raft.Snapshot(Spot(9, 3), MEMBERS, 5, b"all")),
        "snapshot",
        [("at", 9), ("term", 3), ("probe", 5), ("size", len(PACKED)), ("members", PACKED), ("state", b"all")],
    ),
    (
        "vrr",
        vrr.message(3, vrr.DoViewChange(2, (1, 4), LOG)),
        "do_view_change",
        [*KNOWN, ("after", 6), ("commit", 7), ("view", 2), *SUBMITTED, ("base", b"base")],
    ),
]


@pytest.mark.parametrize(("engine", "message", "name", "wanted"), SAID, ids=[f"{one[0]}-{one[2]}" for one in SAID])
def test_the_fields_are_what_the_engines_own_code_packed(
    engine: str, message: Message, name: str, wanted: Wanted
) -> None:
    form = form_of(engine, message)
    assert form is not None
    assert (form.name, fields(form.items, message.body)) == (name, wanted)


@pytest.mark.parametrize(
    ("items", "data"),
    [
        ((number("a"),), b"\0\0\0"),
        ((number("a"),), bytes(5)),
        ((part("a", number("b")),), bytes([0, 0, 0, 4, 0, 0])),
        ((part("a", number("b")),), bytes([0, 0, 0, 5, 0, 0, 0, 0, 0])),
        ((parts("a", number("b"), rest("c")),), bytes([0, 0, 0, 2, 0, 0])),
        ((part("a"), entry()), bytes([0, 0, 1, 0])),
    ],
)
def test_what_does_not_fit_its_form_is_refused(items: tuple, data: bytes) -> None:
    with pytest.raises(ValueError, match="its form"):
        fields(items, data)


def test_the_dissectors_forms_are_those_of_the_code() -> None:
    script = SCRIPT.read_text(encoding="utf-8")
    assert script == with_forms(script), "write them anew: python -m testbed.report.dissector"


def hurt(messages: Sequence[Message], seed: int) -> list[Message]:
    """The same, cut short or with bytes behind."""
    draw = random.Random(seed)
    found = []
    for message in messages:
        cut = draw.randrange(len(message.body) + 1)
        longer = message.body + draw.randbytes(draw.randrange(1, 6))
        found.append(message._replace(body=draw.choice([message.body[:cut], longer])))
    return found


class OfEach(About):
    """Every interface is of the engine that it is called by."""

    def description(self, interface: str) -> str:
        return f"host on link, consensus {interface}"


def shown(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name.startswith(("oae.body.", "oae.bytes."))}


def as_shown(found: Wanted) -> dict[str, str]:
    listed: dict[str, list[str]] = defaultdict(list)
    for name, value in found:
        of_bytes = isinstance(value, bytes)
        listed[f"oae.bytes.{name}" if of_bytes else f"oae.body.{name}"].append(value.hex() if of_bytes else str(value))
    return {name: ",".join(values) for name, values in listed.items()}


def test_wireshark_reads_every_field_that_we_read(told: dict[str, list[Message]], tmp_path: Path) -> None:
    """Sound bodies and hurt ones, of all engines in one capture, an interface each."""
    engines = sorted(told)
    said = [(engine, one) for engine, one, _, _ in SAID]
    for engine in engines:
        some = told[engine][:60]
        said += [(engine, one) for one in (*some, *(() if SPECS[engine].made_of_swaps else hurt(some, 4)))]
    wires = [encode(Frame(FrameKey(1, 1, n), 2, 1, one), bytes(6), bytes(6)) for n, (_, one) in enumerate(said)]
    places, count = np.array([engines.index(engine) for engine, _ in said], np.int32), len(wires)
    packets = Packets(places, np.arange(count), np.ones(count, bool), np.arange(count), Wires.of(wires))
    write_packets(tmp_path / "all.pcapng", engines, packets, about=OfEach())
    asked = ["oae.says", "oae.engine", "oae.misfit", *field_names()]
    fitting = 0
    for (engine, one), row in zip(said, dissected(tmp_path / "all.pcapng", asked, "a"), strict=True):
        form = form_of(engine, one)
        assert form is not None
        assert (row["oae.says"], row["oae.engine"]) == (form.name, engine)
        try:
            wanted = as_shown(fields(form.items, one.body))
        except ValueError:
            assert "oae.misfit" in row, (engine, one)
            continue
        fitting += 1
        assert "oae.misfit" not in row, (engine, one)
        assert shown(row) == wanted, (engine, one)
    assert fitting > count / 3
    assert count - fitting > 50


def field_names() -> list[str]:
    """Of all bodies, as the script lists them."""
    script = SCRIPT.read_text(encoding="utf-8")
    tables = {"body": "NUMBER_NAMES", "bytes": "BYTES_NAMES"}
    lists = {kind: re.search(rf"^local {table} = (.*)$", script, re.MULTILINE) for kind, table in tables.items()}
    return [f"oae.{kind}.{name}" for kind, found in lists.items() if found for name in re.findall(r'"(\w+)"', found[1])]
