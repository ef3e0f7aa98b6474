"""The process that holds one Mininet node's namespaces, forked from the fabric's warm one: no exec, no shell.

    holder = Holder.fork("host1")           # several can start at once: nothing is waited for until it is needed
    pid = holder.spawn("nodes.agent:run", {"node": 0})
    holder.wait(pid)

fork -> unshare(network) -> waits on a socket; mounts of its own come with the first shell. What it is asked to spawn is
forked from it, and so finds the modules and the shared memory that the fabric's process had when it forked the holder.
Kill, stop and continue by signals to the process ids. Holder and spawned processes die with their parents.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from testbed.engines.base import EngineUnavailable
from testbed.engines.live import isolation, syscalls
from testbed.engines.live.netlink import Rtnl
from testbed.engines.live.syscalls import CLONE_NEWNET, CLONE_NEWNS, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC

MOST_FDS = 250  # SCM_MAX_FD is 253
LENGTH = struct.Struct("!I")


class Exit(NamedTuple):
    """A spawned process that ended. status: exit code when >= 0, minus the signal's number otherwise."""

    host: str
    pid: int
    status: int


class HolderError(RuntimeError):
    """The holder could not do what it was asked to."""


class Holder:
    """The parent's handle. pid: the holder's process; its namespaces are those of the node."""

    _parent_ends: set[int] = set()  # noqa: RUF012 - descriptors that no forked process may keep open

    def __init__(self, name: str, pid: int, channel: socket.socket) -> None:
        self.name, self.pid = name, pid
        self._channel = channel
        self._buffer = b""
        self._exits: list[Exit] = []
        self._rtnl: Rtnl | None = None
        self._mounts = False
        Holder._parent_ends.add(channel.fileno())

    @classmethod
    def fork(cls, name: str) -> Holder:
        """Returns at once; ``rtnl`` and ``spawn`` wait until the namespaces stand.

        Raises EngineUnavailable when this user may have no more processes; so does ``spawn``.
        """
        ours, theirs = socket.socketpair()
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
    def netns(self) -> str:
        """Path of the network namespace."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def rtnl(self) -> Rtnl:
        """A netlink socket inside the node's network namespace."""
        if self._rtnl is None:
            first, fds, _flags, _address = socket.recv_fds(self._channel, 1, 1)
            if first != b"+":
                reason = (first + self._channel.recv(4096)).decode(errors="replace").lstrip("-")
                raise HolderError(f"{self.name}: no namespaces of its own: {reason or 'its process ended'}")
            self._rtnl = Rtnl(socket.socket(fileno=fds[0]))
            Holder._parent_ends.add(fds[0])
        return self._rtnl

    def spawn(self, target: str, payload: Any, fds: Sequence[int] = ()) -> int:
        """Runs "module:function" as ``function(payload, fds)`` in a child of the holder; its process id."""
        if len(fds) > MOST_FDS:
            raise HolderError(f"{self.name}: {len(fds)} descriptors to pass; at most {MOST_FDS} go over a socket")
        _ = self.rtnl
        return int(self._order({"target": target, "payload": payload}, "spawned", fds))

    def make_mounts(self) -> None:
        """Gives the node mounts of its own, with a /sys that shows its interfaces; once.

        People's shells want it; what is spawned does not care.
        """
        if not self._mounts:
            _ = self.rtnl
            self._order({"mounts": True}, "mounts")
            self._mounts = True

    def _order(self, order: dict[str, Any], answer: str, fds: Sequence[int] = ()) -> Any:
        message = json.dumps(order).encode()
        try:
            socket.send_fds(self._channel, [LENGTH.pack(len(message))], list(fds))
            self._channel.sendall(message)
        except OSError as error:
            raise HolderError(f"{self.name}: its holder is gone") from error
        while got := self._read():
            if answer in got:
                return got[answer]
            if "refused" in got:
                raise _no_process(self.name, got["refused"])
        raise HolderError(f"{self.name}: its holder ended")

    def fileno(self) -> int:
        """Polls readable when ``exited`` may have something."""
        return self._channel.fileno()

    def exited(self) -> list[Exit]:
        """Spawned processes that ended since the last call; does not block. Raises HolderError when the holder has."""
        if self._rtnl is not None:
            while select.select([self._channel], [], [], 0)[0]:
                if not self._read():
                    raise HolderError(f"{self.name}: its holder ended, and its namespaces with it")
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
                raise HolderError(f"{self.name}: its holder ended before process {pid} was seen to end")

    def _read(self) -> dict[str, Any]:
        """One message of the holder; exits are kept. Empty when the holder is gone."""
        while True:
            if len(self._buffer) >= 4:
                end = 4 + LENGTH.unpack_from(self._buffer)[0]
                if len(self._buffer) >= end:
                    message: dict[str, Any] = json.loads(self._buffer[4:end])
                    self._buffer = self._buffer[end:]
                    if "ended" in message:
                        self._exits.append(Exit(self.name, message["ended"], message["status"]))
                    return message
            try:
                data = self._channel.recv(65536)
            except ConnectionResetError:  # it left an order unread
                data = b""
            if not data:
                return {}
            self._buffer += data

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


def _be_holder(parent: int, channel: socket.socket) -> NoReturn:
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


def _serve(channel: socket.socket) -> None:
    try:
        syscalls.unshare(CLONE_NEWNET)
        isolation.silence_ipv6()
        rtnl = Rtnl.open_socket()
    except OSError as error:
        channel.sendall(b"-" + str(error).encode())
        return
    socket.send_fds(channel, [b"+"], [rtnl.fileno()])
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
                _send(channel, {"ended": pid, "status": code})


def _handle(channel: socket.socket, poller: select.poll, children: dict[int, int]) -> bool:
    request = _receive(channel)
    if request is None:
        return False
    order, fds = request
    if order.get("mounts"):
        _private_mounts()
        _send(channel, {"mounts": True})
        return True
    holder = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        pid = -1
        _send(channel, {"refused": error.strerror})
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
        _send(channel, {"spawned": pid})
    return True


def _private_mounts() -> None:
    syscalls.unshare(CLONE_NEWNS)
    syscalls.mount("none", "/", None, MS_REC | MS_PRIVATE)
    try:
        syscalls.mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        return  # only people looking into /sys/class/net notice


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    fds = array.array("i")
    head, control, _flags, _address = channel.recvmsg(4, socket.CMSG_SPACE(MOST_FDS * fds.itemsize))
    if not head:
        return None
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    head += _exactly(channel, 4 - len(head))
    order: dict[str, Any] = json.loads(_exactly(channel, LENGTH.unpack(head)[0]))
    return order, list(fds)


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            raise EOFError("the fabric's process is gone")
        data += more
    return data


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    channel.sendall(LENGTH.pack(len(data)) + data)


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
