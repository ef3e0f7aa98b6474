"""How much memory this process may still take: what the machine has, and what its control groups allow."""

from __future__ import annotations

import re
from pathlib import Path

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_FILES = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}  # of versions 2 and 1


def available_bytes(root: Path = Path("/")) -> int:
    """The least of what is free on the machine and what is left in each control group that this process is in."""
    left = [_machine(root / "proc/meminfo"), *(_left(group) for group in _groups(root))]
    return max(0, min(left))


def parse_size(text: str) -> int:
    """``4G``, ``500 MB`` or plain bytes. Raises ValueError, one line."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no amount of memory; write a number and M or G, such as 4G")
    return int(float(match[1]) * _UNITS[match[2]])


def spell_size(size: float) -> str:
    """``1.4 GB``."""
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size / 1000:.1f} kB"


def _machine(file: Path) -> int:
    for line in _read(file).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62


def _groups(root: Path) -> list[Path]:
    """Folders of this process's groups and of those above them, which bound it too."""
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        own = top / path.lstrip("/")
        found += [folder for folder in (own, *own.parents) if folder.is_relative_to(top)]
    return found


def _left(group: Path) -> int:
    for most, used in _FILES.items():
        limit = _read(group / most).strip()
        if limit.isdigit():
            return int(limit) - int(_read(group / used).strip() or 0) + _cache(group)
    return 1 << 62


def _cache(group: Path) -> int:
    """Pages of files that the kernel gives up when memory runs short; a group's use counts them."""
    for line in _read(group / "memory.stat").splitlines():
        if line.startswith(("inactive_file ", "total_inactive_file ")):
            return int(line.split()[1])
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
