"""A running fabric as an inventory: playbooks of the user's own in its nodes, run by plain ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import lacking
from typer.testing import CliRunner

from testbed.cli import play
from testbed.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MINE = """\
- hosts: hosts
  gather_facts: false
  tasks:
    - ansible.builtin.command: ip -oneline link show {{ inventory_hostname }}-eth0
      register: told
    - ansible.builtin.copy:
        content: "{{ told.stdout }}"
        dest: "{{ here }}/{{ inventory_hostname }}.txt"
    - ansible.builtin.fetch:
        src: "{{ here }}/{{ inventory_hostname }}.txt"
        dest: "{{ here }}/back/"
        flat: true
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where no fabric is up yet; those that come up go."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path / "ansible"))
    monkeypatch.setenv("ANSIBLE_REMOTE_TEMP", str(tmp_path / "remote"))
    yield tmp_path
    call("testbed", "down")


def call(program: str, *argv: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / program), *argv], cwd=cwd, env=os.environ, capture_output=True, text=True, timeout=240, check=False
    )


def ansible(program: str, *argv: str) -> subprocess.CompletedProcess[str]:
    if not (BIN / program).exists():
        lacking("ansible", "it is not installed (pip install ansible-core ansible-runner)")
    return call(program, "-i", "playbooks/fabric.testbed.yml", *argv)


@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_a_playbook_of_the_users_own_runs_in_the_nodes_of_a_running_fabric(here: Path) -> None:
    up = call("testbed", "up", "--detach", "leaf_spine", "--set", "hosts_per_leaf=1", "--set", "leaves=2")
    assert up.returncode == 0, up.stderr
    (here / "mine.yml").write_text(MINE)
    done = ansible("ansible-playbook", str(here / "mine.yml"), "-e", f"here={here}")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = {path.name: path.read_text() for path in (here / "back").iterdir()}
    assert set(seen) == {"host1.txt", "host2.txt"}
    assert "02:00:00:00:00:01" in seen["host1.txt"]
    assert "02:00:00:00:00:02" in seen["host2.txt"]


@pytest.mark.usefixtures("namespaces")
def test_the_inventory_lists_the_nodes_of_the_fabric_that_is_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = ansible("ansible-inventory", "--list")
    assert "no fabric of yours is up; bring one up with" in refused.stderr.replace("\n", " ")
    for name in ("one", "two"):
        assert call("testbed", "up", "--detach", "pair", "--name", name).returncode == 0
    monkeypatch.setenv("OAE_TESTBED_FABRIC", "two")
    listed = json.loads(ansible("ansible-inventory", "--list").stdout)
    assert listed["hosts"]["hosts"] == ["host1", "host2"]
    assert '"two"' in json.dumps(listed["_meta"]["hostvars"]["host1"]["testbed_fabric"])  # some versions wrap it


def test_without_ansible_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ansible_runner", None)
    told = CliRunner().invoke(app, ["play", "provision"])
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert "Ansible is not installed; pip install 'oae-testbed[ansible]'" in told.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nothing"], "nothing: there is no such playbook"),
        (["fabric", "--fabric", "x"], "no fabric of yours is up"),
        (["fabric", "-i", "nowhere.ini"], "nowhere.ini: there is no such inventory"),
        (["fabric", "-i", "a,", "--fabric", "x"], "give one of them"),
        (["fabric", "-e", "do"], "write it as key=value"),
    ],
)
def test_what_cannot_be_played_is_told_in_one_line(here: Path, argv: list[str], words: str) -> None:
    told = CliRunner().invoke(app, ["play", *argv])
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert words in told.stderr


def test_shipped_playbooks_are_found_by_name() -> None:
    names = {"provision", "fabric", "scenario", "study"}
    assert {play.find_playbook(name).name for name in names} == {f"{name}.yml" for name in names}
