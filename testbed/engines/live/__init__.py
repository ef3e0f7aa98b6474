"""Mininet on this kernel: namespaces, netem, agents (also what runs inside the virtual-time guest)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.engines.live.engine import LiveEngine

__all__ = ["LiveEngine"]


def __getattr__(name: str) -> Any:
    """Loads the engine when it is asked for: the guest imports this package too, and needs only parts of it."""
    if name == "LiveEngine":
        from testbed.engines.live.engine import LiveEngine

        return LiveEngine
    raise AttributeError(name)
