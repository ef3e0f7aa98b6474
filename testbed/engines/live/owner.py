"""What holds the network namespace of a host: one small interface, whoever the owner is.

The fabric's own process (testbed.engines.live.holder) is one, a container (testbed.engines.live.containers) another:
the fabric needs no more of it than what stands here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from testbed.engines.live.netlink.requests import Home
from testbed.engines.live.netlink.rtnl import Rtnl


class Exit(NamedTuple):
    """A spawned process that ended. status: exit code when >= 0, minus the signal's number otherwise."""

    host: str
    pid: int
    status: int


class OwnerError(RuntimeError):
    """An owner of namespaces could not do what it was asked to, or is gone."""


class Owner(Protocol):
    """A host's network namespace, and processes in it. One that could not make it raises OwnerError at first use."""

    @property
    def home(self) -> Home:
        """Where its NICs are made, as the kernel wants it told."""

    @property
    def netns(self) -> str:
        """Path of the network namespace."""

    @property
    def rtnl(self) -> Rtnl:
        """A netlink socket inside."""

    def spawn(self, target: str, payload: Any, fds: Sequence[int] = ()) -> int:
        """Runs "module:function" as ``function(payload, fds)`` in a process inside; its id among all of the fabric.

        In virtual time it is the process's own number.
        """

    def signal(self, pid: int, number: signal.Signals) -> None:
        """SIGKILL ends what was spawned, SIGSTOP stops it, SIGCONT has it go on. ProcessLookupError: it has ended."""

    def make_mounts(self) -> None:
        """Gives the host mounts of its own, once, for people's shells."""

    def fileno(self) -> int:
        """A descriptor that polls readable when ``exited`` may have something."""

    def exited(self) -> list[Exit]:
        """Spawned processes that ended since the last call, without waiting. OwnerError: the owner is gone."""

    def wait(self, pid: int) -> int:
        """Blocks until a spawned process has ended; its status. It no longer shows up in ``exited``."""

    def kill(self) -> None:
        """Ends the owner and everything that it spawned, by SIGKILL. ``reap`` afterwards."""

    def reap(self) -> None:
        """Waits until a killed owner is gone, and closes what leads to it."""


MakeOwner = Callable[[str], Owner]
"""From a host's name to the owner of its namespaces; several start at once, so this does not wait for them."""
