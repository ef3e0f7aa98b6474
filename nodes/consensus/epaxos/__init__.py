"""EPaxos*: no leader; commands that commute are ordered by nobody, the others by what each depends on."""

from nodes.consensus.epaxos.machine import EPaxosMachine
from nodes.consensus.epaxos.pitfalls import Pitfall

__all__ = ["EPaxosMachine", "Pitfall"]
