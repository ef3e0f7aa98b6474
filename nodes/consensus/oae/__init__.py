"""The deterministic, leaderless, indulgent algorithm of the OAE engine: never disagrees, whatever is heard."""

from testbed.nodes.consensus.oae.algorithm import Oae, Pitfall, rounds_needed

__all__ = ["Oae", "Pitfall", "rounds_needed"]
