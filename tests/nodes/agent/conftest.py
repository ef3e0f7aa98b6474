"""Tests on real NICs run in a forked process with a network namespace of its own, as whoever runs the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from needs import lacking

from testbed.engines.live import syscalls


class NoNamespacesError(Exception):
    """This user can't have NICs of its own here."""


SKIP = "skip: "
MACS = {"left": "02:00:00:00:00:01", "right": "02:00:00:00:00:02"}


def enter_namespace() -> None:
    """A network namespace with a veth pair left-right, both ends up, IPv6 silent."""
    become_root()
    syscalls.unshare(syscalls.CLONE_NEWNET)
    for which in ("all", "default"):
        path = Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6")
        if path.exists():
            path.write_text("1")
    left, right = MACS.items()
    ip(f"link add {left[0]} address {left[1]} type veth peer name {right[0]} address {right[1]}")
    for name in MACS:
        ip(f"link set {name} up")
    for name in MACS:
        ip(f"link show dev {name}")  # asking has the kernel act on the new carrier now


def become_root() -> None:
    """In a user namespace of its own, for an ordinary user; ``ip`` keeps its privileges over exec only as uid 0."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        return
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError as error:
        raise NoNamespacesError(f"user namespaces are not allowed here: {error}") from None


def ip(words: str) -> None:
    """iproute2, so that these tests depend on nothing of the testbed's own netlink."""
    subprocess.run(["ip", *words.split()], check=True, stdout=subprocess.DEVNULL)


def in_namespace(story: Callable[[], None]) -> None:
    """Runs ``story`` there; its failure is the test's. Processes that it leaves behind hold the pipe as well, so they
    are killed before its end is waited for; what failed fits into the pipe."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        try:
            enter_namespace()
            story()
        except NoNamespacesError as reason:
            os.write(write_end, f"{SKIP}{reason}".encode())
        except BaseException:
            os.write(write_end, traceback.format_exc().encode()[-60000:])
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # still there, so that its number names its group
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as answer:
        failure = answer.read().decode()
    if failure.startswith(SKIP):
        lacking("namespaces", failure.removeprefix(SKIP))
    if failure:
        pytest.fail(failure, pytrace=False)


@pytest.fixture
def on_nics() -> Callable[[Callable[[], None]], None]:
    """``on_nics(story)`` runs a function where the NICs ``left`` and ``right`` are joined."""
    return in_namespace
