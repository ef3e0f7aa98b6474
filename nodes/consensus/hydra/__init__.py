"""Hydra: a log for each site, and one order made of all of them."""

from testbed.nodes.consensus.hydra.machine import HydraMachine
from testbed.nodes.consensus.hydra.pitfalls import Pitfall

__all__ = ["HydraMachine", "Pitfall"]
