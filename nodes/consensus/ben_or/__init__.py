"""Ben-Or's randomised binary consensus for crashes, t < n/2."""

from testbed.nodes.consensus.ben_or.algorithm import BenOr, Pitfall
from testbed.nodes.consensus.ben_or.machine import BenOrMachine

__all__ = ["BenOr", "BenOrMachine", "Pitfall"]
