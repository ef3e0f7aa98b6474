"""Runs a command as another user, to whom the ways to some folders are open. Needs root.

    python other_user.py USER FOLDER... -- COMMAND...

A clone in root's home, or a Python there, is closed to everybody else: nobody may pass through the home. In a mount
namespace of this command's own, an empty folder that all may pass takes the place of such a home, with the wanted
folders in it as they are.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from testbed.engines.live.syscalls import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC, mount, unshare


def open_ways(folders: list[Path]) -> None:
    """Makes the topmost closed folder above each of ``folders`` passable, in a mount namespace of our own."""
    unshare(CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    behind: dict[Path, set[Path]] = {}
    for folder in {folder.resolve() for folder in folders}:
        if closed := next((above for above in reversed(folder.parents) if not _passable(above)), None):
            behind.setdefault(closed, set()).add(folder)
    for closed, wanted in behind.items():
        _replace(closed, sorted(folder for folder in wanted if not wanted & set(folder.parents)))


def _passable(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _replace(closed: Path, wanted: list[Path]) -> None:
    originals = {folder: os.open(folder, os.O_PATH) for folder in wanted}
    mount("tmpfs", str(closed), "tmpfs", data="mode=755")
    for folder, original in originals.items():
        folder.mkdir(parents=True)
        mount(f"/proc/self/fd/{original}", str(folder), None, MS_BIND | MS_REC)
        os.close(original)


def main(words: list[str]) -> None:
    """Becomes the command."""
    end = words.index("--")
    user, folders, command = int(words[0]), words[1:end], words[end + 1 :]
    here = os.getcwd()
    os.umask(0o022)
    open_ways([Path(folder) for folder in folders])
    os.chdir(here)  # into what stands there now
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
