"""Processes and their children."""

from __future__ import annotations

from pathlib import Path


def families() -> dict[int, dict[int, str]]:
    """Whose children there are, each with when it started: a number alone may name another one later."""
    found: dict[int, dict[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat_of(int(entry.name))):
            found.setdefault(int(fields[1]), {})[int(entry.name)] = fields[19]
    return found


def children(pid: int) -> dict[int, str]:
    """The children of a process."""
    return families().get(pid, {})


def stat_of(pid: int) -> list[str]:
    """What the kernel tells of a process, from its state on; nothing of one that there is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
