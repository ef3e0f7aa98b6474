"""What tests need of the machine, beyond Python and this project; a test that can't have it is skipped.

Every skip names its need: ``lacking("kernel", "none has been built")``. So ``OAE_REQUIRE=kernel,namespaces`` can turn
the skips for these needs into failures (see conftest.py): continuous integration demands what its machine can have,
and everybody else gets a skip with its reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

NEEDS = {
    "kernel": "the virtual-time kernel (make kernel)",
    "namespaces": "root, or user namespaces for ordinary users",
    "user": "somebody else than the one who runs the tests: root, to become nobody",
    "tools": "programs: a compiler, make, ping, tc",
    "ansible": "ansible-core and ansible-runner",
    "dask": "dask's distributed",
    "sshd": "OpenSSH's server and client",
    "engine": "root, and a container engine to start (dockerd: docker.io)",
    "tshark": "Wireshark's tshark, with Lua",
    "docs": "MkDocs with its Material theme, of which the site is made",
    "browser": "Chromium, which opens pages without a screen",
    "axe": "axe-core, which looks for what keeps people from using a page (make browser)",
    "runtime": "an OCI runtime (crun or runc) for containers in the virtual-time kernel",
}
MOOT = "moot"
"""The word of a skip that is no lack: the test shows what only other machines do. It can't be demanded."""

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 65534


def lacking(need: str, why: str) -> NoReturn:
    """Skips the running test, or the module that is being collected."""
    __tracebackhide__ = True  # the place to report is the test
    assert need in (*NEEDS, MOOT), need
    pytest.skip(f"{need}: {why}", allow_module_level=True)


def needs(need: str, present: object, why: str) -> pytest.MarkDecorator:
    """A mark for tests that are skipped when ``present`` is false."""
    assert need in (*NEEDS, MOOT), need
    return pytest.mark.skipif(not present, reason=f"{need}: {why}")


def demanded(words: str) -> frozenset[str]:
    """The needs in a list like ``kernel,namespaces``, or all of them for ``all``."""
    named = frozenset(filter(None, (word.strip() for word in words.split(","))))
    if named == {"all"}:
        return frozenset(NEEDS)
    if unknown := sorted(named - set(NEEDS)):
        raise pytest.UsageError(
            f"OAE_REQUIRE={words}: no need {', '.join(unknown)}; there are {', '.join(NEEDS)}, or all"
        )
    return named


def as_nobody() -> list[str]:
    """The start of a command line: this Python, run by an ordinary user who can read the project.

    That user is whoever runs the tests, unless it is root: then nobody, to whom the ways to the project and to Python
    are opened where they lead through a closed home (see other_user.py).
    """
    if os.geteuid() != 0:
        return [sys.executable]
    ways = map(str, (ROOT, sys.prefix, sys.base_prefix))
    command = [sys.executable, str(ROOT / "tests" / "other_user.py"), str(NOBODY), *ways, "--", sys.executable]
    probe = [*command, "-c", "import mininet, numpy, testbed.nodes, testbed.topologies"]
    told = subprocess.run(probe, cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        lacking("user", f"nobody can't run the project here ({told.stderr.strip()[-80:]})")
    return command
