"""Processes named for good, and where to write down what belongs to them: for cleaning up after those that are gone."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

_START_TIME_FIELD = 19  # of /proc/<pid>/stat, counted behind the closing parenthesis of the name


def state_folder() -> Path:
    """This user's own folder; created when missing, refused when it belongs to somebody else."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    home = Path(base) if base and os.access(base, os.W_OK) else Path(tempfile.gettempdir())
    folder = home / f"oae-testbed-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder}: is not a directory of yours; remove it or set XDG_RUNTIME_DIR")
    return folder


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[_START_TIME_FIELD])


def own_mark() -> str:
    """This process, named for good: boot of the machine, process namespace, number, start time."""
    me = os.getpid()
    return f"{_where()}:{me}:{start_time(me)}"


def mark_is_dead(mark: str) -> bool:
    """Whether a process that is named so is known to be gone: not when it is of a process namespace that isn't ours."""
    boot, _, rest = mark.partition(":")
    if boot != _where().partition(":")[0]:
        return True
    space, _, process = rest.partition(":")
    pid, _, started = process.partition(":")
    if space != _where().partition(":")[2]:
        return False
    return not (pid.isdecimal() and str(start_time(int(pid))) == started)


def _where() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
