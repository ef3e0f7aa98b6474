"""FloodMin with early deciding: synchronous consensus for any f < n; its safety rests on the window."""

from testbed.nodes.consensus.floodset.algorithm import FloodSet, Pitfall, rounds_needed

__all__ = ["FloodSet", "Pitfall", "rounds_needed"]
