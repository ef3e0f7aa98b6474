"""Command lines where a disk is full or can't be written to: ``python narrow.py FOLDER``, commands as JSON on stdin.

To be run in a mount namespace of its own (unshare -m): real file systems are mounted below FOLDER, by the names that
the commands stand under. Each runs in a process that was forked for it, with caches and state on that disk, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STUDY = """\
name: small
scenario: {name: small, topology: {kind: pair}, protocol: {consensus: none, window: 110us}}
sweep: {parameter: protocol.depth, values: [2]}
sim: {batch: 20, rounds: 20}
"""


def full(place: Path) -> None:
    """A disk of 64 KiB, with what is wanted on it and nothing free."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=True)
    (place / "study.yaml").write_text(STUDY)
    with (place / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def read_only(place: Path) -> None:
    """A disk that nothing can be written to."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=True)
    (place / "study.yaml").write_text(STUDY)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def answer(words: list[str], place: Path) -> tuple[int, str]:
    """Exit code and what is said on stderr."""
    said = os.memfd_create("said")
    child = os.fork()
    if child == 0:
        os.chdir(place)
        os.environ |= {"OAE_CACHE": str(place), "XDG_RUNTIME_DIR": str(place)}
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(said, 2)
        sys.argv = ["testbed", *words]
        main()  # ends with SystemExit
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.lseek(said, 0, os.SEEK_SET)
    with os.fdopen(said, encoding="utf-8") as file:
        return code, file.read()


if __name__ == "__main__":
    import testbed.engines.live.engine
    import testbed.report.pages
    import testbed.study.runner  # noqa: F401 - once, not in every process
    from testbed.cli.main import main

    here = Path(sys.argv[1])
    lines: dict[str, list[list[str]]] = json.load(sys.stdin)
    disks: dict[str, Callable[[Path], None]] = {"full": full, "ro": read_only}
    told = {}
    for name, make in disks.items():
        (here / name).mkdir()
        make(here / name)
        told[name] = [answer(words, here / name) for words in lines[name]]
    print(json.dumps(told))
