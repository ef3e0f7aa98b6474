"""A command in a node of a running fabric, from outside: it joins the fabric's namespaces, then those of the node.

    code = run_in_node(inside=4711, netns="/proc/12/ns/net", argv=["ip", "addr"])

Three processes stand in a row: the caller's child joins the fabric's namespaces, its child (the first that is in the
fabric's process namespace) joins the node's and becomes the command. Each dies with its parent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from testbed.engines.live import syscalls
from testbed.engines.live.holder import private_mounts
from testbed.engines.live.isolation import stay_for
from testbed.engines.live.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

CANNOT_RUN, NOT_FOUND = 126, 127  # what shells say


def run_in_node(inside: int, netns: str, argv: Sequence[str]) -> int:
    """The command's exit code. inside: a process in the fabric's namespaces. netns: path of the node's network
    namespace as seen from there; empty: the fabric's own, where switches are. Raises OSError when it can't get in.
    """
    fabric = os.pidfd_open(inside)
    kinds = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC
    if os.stat(f"/proc/{inside}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
        kinds |= CLONE_NEWUSER
    parent, directory = os.getpid(), os.getcwd()
    child = os.fork()
    if child == 0:
        _join(parent, fabric, kinds, netns, directory, argv)
    os.close(fabric)
    return stay_for(child)


def _join(parent: int, fabric: int, kinds: int, netns: str, directory: str, argv: Sequence[str]) -> NoReturn:
    code = CANNOT_RUN
    try:
        _die_with(parent)
        syscalls.setns(fabric, kinds)
        _die_with(parent)  # joining a user namespace is a change of credentials, which forgets it
        alive_read, alive_write = os.pipe()  # its write end stays here: end of file means that this process is gone
        child = os.fork()
        if child == 0:
            os.close(alive_write)
            _become(alive_read, netns, directory, argv)
        os.close(alive_read)
        code = stay_for(child)
    except OSError as error:
        print(f"testbed: error: the fabric's namespaces: {error.strerror}", file=sys.stderr)
    finally:
        os._exit(code)


def _die_with(parent: int) -> None:
    syscalls.die_with_parent()
    if os.getppid() != parent:
        os._exit(CANNOT_RUN)


def _become(alive: int, netns: str, directory: str, argv: Sequence[str]) -> NoReturn:
    code = CANNOT_RUN
    try:
        syscalls.die_with_parent()
        os.set_blocking(alive, False)
        try:
            gone = os.read(alive, 1) == b""
        except BlockingIOError:
            gone = False
        if gone:
            os._exit(CANNOT_RUN)
        if netns:
            space = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            syscalls.setns(space, CLONE_NEWNET)
            private_mounts()
        with suppress(OSError):  # joining a mount namespace leads to its root; not everybody may come back by the path
            os.chdir(directory)
        os.execvp(argv[0], list(argv))
    except OSError as error:
        print(f"testbed: error: {argv[0]}: {error.strerror}", file=sys.stderr)
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN
    finally:
        os._exit(code)
