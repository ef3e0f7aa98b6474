"""A node's disk in memory that outlives its process: the log of testbed.nodes.core.disk in a shared mapping.

SIGKILL at any point leaves what a crash of the process leaves; what else befalls the disk is done when the next life
recovers it.
"""

from __future__ import annotations

import mmap
import os

from testbed.nodes.core.disk import DISK_BYTES, FULL_AT, Log


def nvram(fd: int) -> Log:
    """The disk in this memory."""
    return Log(mmap.mmap(fd, DISK_BYTES))


def set_full(fd: int, full: bool) -> None:
    """Log.set_full, from outside the node's process."""
    os.pwrite(fd, bytes([full]), FULL_AT)
