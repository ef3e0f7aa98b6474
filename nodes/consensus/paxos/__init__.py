"""Single-decree Paxos, one instance after another, all roles on every node."""

from nodes.consensus.paxos.machine import PaxosMachine
from nodes.consensus.paxos.roles import Pitfall

__all__ = ["PaxosMachine", "Pitfall"]
