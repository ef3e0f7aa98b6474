"""What the end-to-end stories share beyond fixtures: load on the host, other users."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mininet
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


@contextmanager
def busy_host() -> Iterator[None]:
    """All cores are busy with something else meanwhile."""
    code = "while True: pass"
    spinners = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def as_nobody(kernel: Path, folder: Path) -> tuple[list[str], dict[str, str]]:
    """A command line prefix that runs this Python's version as an unprivileged user, and its environment.

    The kernel is copied to where that user may read it. Skips when no such Python is to be had here.
    """
    packages = str(Path(mininet.__file__).parents[1])
    shared = folder / "linux"
    shutil.copyfile(kernel, shared)
    shared.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{packages}", "OAE_KERNEL": str(shared), "HOME": str(folder)}
    if os.geteuid() != 0:
        return [sys.executable], environment
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # It must be able to start itself again: guests run the Python that started them.
    again = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"
    wanted = "import sys, mininet, testbed.cli.main; sys.exit(sys.version_info < (3, 11))"
    for candidate in (sys.executable, "/usr/bin/python3"):
        probe = [*become, candidate, "-c", again, wanted]
        if subprocess.run(probe, env=environment, cwd=ROOT, capture_output=True, check=False).returncode == 0:
            return [*become, candidate], environment
    pytest.skip("no Python here that an unprivileged user can run with the project")
