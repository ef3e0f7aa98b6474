"""Raft as an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from nodes.consensus.raft.machine import BATCH, PATIENCE, Change, Plans, RaftMachine, Transfer
from nodes.consensus.raft.messages import falsify, says
from nodes.consensus.raft.pitfalls import Pitfall
from nodes.consensus.spec import LOG, RETRIES, EngineSpec, minority
from nodes.core import INDEX
from nodes.core.config import NodeConfig, ProtocolConfig

ELECTIONS = 4
"""Elections in a row of which the first to ask is not elected, for another asks too soon after it, that are borne."""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """From this time on these are the voters: their places among the members, from 0."""

    at_ns: int = field(default=0, metadata={"time": True})
    members: list[int] = field(default_factory=list, metadata={"min_length": 1})


@dataclass(frozen=True, slots=True)
class PlannedTransfer:
    """At this time leadership goes over to this one: its place among the members, from 0."""

    at_ns: int = field(default=0, metadata={"time": True})
    to: int = field(default=0, metadata={"ge": 0})


@dataclass(frozen=True, slots=True)
class Parameters:
    """patience: heartbeats that may stay away before a follower asks to be leader, and up to as many again. batch: most
    entries in one message. voters: so many of the first members vote at first, the others only learn (0: all vote).
    changes, transfers: in the order of their times."""

    patience: int = field(default=PATIENCE, metadata={"ge": 2, "le": 1000})
    batch: int = field(default=BATCH, metadata={"ge": 1, "le": 10_000})
    voters: int = field(default=0, metadata={"ge": 0, "le": 1 << 16})
    changes: list[PlannedChange] = field(default_factory=list)
    transfers: list[PlannedTransfer] = field(default_factory=list)


def plans_of(config: NodeConfig) -> Plans:
    """What the parameters plan, with nodes' numbers."""
    own: Parameters = SPEC.parameters_of(config.protocol)
    members = config.members
    return Plans(
        members[: own.voters or config.n],
        tuple(Change(one.at_ns, tuple(members[place] for place in one.members)) for one in _changes(own)),
        tuple(Transfer(one.at_ns, members[one.to]) for one in _transfers(own)),
    )


def _wrong(protocol: ProtocolConfig, n: int) -> str:
    """Members that there are not, times out of order, voters that bear fewer crashes than are to be borne."""
    own: Parameters = SPEC.parameters_of(protocol)
    changes, transfers = _changes(own), _transfers(own)
    places = [*range(own.voters), *(place for one in changes for place in one.members), *(one.to for one in transfers)]
    strange = next((place for place in places if not 0 <= place < n), None)
    if strange is not None:
        return f"there is no member {strange}; {n} hosts take part, counted from 0"
    if any(len(set(one.members)) < len(one.members) for one in changes):
        return "a member votes once; name it once"
    times = [one.at_ns for one in changes], [one.at_ns for one in transfers]
    if any(one > other for listed in times for one, other in pairwise(listed)):
        return "changes, and transfers, stand in the order of their times"
    fewest = min([own.voters or n, *(len(one.members) for one in changes)])
    if protocol.f > minority(fewest):
        return f"{fewest} voters bear fewer than f = {protocol.f} crashes; name more voters, or lower f"
    return ""


def _changes(own: Parameters) -> list[PlannedChange]:
    return [_as(PlannedChange, one) for one in own.changes]


def _transfers(own: Parameters) -> list[PlannedTransfer]:
    return [_as(PlannedTransfer, one) for one in own.transfers]


def _as(kind: type[Any], planned: Any) -> Any:
    """Parameters may have crossed a border as JSON."""
    return kind(**planned) if isinstance(planned, dict) else planned


def _build(config: NodeConfig, pitfalls: Collection[str]) -> RaftMachine:
    own: Parameters = SPEC.parameters_of(config.protocol)
    return RaftMachine(config, frozenset(Pitfall(name) for name in pitfalls), own.patience, own.batch, plans_of(config))


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:  # noqa: ARG001 - however many there are
    """Each of f leaders may die on the way, and the last one's first elections may fail; then the log is mended, the
    submission handed over again, put in order, and its commitment told."""
    own: Parameters = SPEC.parameters_of(protocol)
    patience_ns = own.patience * protocol.retry_ns
    lost_ns = RETRIES * protocol.retry_ns
    election_ns = 2 * patience_ns + 4 * longest_ns + lost_ns
    entry_ns = 4 * longest_ns + 2 * lost_ns
    return (protocol.f + ELECTIONS) * election_ns + patience_ns + 2 * entry_ns


SPEC = EngineSpec(
    name="raft",
    title="Raft with PreVote, CheckQuorum, joint consensus and snapshots",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    wrong=_wrong,
    settle_ns=_settle_ns,
    properties=("agreement", "validity", "integrity", "order", "termination"),
    order=LOG,
    reads=(LOG, INDEX),
    leads=True,
    carries="bytes",
    parameters=Parameters,
    pitfalls=tuple(Pitfall),
    says=says,
    falsify=falsify,
)
