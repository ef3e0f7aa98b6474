"""Engines by name. Imports lazily: asking for ``sim`` loads neither Mininet nor the kernel's builder."""

from __future__ import annotations

from testbed.engines.base import Engine

ENGINES = ("sim", "live", "vkernel")


def engine_by_name(name: str) -> Engine:
    """The engine called ``name``. Raises KeyError for any other than ENGINES."""
    if name == "sim":
        from testbed.engines.sim import SimEngine

        return SimEngine()
    if name == "live":
        from testbed.engines.live import LiveEngine

        return LiveEngine()
    if name == "vkernel":
        from testbed.engines.vkernel.engine import VKernelEngine

        return VKernelEngine()
    raise KeyError(name)
