"""A host as a network namespace of the fabric's own, and a process in it as soon as one is needed: no exec, no shell.

    holder = Holder("host1")
    pid = holder.spawn("testbed.nodes.agent:run", {"node": 0})
    holder.wait(pid)

The namespace is made by the fabric's process, which holds a descriptor of it. The first ``spawn`` forks the holder's
process from it: fork -> setns -> waits on a socket; mounts of its own come with the first shell. What it is asked to
spawn is forked from that, and so finds the modules and the shared memory that the fabric's process had by then. Kill,
stop and continue by signals to the process ids. Holder and spawned processes die with their parents.

A host in which nothing is started takes no process: a thousand of them would take longer than all else of a fabric,
and in the virtual-time kernel, where every page that a process touches is a fault, one costs as much as some thousand
frames.
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

from testbed.engines.base import EngineUnavailable
from testbed.engines.live import isolation, syscalls
from testbed.engines.live.netlink.requests import Home
from testbed.engines.live.netlink.rtnl import Rtnl
from testbed.engines.live.owner import Exit, OwnerError
from testbed.engines.live.syscalls import CLONE_NEWNET, CLONE_NEWNS, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC
from testbed.nodes.agent.channel import MOST_FDS, Channel


class Holder:
    """The fabric's handle, an Owner. Raises EngineUnavailable when there is no namespace to be had."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._space, sock = _new_space(name)
        self._rtnl = Rtnl(sock)
        self._channel, self._theirs = Channel.pair()
        self._exits: list[Exit] = []
        self._pid = 0
        self._mounts = False

    @property
    def pid(self) -> int:
        """The holder's process, which there is from now on. Raises EngineUnavailable when this user may have no more
        processes; so does ``spawn``."""
        if not self._pid:
            self._pid = self._fork()
            self._theirs.close()
        return self._pid

    def _fork(self) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            raise _no_process(self.name, str(error.strerror)) from None
        if pid == 0:
            _be_holder(parent, self._theirs, self._space)
        return pid

    @property
    def home(self) -> Home:
        """As Owner's."""
        return Home(fd=self._space)

    @property
    def netns(self) -> str:
        """Path of the network namespace."""
        return f"/proc/{os.getpid()}/fd/{self._space}"

    @property
    def rtnl(self) -> Rtnl:
        """A netlink socket inside the node's network namespace."""
        return self._rtnl

    def spawn(self, target: str, payload: Any, fds: Sequence[int] = ()) -> int:
        """Runs "module:function" as ``function(payload, fds)`` in a child of the holder; its process id."""
        if len(fds) > MOST_FDS:
            raise OwnerError(f"{self.name}: {len(fds)} descriptors to pass; at most {MOST_FDS} go over a socket")
        return int(self._order({"target": target, "payload": payload}, "spawned", fds))

    def signal(self, pid: int, number: signal.Signals) -> None:
        """As Owner's; any signal."""
        os.kill(pid, number)

    def make_mounts(self) -> None:
        """Gives the node mounts of its own, with a /sys that shows its interfaces; once.

        People's shells want it; what is spawned does not care.
        """
        if not self._mounts:
            self._order({"mounts": True}, "mounts")
            self._mounts = True

    def _order(self, order: dict[str, Any], answer: str, fds: Sequence[int] = ()) -> Any:
        _ = self.pid
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
        while select.select([self._channel], [], [], 0)[0]:
            if not self._read():
                raise OwnerError(f"{self.name}: its holder ended, and its processes with it")
        exits, self._exits = self._exits, []
        return exits

    def wait(self, pid: int) -> int:
        """Blocks until ``pid`` has ended; its status."""
        if not self._pid:
            raise OwnerError(f"{self.name}: process {pid} was not spawned in it")
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
        """SIGKILL; with the holder's process die its children. ``reap`` afterwards."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def reap(self) -> None:
        """Waits for a killed process, and lets the namespace and what leads to it go."""
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
        else:
            self._theirs.close()
        self._channel.close()
        self._rtnl.close()
        os.close(self._space)


def _new_space(name: str) -> tuple[int, socket.socket]:
    """A silent network namespace: a descriptor of it, and a netlink socket in it. This thread stays where it is."""
    try:
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.unshare(CLONE_NEWNET)
            isolation.silence_ipv6()
            sock = Rtnl.open_socket()
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), sock
        finally:
            syscalls.setns(here, CLONE_NEWNET)
            os.close(here)
    except OSError as error:
        why = f"no network namespace can be made for it: {error.strerror}"
        advice = "Raise the limit (sysctl user.max_net_namespaces), or use fewer hosts"
        raise EngineUnavailable(f"host {name}", why, advice) from None


def _no_process(name: str, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"host {name}", f"no process can be started for it: {why}", "Raise the limit (ulimit -u), or use fewer hosts"
    )


# --- in the holder ---------------------------------------------


def _be_holder(parent: int, channel: Channel, space: int) -> NoReturn:
    try:
        syscalls.die_with_parent()
        if os.getppid() == parent:
            gc.freeze()  # what was there before the fork stays shared: the collector must not touch its pages
            os.setsid()  # out of reach of the terminal's SIGINT
            syscalls.setns(space, CLONE_NEWNET)
            syscalls.close_all_but(channel.fileno())
            _reset_signals()
            _serve(channel)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _serve(channel: Channel) -> None:
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
