"""The ``sim`` engine: exact discrete-event simulation in integer nanoseconds."""

from __future__ import annotations

from testbed.engines.sim.engine import SimEngine

__all__ = ["SimEngine"]
