"""State files of running fabrics, so that `testbed down` finds those of this user and ends nothing else.

One file per `testbed up` process. Who looks may be in another process namespace than it, in a node of a fabric for
example: what can't be seen from there is not taken for gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from testbed.errors import UserError
from testbed.processes import mark_is_dead, own_mark, start_time, state_folder
from testbed.topologies.fabric import Fabric, fabric_from_json

_PATIENCE_S = 5.0
_REPORT_BYTES = 1 << 20
_SHAPE = ".shape"
_DOOR = ".door"
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_SCM_CREDENTIALS = 2  # socket(7); Python 3.11 has no name for it


@dataclass(frozen=True, slots=True)
class Running:
    """A `testbed up` that runs. started: its start time in clock ticks since boot. mark: it, named for good. name: what
    it is called.

    inside: the process in the fabric's namespaces, 0 until the fabric is up. hosts: the path of each host's network
    namespace as seen from there. commands: what runs a command in a host that is a container, up to its name.
    detached: whether it is in the background.
    """

    pid: int
    started: int
    mark: str
    fabric: str
    name: str
    inside: int = 0
    hosts: dict[str, str] = field(default_factory=dict)
    switches: tuple[str, ...] = ()
    commands: dict[str, list[str]] = field(default_factory=dict)
    detached: bool = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """All that a command can be run in."""
        return (*self.hosts, *self.switches)


@contextmanager
def announced(
    fabric: Fabric, asked: str, called: str | None = None, detached: bool = False
) -> Iterator[tuple[str, Callable[[tuple[int, dict[str, Any]]], Running]]]:
    """While inside, this process can be found by `testbed down`, `ps` and `exec`. What is yielded: what it is called,
    and what tells that it is up (see ``heard``). Raises UserError when another one is ``called`` so."""
    me = os.getpid()
    path = state_folder() / f"fabric-{me}.json"
    shape = _shape_of(me)
    try:
        with _claiming():
            entry = Running(me, start_time(me) or 0, own_mark(), fabric.name, _free_name(asked, called))
            entry = replace(entry, detached=detached)
            shape.write_text(json.dumps(asdict(replace(fabric, forwarding={}))), encoding="utf-8")
            _write(path, entry)

        def tell(report: tuple[int, dict[str, Any]]) -> Running:
            found = replace(entry, inside=report[0], **report[1])
            _write(path, found)
            return found

        yield entry.name, tell
    finally:
        for suffix in (".json", _SHAPE, _DOOR):
            path.with_suffix(suffix).unlink(missing_ok=True)


@contextmanager
def _claiming() -> Iterator[None]:
    """One after the other: two that are started side by side must not take one name."""
    folder = os.open(state_folder(), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _free_name(asked: str, called: str | None) -> str:
    taken = {entry.name for entry in running(tidy=False)}
    if called is not None:
        if called in taken:
            raise UserError(f"--name {called}: a fabric of that name is up; testbed down {called} ends it")
        return called
    numbered = (f"{asked}-{number}" for number in count(2))
    return asked if asked not in taken else next(name for name in numbered if name not in taken)


def _write(path: Path, entry: Running) -> None:
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(asdict(entry)), encoding="utf-8")
    partial.replace(path)


def reporting() -> tuple[socket.socket, socket.socket]:
    """Our end and the one of the process inside, which tells there that the fabric is up, and how to get in."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # it knows its number in its own namespace only
    return ours, theirs


def heard(ours: socket.socket) -> tuple[int, dict[str, Any]] | None:
    """Waits for the report: number of the process inside, and what it says. None when it ended without."""
    data, control, _flags, _address = ours.recvmsg(_REPORT_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
    if not data:
        return None
    pid = next(_CREDENTIALS.unpack(told)[0] for _level, kind, told in control if kind == _SCM_CREDENTIALS)
    return pid, json.loads(data)


def opened_door() -> socket.socket:
    """Where prompts on the fabric of this process are asked for (see come_in); gone with its state file."""
    door = socket.socket(socket.AF_UNIX)
    with _short_path(os.getpid()) as path:
        Path(path).unlink(missing_ok=True)
        door.bind(path)
    door.listen()
    return door


def come_in(entry: Running, passed: Sequence[int]) -> None:
    """Asks a fabric in the background for a prompt on these descriptors. Raises UserError when there is none."""
    from testbed.cli.attached import BUSY

    if not entry.inside:
        raise UserError(f"{entry.name} is still coming up")
    if not entry.detached:
        raise UserError(
            f"{entry.name} has its prompt in the terminal that it was brought up from; attach goes with "
            "fabrics of testbed up --detach (a command in a node: testbed exec)"
        )
    with socket.socket(socket.AF_UNIX) as door, _short_path(entry.pid) as path:
        door.connect(path)
        socket.send_fds(door, [b"."], passed)
        if door.recv(len(BUSY)) == BUSY:
            raise UserError(f"{entry.name}: a prompt is attached already; leave it first, or use testbed exec")


@contextmanager
def _short_path(pid: int) -> Iterator[str]:
    """Of a door: the kernel takes no more than 107 bytes, and state folders may lie deep."""
    folder = os.open(state_folder(), os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/fabric-{pid}{_DOOR}"
    finally:
        os.close(folder)


@contextmanager
def document(data: Any) -> Iterator[int]:
    """A descriptor that another process can read ``data`` from, as JSON."""
    descriptor = os.memfd_create("document")
    try:
        os.write(descriptor, json.dumps(data).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def said_by(entry: Running) -> TextIO:
    """What a fabric in the background has said until now, and goes on to say. Raises UserError when it is in none."""
    if not entry.detached:
        raise UserError(
            f"{entry.name} speaks on the terminal that it was brought up from; logs are of those of --detach"
        )
    try:
        return open(f"/proc/{entry.pid}/fd/1", encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise UserError(f"{entry.name} is not up any more") from None


def is_up(entry: Running) -> bool:
    """Whether it still is."""
    return start_time(entry.pid) == entry.started


def running(tidy: bool = True) -> list[Running]:
    """This user's fabrics that are up; files of those that ended otherwise are removed."""
    found = []
    for path in sorted(state_folder().glob("fabric-*.json")):
        entry = _read(path)
        if entry is not None and is_up(entry):
            found.append(entry)
        elif tidy and _is_gone(path):
            for suffix in (".json", _SHAPE, _DOOR):
                path.with_suffix(suffix).unlink(missing_ok=True)
    return found


def stale() -> list[Path]:
    """State files whose process is gone."""
    return [path for path in sorted(state_folder().glob("fabric-*")) if _is_gone(path.with_suffix(".json"))]


def _is_gone(path: Path) -> bool:
    entry = _read(path)
    return entry is None or mark_is_dead(entry.mark)


def find(name: str | None) -> Running:
    """The fabric of this user's that is called ``name``, or the only one that is up. Raises UserError."""
    found = running()
    chosen = [entry for entry in found if name in (None, entry.name)]
    if not found:
        raise UserError("no fabric of yours is up; bring one up with: testbed up --detach leaf_spine")
    names = ", ".join(entry.name for entry in found)
    if not chosen:
        raise UserError(f"{name}: no fabric of yours is called so; up: {names}")
    if len(chosen) > 1:
        how = f"testbed exec -f {chosen[0].name} ..., testbed attach {chosen[0].name}"
        raise UserError(f"several fabrics of yours are up ({names}); say which one, as in: {how}")
    return chosen[0]


def shape_of(entry: Running) -> Fabric:
    """Its nodes and links, without the forwarding. Raises UserError when it has ended meanwhile."""
    try:
        return fabric_from_json(json.loads(_shape_of(entry.pid).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{entry.name} is not up any more") from None


def _shape_of(pid: int) -> Path:
    return state_folder() / f"fabric-{pid}{_SHAPE}"


def _read(path: Path) -> Running | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Running(**{**data, "switches": tuple(data["switches"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def end(entry: Running) -> None:
    """Ask the process to end, insist after a while. The start time is looked at again right before each signal."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            handle = os.pidfd_open(entry.pid)
        except ProcessLookupError:
            return
        try:
            if start_time(entry.pid) != entry.started:
                return
            signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if start_time(entry.pid) != entry.started:
                return
            time.sleep(0.02)
