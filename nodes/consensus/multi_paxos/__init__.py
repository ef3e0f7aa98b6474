"""Multi-Paxos: one log, whose leader has phase 1 behind it for all slots at once."""

from testbed.nodes.consensus.multi_paxos.machine import MultiPaxosMachine
from testbed.nodes.consensus.multi_paxos.roles import Pitfall

__all__ = ["MultiPaxosMachine", "Pitfall"]
