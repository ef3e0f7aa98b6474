"""Processes and their children."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> dict[int, str]:
    """The children of a process, each with when it started: a number alone may name another one later."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat_of(int(entry.name))) and int(fields[1]) == pid:
            found[int(entry.name)] = fields[19]
    return found


def stat_of(pid: int) -> list[str]:
    """What the kernel tells of a process, from its state on; nothing of one that there is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
