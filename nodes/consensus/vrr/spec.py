"""Viewstamped Replication Revisited as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from testbed.nodes.consensus.changes import PlannedChange, planned, wrong_voters
from testbed.nodes.consensus.spec import LOG, RETRIES, EngineSpec, minority
from testbed.nodes.consensus.vrr.epochs import Epochs
from testbed.nodes.consensus.vrr.machine import PATIENCE, VrrMachine
from testbed.nodes.consensus.vrr.messages import BODIES, falsify, says
from testbed.nodes.consensus.vrr.pitfalls import Pitfall
from testbed.nodes.core import INDEX
from testbed.nodes.core.config import NodeConfig, ProtocolConfig


@dataclass(frozen=True, slots=True)
class Parameters:
    """Viewstamped Replication Revisited's own settings."""

    patience: int = field(
        default=PATIENCE,
        metadata={
            "about": "Heartbeats, one every retry, that may stay away before a backup asks for the next view.",
            "ge": 2,
            "le": 1000,
        },
    )
    voters: int = field(
        default=0,
        metadata={
            "about": "So many of the first members vote at first, the others only learn (0: all vote).",
            "ge": 0,
            "le": 1 << 16,
        },
    )
    changes: list[PlannedChange] = field(
        default_factory=list,
        metadata={
            "about": "Changes of who votes, in the order of their times; each begins an epoch.",
            "example": [{"at_ns": "5ms", "members": [0, 1, 2]}],
            "max_length": 1000,
        },
    )


def _build(config: NodeConfig, pitfalls: Collection[str]) -> VrrMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    changes = [one.among(config.members) for one in planned(PlannedChange, own.changes)]
    epochs = Epochs(config.members[: own.voters or config.n], changes)
    return VrrMachine(config, frozenset(Pitfall(name) for name in pitfalls), own.patience, epochs)


def _wrong(protocol: ProtocolConfig, n: int) -> str:
    """Voters that can't be."""
    own: Parameters = SPEC.parameters_of(protocol)
    return wrong_voters(own.voters, planned(PlannedChange, own.changes), n, protocol.f)


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:  # noqa: ARG001 - however many there are
    """Each of f primaries may die on the way; the next ones in turn may be among the dead, and each view that does not
    begin doubles the wait, also until it is longer than a change of view takes. Then a submission is handed over again
    and put in order, and who missed it asks for it. A change of voters takes an entry, and then some questions."""
    own: Parameters = SPEC.parameters_of(protocol)
    wait_ns = own.patience * protocol.retry_ns
    lost_ns = RETRIES * protocol.retry_ns
    change_ns = 4 * longest_ns + lost_ns
    tries = protocol.f + 1
    while wait_ns << tries < change_ns:
        tries += 1
    views_ns = (protocol.f + 1) * (wait_ns + change_ns) + (wait_ns << tries)
    entry_ns = wait_ns + 4 * longest_ns + 2 * lost_ns
    epoch_ns = 2 * entry_ns if own.changes else 0
    return views_ns + 2 * entry_ns + epoch_ns


SPEC = EngineSpec(
    name="vrr",
    title="Viewstamped Replication Revisited: no disk, views in turn, recovery from the others",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    wrong=_wrong,
    settle_ns=_settle_ns,
    properties=("agreement", "validity", "integrity", "order", "termination"),
    order=LOG,
    recovers=True,
    reads=(LOG, INDEX),
    leads=True,
    carries="bytes",
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
