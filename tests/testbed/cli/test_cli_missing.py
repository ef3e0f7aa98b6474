"""What a user lacks, one part after the other: each is one line, which says what, where, and what to do.

Engines of containers and their images are in tests/testbed/containers, machines in tests/testbed/machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from needs import lacking
from typer.testing import CliRunner

from testbed.cli import machines
from testbed.cli.main import app

ROOM, WRITABLE = "make room, or work in another directory", "work in a directory that can be written to"
NO_SPACE, READ_ONLY = "No space left on device", "Read-only file system"
NAME_A_CACHE = "Name a folder you may write in OAE_CACHE"
ON_DISKS: list[tuple[list[str], tuple[str, str]]] = [
    (["run", "clean-live", "-e", "sim"], (ROOM, WRITABLE)),
    (["run", "clean-live", "-e", "live"], (ROOM, WRITABLE)),
    (["study", "study.yaml", "--no-vkernel", "--jobs", "0", "--out", "out"], (ROOM, WRITABLE)),
    (["topo", "draw", "pair", "-f", "svg", "-o", "pair.svg"], (ROOM, WRITABLE)),
    (["export", "containerlab", "pair", "--out", "lab"], (ROOM, WRITABLE)),
    (["image", "build"], (ROOM, NAME_A_CACHE)),
    (["kernel", "build"], (ROOM, NAME_A_CACHE)),
    (["topo", "list"], ("", "")),
]
"""A command line; what to do where the disk is full, and where it is read-only; nothing where it works all the same."""
STATE_IS_FULL = ["up", "--detach", "pair"]  # where it is read-only, state is kept elsewhere


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str]]]:
    """What each command line says on a full disk and on a read-only one."""
    apart = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode != 0:
        lacking("namespaces", "no mounts of one's own")
    script, disks = Path(__file__).with_name("narrow.py"), tmp_path_factory.mktemp("disks")
    lines = [words for words, _ in ON_DISKS]
    wanted = json.dumps({"full": [*lines, STATE_IS_FULL], "ro": lines})
    command = [*apart, sys.executable, str(script), str(disks)]
    done = subprocess.run(command, input=wanted, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def check(code: int, said: str, *words: str) -> None:
    """The last line, and no other, is an error."""
    *before, last = said.splitlines()
    assert code == 2, said
    assert not any(line.startswith(("testbed: error", "Traceback")) for line in before)
    assert last.startswith("testbed: error: ")
    assert all(word in last for word in words), last


@pytest.mark.parametrize("place", range(len(ON_DISKS)), ids=lambda place: " ".join(ON_DISKS[place][0][:2]))
@pytest.mark.parametrize("disk", ["full", "ro"])
def test_a_disk_that_is_full_or_read_only_is_one_line(
    told: dict[str, list[tuple[int, str]]], disk: str, place: int
) -> None:
    code, said = told[disk][place]
    advice = ON_DISKS[place][1][disk == "ro"]
    if advice:
        check(code, said, NO_SPACE if disk == "full" else READ_ONLY, advice)
    else:
        assert (code, said) == (0, "")


@pytest.mark.usefixtures("namespaces")
def test_a_fabric_in_the_background_says_that_its_state_finds_no_room(told: dict[str, list[tuple[int, str]]]) -> None:
    check(*told["full"][len(ON_DISKS)], NO_SPACE, ROOM)


def test_several_machines_without_ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines.sys, "executable", str(tmp_path / "python"))  # an environment with nothing beside it
    said = CliRunner().invoke(
        app, ["run", "clean-live", "-e", "live", "-i", "one,two,", "--out", str(tmp_path / "out")]
    )
    assert said.exit_code == 2
    assert said.stderr == (
        "testbed: error: --inventory: Ansible is not installed; "
        "pip install 'oae-testbed[ansible]'; in a clone: make setup\n"
    )
    assert not (tmp_path / "out").exists()


def test_what_goes_with_one_machine_only_is_refused_before_anything_begins(tmp_path: Path) -> None:
    inventory = tmp_path / "two.ini"
    inventory.write_text("[testbed]\na ansible_host=127.0.0.1\nb ansible_host=127.0.0.1\n")
    if not Path(sys.executable).with_name("ansible-inventory").exists():
        lacking("ansible", "it is not installed (pip install ansible-core ansible-runner)")
    words = ["run", "clean-live", "-e", "live", "-i", str(inventory), "--out", str(tmp_path / "out")]
    for change, line in (
        ("nodes=container", "hosts that are containers go with one machine: leave --inventory out, or add"),
        ("protocol.rounds=1", "can't be divided over 2 machines"),
    ):
        said = CliRunner().invoke(app, [*words, "--set", change])
        assert (said.exit_code, said.stderr.count("\n")) == (2, 1)
        assert line in said.stderr
        assert not (tmp_path / "out").exists()
