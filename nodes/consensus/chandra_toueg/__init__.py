"""Chandra and Toueg's consensus with a failure detector of class eventually strong."""

from testbed.nodes.consensus.chandra_toueg.machine import ChandraTouegMachine
from testbed.nodes.consensus.chandra_toueg.pitfalls import Pitfall

__all__ = ["ChandraTouegMachine", "Pitfall"]
