"""What a frame weighs counts in the simulator: in the record, at a rate, and in the capture."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.utils import PcapNgReader
from sim_plans import US, make_plan

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.nodes.core import Decide
from testbed.nodes.core.config import ProtocolConfig
from testbed.nodes.core.record import Received, Sent
from testbed.nodes.frames import MAX_WIRE_BYTES, WIRE_BYTES
from testbed.pcapng import write_simulated
from testbed.plan import Plan
from testbed.topologies.impairment import Impairment

GIGABIT = 1_000_000_000


def paxos(value_bytes: int) -> Plan:
    """Two nodes, one instance, on links of 10 us and 1 Gbit/s."""
    protocol = ProtocolConfig(
        consensus="paxos", instances=1, period_ns=1_000 * US, parameters={"value_bytes": value_bytes}
    )
    return make_plan(Impairment(delay_ns=10 * US, rate_bps=GIGABIT), protocol=protocol)


def flights(history: History) -> dict[int, set[int]]:
    """The size of a frame -> how long those of this size were under way."""
    sent = {event.what.key: event for event in history.events.of_kind(Sent)}
    found: dict[int, set[int]] = {}
    for event in history.events.of_kind(Received):
        begun = sent[event.what.key]
        found.setdefault(begun.what.size, set()).add(event.t_ns - begun.t_ns)
    return found


def test_a_short_value_goes_in_slots_alone() -> None:
    assert set(flights(SimEngine().run(paxos(0)))) == {WIRE_BYTES}


@pytest.mark.parametrize("value_bytes", [100, 4096])
def test_a_long_frame_takes_its_bytes_time_at_the_rate(value_bytes: int) -> None:
    """8 ns a byte, of 24 bytes more than software sees: FCS, preamble and gap."""
    history = SimEngine().run(paxos(value_bytes))
    decided = [event.what.value for event in history.events.of_kind(Decide)]
    assert [len(value) for value in decided] == [value_bytes] * 2
    alone = {size: min(times) for size, times in flights(history).items()}
    assert alone[WIRE_BYTES] == 10 * US + 8 * (WIRE_BYTES + 24)
    longest = max(alone)
    assert longest == (MAX_WIRE_BYTES if value_bytes > 1500 else 40 + 8 + value_bytes + 4)
    assert alone[longest] == 10 * US + 8 * (longest + 24)


def test_a_capture_holds_frames_as_long_as_they_were(tmp_path: Path) -> None:
    plan = paxos(4096)
    history = SimEngine().run(plan)
    write_simulated(tmp_path, plan, history)
    with PcapNgReader(str(tmp_path / "frames.pcapng")) as packets:
        sizes = [len(packet) for packet in packets]
    # on a pair every frame is seen where it leaves and where it arrives
    assert sorted(sizes) == sorted(2 * [event.what.size for event in history.events.of_kind(Sent)])
