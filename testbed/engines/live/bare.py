"""A host that no process stands for: a network namespace, held by a descriptor of the fabric's own process.

For nodes that share a process of another host (testbed.engines.live.lives): a holder for each would be forked for
nothing, and in the virtual-time kernel, where every page that a process touches is a fault, each costs as much as some
thousand frames.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any, NoReturn

from testbed.engines.live import isolation, syscalls
from testbed.engines.live.netlink.requests import Home
from testbed.engines.live.netlink.rtnl import Rtnl
from testbed.engines.live.owner import Exit, OwnerError


class Bare:
    """An Owner in which nothing can be spawned; others find the namespace by its path."""

    def __init__(self, name: str) -> None:
        self.name = name
        here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            isolation.silence_ipv6()
            self._rtnl = Rtnl.open()
            self._fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            syscalls.setns(here, syscalls.CLONE_NEWNET)
            os.close(here)
        self._silence = os.eventfd(0, os.EFD_CLOEXEC)

    @property
    def home(self) -> Home:
        """As Owner's."""
        return Home(fd=self._fd)

    @property
    def netns(self) -> str:
        """Path of the network namespace."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @property
    def rtnl(self) -> Rtnl:
        """A netlink socket inside."""
        return self._rtnl

    def spawn(self, target: str, payload: Any, fds: Sequence[int] = ()) -> NoReturn:  # noqa: ARG002
        """Raises OwnerError."""
        raise OwnerError(f"{self.name}: no process stands for it that could start {target}")

    def signal(self, pid: int, number: signal.Signals) -> NoReturn:  # noqa: ARG002
        """Raises ProcessLookupError: nothing was spawned."""
        raise ProcessLookupError(f"{self.name}: process {pid} was not spawned in it")

    def make_mounts(self) -> None:
        """There is nobody to see them."""

    def fileno(self) -> int:
        """A descriptor that never polls readable."""
        return self._silence

    def exited(self) -> list[Exit]:
        """Nothing was spawned."""
        return []

    def wait(self, pid: int) -> NoReturn:
        """Raises OwnerError: nothing was spawned."""
        raise OwnerError(f"{self.name}: process {pid} was not spawned in it")

    def kill(self) -> None:
        """There is nothing to end; the namespace goes when it is reaped."""

    def reap(self) -> None:
        """Lets the namespace go."""
        self._rtnl.close()
        os.close(self._fd)
        os.close(self._silence)
