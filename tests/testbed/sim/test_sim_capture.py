"""The capture of a simulated run: frame by frame what the wire format's own encoder makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader
from sim_plans import US, make_plan

from testbed.engines.sim import SimEngine
from testbed.history import History, Hop, Hops
from testbed.nodes.core.config import ProtocolConfig
from testbed.nodes.core.record import Sent
from testbed.nodes.frames import BODY_BYTES, WIRE_BYTES, Frame, Kind, Message, encode
from testbed.pcapng import write_simulated
from testbed.plan import Plan
from testbed.topologies.impairment import Impairment

HARSH = Impairment(delay_ns=10 * US, jitter_ns=8 * US, loss=0.05, corrupt=0.1, duplicate=0.05)


def expected(plan: Plan, history: History, hop: Hop) -> bytes:
    """One frame's bytes, by testbed.nodes.frames.encode; a corrupt one's checksum is inverted."""
    sizes = {event.what.key: event.what.size for event in history.events.of_kind(Sent)}
    body = bytes(sizes[hop.key] - WIRE_BYTES + BODY_BYTES)
    kind = Kind.DATA if plan.protocol.consensus == "paxos" else Kind.SWAP
    macs = {link.a.node: link.a.mac for link in plan.fabric.links} | {
        link.b.node: link.b.mac for link in plan.fabric.links
    }
    hosts = plan.fabric.hosts
    there, back = (
        (bytes.fromhex(macs[hosts[number]].replace(":", "")) for number in (hop.dst, hop.key.src))
        if hop.dst >= 0
        else (bytes(6), bytes(6))
    )
    wire = encode(Frame(hop.key, max(0, hop.dst), 0, Message(kind, hop.round, hop.step, body)), there, back)
    return wire[:-4] + bytes(byte ^ 0xFF for byte in wire[-4:]) if hop.corrupt else wire


@pytest.mark.parametrize("consensus", ["oae", "paxos"])
def test_a_capture_holds_what_the_encoder_would_send(consensus: str, tmp_path: Path) -> None:
    """Slots and long frames, sound, hurt and doubled ones, and one for a node that is not known."""
    own = {"parameters": {"value_bytes": 3000}, "instances": 4} if consensus == "paxos" else {"rounds": 30}
    protocol = ProtocolConfig(consensus=consensus, period_ns=1_000 * US, **own)
    plan = make_plan(HARSH, protocol=protocol, duration_ns=30_000 * US)
    history = SimEngine().run(plan)
    stranger = next(hop.key for hop in history.hops if hop.what == "in")
    hops = [hop._replace(dst=-1) if hop.key == stranger else hop for hop in history.hops]
    history = replace(history, hops=Hops.of(hops))
    seen = [hop for hop in hops if hop.what in ("in", "out", "dup")]
    assert {hop.corrupt for hop in seen} == {False, True}
    assert "dup" in {hop.what for hop in seen}
    write_simulated(tmp_path, plan, history)
    with RawPcapNgReader(str(tmp_path / "frames.pcapng")) as packets:
        found = [(wire, (meta.tshigh << 32 | meta.tslow)) for wire, meta in packets]
    assert found == [(expected(plan, history, hop), hop.t_ns) for hop in seen]
    assert len({len(wire) for wire, _ in found}) == (3 if consensus == "paxos" else 1)
