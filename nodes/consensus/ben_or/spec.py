"""Ben-Or as an engine."""

from __future__ import annotations

from collections.abc import Collection
from math import ceil, comb, log, log1p

from testbed.nodes.consensus.ben_or.algorithm import Pitfall
from testbed.nodes.consensus.ben_or.machine import BenOrMachine
from testbed.nodes.consensus.ben_or.messages import BODIES, falsify, says
from testbed.nodes.consensus.spec import RETRIES, EngineSpec, minority
from testbed.nodes.core.config import NodeConfig, ProtocolConfig

_UNLIKELY = 1e-6
_MOST_ROUNDS = 1000


def _build(config: NodeConfig, pitfalls: Collection[str]) -> BenOrMachine:
    return BenOrMachine(config, frozenset(Pitfall(name) for name in pitfalls))


def coin_rounds(n: int, t: int) -> int:
    """Rounds after which an instance in which all toss coins is undecided once in a million times at most, whatever
    the order of messages is. That is so up to seven nodes, and up to 13 while t is below n/3; the bound doubles with
    each node when t is the most that there can be, and is cut at 1,000 rounds (notes.md says what that leaves).

    A round decides for certain when more than n/2 + t coins fall alike: every n - t reports then show a majority.
    """
    needed = n // 2 + t + 1
    alike = min(1.0, 2 * sum(comb(n, heads) for heads in range(needed, n + 1)) / 2**n)
    return 1 if alike == 1.0 else min(_MOST_ROUNDS, ceil(log(_UNLIKELY) / log1p(-alike)))


def _settle_ns(protocol: ProtocolConfig, n: int, longest_ns: int) -> int:
    """Two phases a round, each with a lost message asked for once, and the rounds before the coins and after them."""
    rounds = coin_rounds(n, protocol.f) + 2
    phase_ns = 2 * longest_ns + protocol.retry_ns
    return 2 * rounds * phase_ns + RETRIES * protocol.retry_ns


SPEC = EngineSpec(
    name="ben_or",
    title="randomised binary consensus without a leader",
    build=_build,
    made_of_swaps=False,
    most_f=minority,
    rule="f < n/2",
    settle_ns=_settle_ns,
    carries="bit",
    pitfalls=tuple(Pitfall),
    says=says,
    bodies=BODIES,
    falsify=falsify,
)
