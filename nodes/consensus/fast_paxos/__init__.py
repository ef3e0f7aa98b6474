"""Fast Paxos: values go to the acceptors without a leader between, in two message delays if they don't collide."""

from testbed.nodes.consensus.fast_paxos.machine import FastPaxosMachine
from testbed.nodes.consensus.fast_paxos.roles import Pitfall

__all__ = ["FastPaxosMachine", "Pitfall"]
