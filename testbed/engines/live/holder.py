"""The process that holds one Mininet node's namespaces, forked from the fabric's warm one: no exec, no shell.

    holder = Holder.fork("host1")           # several can start at once: nothing is waited for until it is needed
    pid = holder.spawn("nodes.agent:run", {"node": 0})
    holder.wait(pid)

fork -> unshare(network) -> waits on a socket; mounts of its own come with the first shell. What it is asked to spawn is
forked from it, and so finds the modules and the shared memory that the fabric's process had when it forked the holder.
Kill, stop and continue by signals to the process ids. Holder and spawned processes die with their parents.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from nodes.agent.channel import MOST_FDS, Channel
from testbed.engines.base import EngineUnavailable
from testbed.engines.live import isolation, syscalls
from testbed.engines.live.netlink.requests import Home
from testbed.engines.live.netlink.rtnl import Rtnl
from testbed.engines.live.owner import Exit, OwnerError
from testbed.engines.live.syscalls import CLONE_NEWNET, CLONE_NEWNS, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC


class Holder:
    """The parent's handle, an Owner. pid: the holder's process; its namespaces are those of the node."""

    _parent_ends: set[int] = set()  # noqa: RUF012 - descriptors that no forked process may keep open

    def __init__(self, name: str, pid: int, channel: Channel) -> None:
        self.name, self._pid = name, pid
        self._channel = channel
        self._exits: list[Exit] = []
        self._rtnl: Rtnl | None = None
        self._mounts = False
        Holder._parent_ends.add(channel.fileno())

    @classmethod
    def fork(cls, name: str) -> Holder:
        """Returns at once; ``rtnl`` and ``spawn`` wait until the namespaces stand.

        Raises EngineUnavailable when this user may have no more processes; so does ``spawn``.
        """
        ours, theirs = Channel.pair()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            raise _no_process(name, str(error.strerror)) from None
        if pid == 0:
            _be_holder(parent, theirs)
        theirs.close()
        return cls(name, pid, ours)

    @property
    def pid(self) -> int:
        """The holder's process."""
        return self._pid

    @property
    def home(self) -> Home:
        """As Owner's."""
        return Home(pid=self._pid)

    @property
    def netns(self) -> str:
        """Path of the network namespace."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def rtnl(self) -> Rtnl:
        """A netlink socket inside the node's network namespace."""
        if self._rtnl is None:
            message, fds = self._channel.receive() or ({}, [])
            if not fds:
                reason = message.get("failed", "its process ended")
                raise OwnerError(f"{self.name}: no namespaces of its own: {reason}")
            self._rtnl = Rtnl(socket.socket(fileno=fds[0]))
            Holder._parent_ends.add(fds[0])
        return self._rtnl

    def spawn(self, target: str, payload: Any, fds: Sequence[int] = ()) -> int:
        """Runs "module:function" as ``function(payload, fds)`` in a child of the holder; its process id."""
        if len(fds) > MOST_FDS:
            raise OwnerError(f"{self.name}: {len(fds)} descriptors to pass; at most {MOST_FDS} go over a socket")
        _ = self.rtnl
        return int(self._order({"target": target, "payload": payload}, "spawned", fds))

    def signal(self, pid: int, number: signal.Signals) -> None:
        """As Owner's; any signal."""
        os.kill(pid, number)

    def make_mounts(self) -> None:
        """Gives the node mounts of its own, with a /sys that shows its interfaces; once.

        People's shells want it; what is spawned does not care.
        """
        if not self._mounts:
            _ = self.rtnl
            self._order({"mounts": True}, "mounts")
            self._mounts = True

    def _order(self, order: dict[str, Any], answer: str, fds: Sequence[int] = ()) -> Any:
        try:
            self._channel.send(order, fds)
        except OSError as error:
            raise OwnerError(f"{self.name}: its holder is gone") from error
        while got := self._read():
            if answer in got:
                return got[answer]
            if "refused" in got:
                raise _no_process(self.name, got["refused"])
        raise OwnerError(f"{self.name}: its holder ended")

    def fileno(self) -> int:
        """Polls readable when ``exited`` may have something."""
        return self._channel.fileno()

    def exited(self) -> list[Exit]:
        """Spawned processes that ended since the last call; does not block. Raises OwnerError when the holder has."""
        if self._rtnl is not None:
            while select.select([self._channel], [], [], 0)[0]:
                if not self._read():
                    raise OwnerError(f"{self.name}: its holder ended, and its namespaces with it")
        exits, self._exits = self._exits, []
        return exits

    def wait(self, pid: int) -> int:
        """Blocks until ``pid`` has ended; its status."""
        while True:
            for place, end in enumerate(self._exits):
                if end.pid == pid:
                    del self._exits[place]
                    return end.status
            if not self._read():
                raise OwnerError(f"{self.name}: its holder ended before process {pid} was seen to end")

    def _read(self) -> dict[str, Any]:
        """One message of the holder; exits are kept. Empty when the holder is gone."""
        message, _fds = self._channel.receive() or ({}, [])
        if "ended" in message:
            self._exits.append(Exit(self.name, message["ended"], message["status"]))
        return message

    def kill(self) -> None:
        """SIGKILL; with the holder die its children. ``reap`` afterwards."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def reap(self) -> None:
        """Waits for a killed holder and closes what leads to it."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        Holder._parent_ends.discard(self._channel.fileno())
        self._channel.close()
        if self._rtnl is not None:
            Holder._parent_ends.discard(self._rtnl.fileno())
            self._rtnl.close()
            self._rtnl = None


def _no_process(name: str, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"host {name}", f"no process can be started for it: {why}", "Raise the limit (ulimit -u), or use fewer hosts"
    )


# --- in the holder ---------------------------------------------


def _be_holder(parent: int, channel: Channel) -> NoReturn:
    try:
        syscalls.die_with_parent()
        if os.getppid() == parent:
            gc.freeze()  # what was there before the fork stays shared: the collector must not touch its pages
            os.setsid()  # out of reach of the terminal's SIGINT
            _close_parents_ends()
            _reset_signals()
            _serve(channel)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _close_parents_ends() -> None:
    # A forked copy of another holder's channel would keep that holder from seeing its parent go.
    for fd in Holder._parent_ends:
        os.close(fd)
    Holder._parent_ends.clear()


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _serve(channel: Channel) -> None:
    try:
        syscalls.unshare(CLONE_NEWNET)
        isolation.silence_ipv6()
        rtnl = Rtnl.open_socket()
    except OSError as error:
        channel.send({"failed": str(error)})
        return
    channel.send({"stands": True}, [rtnl.fileno()])
    rtnl.close()
    children: dict[int, int] = {}  # descriptor of the process -> its id
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    while True:
        for fd, _event in poller.poll():
            if fd == channel.fileno():
                if not _handle(channel, poller, children):
                    return
            else:
                poller.unregister(fd)
                pid = children.pop(fd)
                os.close(fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                channel.send({"ended": pid, "status": code})


def _handle(channel: Channel, poller: select.poll, children: dict[int, int]) -> bool:
    request = channel.receive()
    if request is None:
        return False
    order, fds = request
    if order.get("mounts"):
        private_mounts()
        channel.send({"mounts": True})
        return True
    holder = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        pid = -1
        channel.send({"refused": error.strerror})
    if pid == 0:
        for fd in (*children, channel.fileno()):
            os.close(fd)
        _be_spawned(holder, order, fds)
    for fd in fds:
        os.close(fd)
    if pid > 0:
        descriptor = os.pidfd_open(pid)
        children[descriptor] = pid
        poller.register(descriptor, select.POLLIN)
        channel.send({"spawned": pid})
    return True


def private_mounts() -> None:
    """Mounts of this process's own, with a /sys that shows the NICs of its network namespace."""
    syscalls.unshare(CLONE_NEWNS)
    syscalls.mount("none", "/", None, MS_REC | MS_PRIVATE)
    try:
        syscalls.mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        return  # only people looking into /sys/class/net notice


def _be_spawned(holder: int, order: dict[str, Any], fds: list[int]) -> NoReturn:
    code = 1
    try:
        syscalls.die_with_parent()
        if os.getppid() == holder:
            module, _colon, function = order["target"].partition(":")
            result = getattr(importlib.import_module(module), function)(order["payload"], fds)
            code = int(result or 0)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code & 0xFF)  # not sys.exit: what the fabric's process registered with atexit is not ours to run
