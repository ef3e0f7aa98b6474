"""EPaxos*: no leader; commands that commute are ordered by nobody, the others by what each depends on."""

from testbed.nodes.consensus.epaxos.machine import EPaxosMachine
from testbed.nodes.consensus.epaxos.pitfalls import Pitfall

__all__ = ["EPaxosMachine", "Pitfall"]
