"""Helpers of the tests of guests: whose processes are left, and what other users may read."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from needs import NOBODY

REPO = Path(__file__).resolve().parents[3]


def processes_in(folder: Path) -> list[int]:
    """Processes whose working directory is `folder`: launcher, warden, kernel and its own all have it."""
    return [process for process, where in _working_directories() if where == str(folder)]


def processes_below(folder: Path) -> list[int]:
    """Processes whose working directory is somewhere below `folder`, even when it has been deleted meanwhile."""
    return [process for process, where in _working_directories() if where.startswith(f"{folder}/")]


def _working_directories() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                yield int(entry.name), os.readlink(entry / "cwd")


def wait_gone(folder: Path, seconds: float = 10.0) -> list[int]:
    deadline = time.monotonic() + seconds
    while processes_in(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes_in(folder)


def open_folder(tmp_path: Path) -> Path:
    """A folder that nobody may write to, outside pytest's own, which is closed to others."""
    if os.getuid() != 0:
        return tmp_path
    folder = Path("/var/tmp") / f"oae-test-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    return folder


def open_kernel(kernel: Path, folder: Path) -> Path:
    """A copy of the kernel that others may read, if it lies in a closed folder."""
    if folder.stat().st_uid == os.getuid():
        return kernel
    copy = folder / "linux"
    if not copy.exists():
        copy.write_bytes(kernel.read_bytes())
        copy.chmod(0o755)
    return copy
