"""Two-phase commit (Gray, Lamport, "Consensus on Transaction Commit", 2006), after the specification in its appendix.

Node 0 is the transaction manager, the others are resource managers. What the specification leaves to chance is a timer
here: that a resource manager prepares, or gives up; that the transaction manager commits once all have prepared, or
gives up before. Messages are never used up (Network.SET), as in the specification. So there are exactly its states:
288 for three resource managers, the farthest on level 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from testbed.explore.invariants import AGREEMENT
from testbed.explore.model import TWO_PHASE_COMMIT, Model
from testbed.nodes.core import CancelTimer, Decide, Effects, Life, Port, Send, SetTimer, values
from testbed.nodes.core.config import NodeConfig, Peer, ProtocolConfig
from testbed.nodes.frames import Kind, Message


class Step(IntEnum):
    """What a message says: its ``step``."""

    PREPARED = 1
    COMMIT = 2
    ABORT = 3


def _say(port: Port, step: Step) -> Send:
    return Send(port, Message(Kind.DATA, 0, step, b""))


def _end(step: Step) -> Decide:
    """How the transaction ends at a resource manager: with what it was told, 1 for a commit and 0 for an abort."""
    return Decide(0, values.of_int(int(step is Step.COMMIT)), 0)


class TransactionManager:
    """prepared: the ports of those that have said so, while nothing is decided and after. decided: what is."""

    def __init__(self, config: NodeConfig) -> None:
        self.ports = range(len(config.peers))
        self.prepared: set[Port] = set()
        self.decided: Step | None = None

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:  # noqa: ARG002
        """It may give up at any time."""
        return [SetTimer("abort", now_ns)]

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:  # noqa: ARG002
        """TMRcvPrepared."""
        if self.decided is not None:
            return []
        self.prepared.add(port)
        return [SetTimer("commit", now_ns)] if len(self.prepared) == len(self.ports) else []

    def on_timer(self, name: str, now_ns: int) -> Effects:  # noqa: ARG002
        """TMCommit, TMAbort."""
        self.decided = Step.COMMIT if name == "commit" else Step.ABORT
        return [CancelTimer("commit"), CancelTimer("abort"), *(_say(port, self.decided) for port in self.ports)]


class ResourceManager:
    """state: working, prepared, committed or aborted."""

    def __init__(self, config: NodeConfig) -> None:  # noqa: ARG002 - all are alike
        self.state = "working"

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:  # noqa: ARG002
        """It may prepare, or give up."""
        return [SetTimer("prepare", now_ns), SetTimer("abort", now_ns)]

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:  # noqa: ARG002
        """RMRcvCommitMsg, RMRcvAbortMsg."""
        step = Step(message.step)
        self.state = "committed" if step is Step.COMMIT else "aborted"
        return [CancelTimer("prepare"), CancelTimer("abort"), _end(step)]

    def on_timer(self, name: str, now_ns: int) -> Effects:  # noqa: ARG002
        """RMPrepare, RMChooseToAbort."""
        if name == "prepare":
            self.state = "prepared"
            return [CancelTimer("abort"), _say(0, Step.PREPARED)]
        self.state = "aborted"
        return [CancelTimer("prepare"), _end(Step.ABORT)]


def two_phase_commit(managers: int) -> Model:
    """With so many resource managers."""
    protocol = ProtocolConfig(consensus=TWO_PHASE_COMMIT)
    names = ["tm", *(f"rm{number}" for number in range(1, managers + 1))]
    numbers = range(managers + 1)

    def config(node: int) -> NodeConfig:
        peers = [other for other in numbers if (other == 0) != (node == 0)]
        ports = tuple(Peer(other, names[other], "eth0", "") for other in peers)
        return NodeConfig(node, names[node], ports, {}, tuple(numbers), protocol)

    return Model(
        TWO_PHASE_COMMIT,
        tuple(map(config, numbers)),
        lambda config: ResourceManager(config) if config.node else TransactionManager(config),
        (AGREEMENT,),
        lambda message: Step(message.step).name.lower(),
        ends=True,
    )
