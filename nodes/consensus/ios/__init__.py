"""Ios: Multi-Paxos whose leader has entries replicated by others."""

from nodes.consensus.ios.machine import IosMachine
from nodes.consensus.ios.pitfalls import Pitfall

__all__ = ["IosMachine", "Pitfall"]
