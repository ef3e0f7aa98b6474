"""What a node proposes in each consensus instance, and other draws that need no generator: pure functions of a name."""

from __future__ import annotations

import hashlib

from nodes.core import values
from nodes.core.config import NodeConfig

INPUTS = ("distinct", "random")


def draw(*parts: object) -> int:
    """64 uniform bits named by ``parts``: equal names give equal bits on every machine and in every engine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def input_value(config: NodeConfig, instance: int) -> bytes:
    """The value that this node proposes in ``instance``: a number (nodes.core.values).

    ``distinct``: the node's place among the members plus the instance, modulo n, so that all inputs differ and the
    smallest one wanders over the nodes. ``random``: a fair bit, independent over nodes and instances.
    Raises ValueError for any other ``config.protocol.inputs``.
    """
    inputs = config.protocol.inputs
    if inputs == "distinct":
        return values.of_int((config.members.index(config.node) + instance) % config.n)
    if inputs == "random":
        return values.of_int(draw(config.protocol.seed, "input", instance, config.node) & 1)
    raise ValueError(f"inputs {inputs!r} are unknown; there are {', '.join(INPUTS)}")
