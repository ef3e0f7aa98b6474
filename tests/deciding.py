"""One story for every engine that decides: a star whose host1 is not heard for a while, and what is decided there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from testbed.history import History
from testbed.nodes.core import Decide
from testbed.nodes.core.values import to_int
from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge

INPUTS = 8
"""Of each host: one for each instance, or so many to be submitted to a log."""


class Told(NamedTuple):
    """values: the numbers that are decided. hosts: of the star. splits: instances in which not all decide the same."""

    values: Collection[int]
    hosts: int = 3
    splits: int = 0


DECIDING: Mapping[str, Told] = {
    "ben_or": Told(range(2)),  # of what is proposed, the lowest bit
    "chandra_toueg": Told(range(3)),
    "epaxos": Told(range(24)),
    "fast_paxos": Told(range(3)),
    "floodset": Told(range(2), splits=1),  # in which host1 does not hear of the least input
    "hydra": Told(range(32), hosts=4),
    "ios": Told(range(24)),
    "multi_paxos": Told(range(24)),
    "oae": Told([0]),  # the least input
    "paxos": Told(range(3)),
    "raft": Told(range(24)),
    "vrr": Told(range(24)),
    "zab": Told(range(24)),
}
"""Engine -> what becomes of the story on it, by sim: of instances some member's input each, in a log all inputs."""


def around_a_mute_nic(consensus: str) -> Plan:
    """Instances that begin before a NIC goes mute, while it is, and afterwards; links lose frames, and overtake."""
    spec, hosts = engine_spec(consensus), DECIDING[consensus].hosts
    f = min(1, spec.most_f(hosts))
    protocol = {"consensus": consensus, "f": f, "window": "1ms"}
    if spec.made_of_swaps:
        protocol |= {"rounds": INPUTS * spec.rounds_per_instance(f)}
    else:
        protocol |= {"instances": INPUTS, "retry": "200us"}
    document = {
        "name": f"{consensus}-around-a-mute-nic",
        "topology": {"kind": "star", "hosts": hosts},
        "links": {"default": {"delay": "20us", "jitter": "9us", "loss": "1%"}},
        "protocol": protocol,
        "faults": [{"at": "2ms", "do": "nic_mute", "on": "host1", "for": "3ms"}],
        "seed": 1,
    }
    return compile_plan(from_data(document))


def assert_decided(plan: Plan, history: History) -> None:
    """Every node is told everything in its time, and that is what DECIDING says."""
    spec = engine_spec(plan.protocol.consensus)
    told, found = DECIDING[spec.name], judge(plan, history).consensus
    assert found is not None
    everything = INPUTS * (told.hosts if spec.keeps_a_log else 1)
    assert (found.decided, found.instances) == (everything, everything)
    assert len(found.disagreements) == told.splits
    assert found.invalid == found.repeated == found.disordered == ()
    decided = [to_int(event.what.value) for event in history.events.of_kind(Decide)]
    assert len(decided) == told.hosts * everything
    assert set(decided) == set(told.values)
