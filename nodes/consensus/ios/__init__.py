"""Ios: Multi-Paxos whose leader has entries replicated by others."""

from testbed.nodes.consensus.ios.machine import IosMachine
from testbed.nodes.consensus.ios.pitfalls import Pitfall

__all__ = ["IosMachine", "Pitfall"]
