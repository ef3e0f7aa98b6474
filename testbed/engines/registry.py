"""Engines by name. Imports lazily: asking for ``sim`` loads neither Mininet nor the kernel's builder."""

from __future__ import annotations

from testbed.engines.base import Engine

ENGINES = {
    "sim": "a discrete-event model that draws what netem draws: virtual time, needs nothing",
    "vkernel": "a real Linux kernel as a process, in virtual time: veth, bridges, netem, raw sockets; needs no root",
    "live": "this host's kernel, in namespaces of its own, by the wall clock",
}
"""What runs plans, and what each is."""


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
