"""Single-decree Paxos, one instance after another, all roles on every node."""

from testbed.nodes.consensus.paxos.machine import PaxosMachine
from testbed.nodes.consensus.paxos.roles import Pitfall

__all__ = ["PaxosMachine", "Pitfall"]
