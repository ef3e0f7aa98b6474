"""testbed/setup.sh: what it makes, when it makes it anew, and what it says when it can't. Nothing is installed here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PYTHON = """\
#!/bin/sh
# Stands in for python3: notes what is asked of it, and makes an environment that has itself as its python.
case "$*" in -c*) exit 0;; esac
echo "$*" >>"$CALLS"
case "$*" in *"testbed.compiled") read -r _ <"$GATE"; echo built >>"$CALLS";; esac
case "$*" in *"pip freeze"*) printf '%s\n' zlib==2 Abc==1;; esac
if [ -n "$REFUSED" ]; then case "$*" in *"$REFUSED"*) exit 1;; esac; fi
case "$*" in "-m venv"*)
    for folder in "$@"; do :; done
    mkdir -p "$folder/bin"
    cp "$0" "$folder/bin/python"
    cp "$0" "$folder/bin/testbed";;
esac
"""


class Clone:
    """A folder with what setup.sh needs, on a machine that has every package but those in ``missing``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder / "clone", folder / "calls"
        self.tools, self.missing = folder / "tools", folder / "missing"
        (self.folder / "testbed").mkdir(parents=True)
        for name in ("pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, self.folder)
        shutil.copy(ROOT / "testbed" / "setup.sh", self.folder / "testbed")
        self.tools.mkdir()
        self.missing.touch()
        self._tool("python3", PYTHON)
        self._tool(
            "dpkg-query",
            f'#!/bin/sh\nfor package in "$@"; do :; done\ngrep -qx "$package" {self.missing} && exit 1\n'
            'echo "install ok installed"\n',
        )
        self._tool("id", "#!/bin/sh\necho 1000\n")

    def _tool(self, name: str, text: str) -> None:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def set_up(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls.unlink(missing_ok=True)
        path = f"{self.tools}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "testbed/setup.sh", *words],
            cwd=self.folder,
            env={"PATH": path, "CALLS": str(self.calls), "OAE_COMPILED": "0", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def made(self) -> list[str]:
        """The environments that the last call made."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.startswith("-m venv")]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_it_makes_the_environment_once(clone: Clone) -> None:
    assert clone.set_up().returncode == 0
    assert clone.made() == ["-m venv .venv"]
    assert "-m pip install" in clone.calls.read_text()
    done = clone.set_up()
    assert (done.returncode, done.stderr, clone.made()) == (0, "", [])


def test_the_simulator_is_compiled_behind_its_back_and_nothing_waits_for_that(clone: Clone) -> None:
    clone._tool("gcc", "#!/bin/sh\n")
    gate = clone.folder / "gate"
    os.mkfifo(gate)
    done = clone.set_up(OAE_COMPILED="", GATE=str(gate))  # comes back, though nobody has opened the gate
    assert done.returncode == 0
    assert "compiling the simulator in the background" in done.stderr
    gate.write_text("go on\n")  # waits for the build to come and read it
    while "built" not in clone.calls.read_text():
        time.sleep(0.01)
    assert clone.calls.read_text().splitlines()[-2:] == ["-m testbed.compiled", "built"]
    assert "compiling" not in clone.set_up(OAE_COMPILED="").stderr  # once for an environment


def test_a_half_deleted_environment_is_made_whole(clone: Clone) -> None:
    clone.set_up()
    (clone.folder / ".venv" / "bin" / "testbed").unlink()
    clone.set_up()
    assert clone.made() == ["-m venv .venv"]


def test_a_change_of_what_is_needed_is_installed(clone: Clone) -> None:
    clone.set_up()
    (clone.folder / "pyproject.toml").write_text("[project]\n")
    clone.set_up()
    assert clone.made() == ["-m venv .venv"]


def test_versions_are_those_of_the_lock(clone: Clone) -> None:
    clone.set_up()
    assert [line for line in clone.calls.read_text().splitlines() if line.startswith("-m pip")] == [
        "-m pip install -q --disable-pip-version-check -c requirements.lock -e .[dev,bench]"
    ]


def test_where_the_locked_versions_can_not_be_had_the_newest_are_taken_and_that_is_said(clone: Clone) -> None:
    done = clone.set_up(REFUSED="requirements.lock")
    assert done.returncode == 0
    assert "the versions in requirements.lock can't be had for" in done.stderr
    last = clone.calls.read_text().splitlines()[-1]
    assert last == "-m pip install -q --disable-pip-version-check -e .[dev,bench]"


def test_a_lock_is_written_of_what_would_be_installed_without_one_and_nothing_else_is_left(clone: Clone) -> None:
    before = sorted(path.name for path in clone.folder.iterdir())
    done = clone.set_up("lock", TMPDIR=str(clone.missing.parent))
    assert (done.returncode, done.stderr) == (0, "setup: requirements.lock names 2 packages\n")
    head, *lines = (clone.folder / "requirements.lock").read_text().splitlines()
    assert head.startswith("# Exact versions")
    assert lines == ["Abc==1", "zlib==2"]
    assert "-c requirements.lock" not in clone.calls.read_text()
    assert sorted(path.name for path in clone.folder.iterdir()) == before
    assert sorted(path.name for path in clone.missing.parent.iterdir()) == ["calls", "clone", "missing", "tools"]


def test_a_new_lock_is_installed(clone: Clone) -> None:
    clone.set_up()
    (clone.folder / "requirements.lock").write_text("numpy==9\n")
    clone.set_up()
    assert clone.made() == ["-m venv .venv"]


def test_the_lock_names_exact_versions_of_all_that_is_wanted_and_no_place() -> None:
    """Of a registry's host, or of a folder of this machine, nobody else has anything."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()[1:]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line)] == []
    locked = {re.sub("[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(name for some in project["optional-dependencies"].values() for name in some)]
    names = {re.match(r"[A-Za-z0-9_.-]+", one)[0].lower() for one in wanted} - {"oae-testbed", "setuptools"}  # type: ignore[index]
    assert names <= locked


def test_a_clone_that_was_moved_does_not_run_the_code_over_there(clone: Clone) -> None:
    clone.set_up()
    clone.folder = clone.folder.rename(clone.folder.with_name("moved here"))
    clone.set_up()
    assert clone.made() == ["-m venv --clear .venv"]
    clone.set_up()
    assert clone.made() == []


def test_without_root_it_names_what_is_missing_and_goes_on(clone: Clone) -> None:
    clone.missing.write_text("flex\nbc\n")
    done = clone.set_up()
    assert done.returncode == 0
    assert "apt-get install flex bc" in done.stderr
    assert clone.made() == ["-m venv .venv"]


def test_a_container_engine_is_wanted_only_where_tests_are_to_have_one(clone: Clone) -> None:
    """Installing one starts it, and it changes the host's network."""
    clone.missing.write_text("docker.io\ncrun\n")
    assert "apt-get install crun \n" in clone.set_up().stderr
    assert "apt-get install crun docker.io \n" in clone.set_up(OAE_REQUIRE="kernel,engine").stderr


def test_a_python_that_is_not_there_is_one_clear_line(clone: Clone) -> None:
    done = clone.set_up(PYTHON="/nowhere/python9")
    assert done.returncode == 2
    assert done.stderr == (
        "setup: Python 3.11 or newer is needed; /nowhere/python9: not found. Name another with: make setup PYTHON=...\n"
    )
