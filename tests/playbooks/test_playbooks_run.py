"""The playbook on this machine: provisions, runs a scenario, brings its run directory back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needs import lacking, needs

from testbed.runs import read_run

try:
    import ansible_runner
except ImportError:
    lacking("ansible", "it is not installed (pip install ansible-core ansible-runner)")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@needs("tools", shutil.which("make"), "make is not installed")
def test_a_scenario_runs_by_ansible_and_its_run_directory_comes_back(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = ansible_runner.run(
        private_data_dir=str(tmp_path),
        playbook=str(ROOT / "playbooks" / "scenario.yml"),
        inventory=str(ROOT / "playbooks" / "inventory.ini"),
        extravars={
            "scenario": "clean-live",
            "engine": "sim",
            "overrides": ["protocol.rounds=5"],
            "results": str(tmp_path / "back"),
            "directory": str(tmp_path / "run"),
        },
        # Not in the user's home, which may be none: services' users have none.
        envvars={
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            "PATH": path,
        },
        quiet=True,
    )
    assert done.rc == 0, done.stdout.read()
    back = tmp_path / "back" / "localhost-clean-live"
    _, plan, history, verdicts = read_run(back)
    assert (plan.name, history.engine, verdicts.bisynchrony.rounds) == ("clean-live", "sim", 5)
    assert {path.name for path in back.iterdir()} == {path.name for path in (tmp_path / "run").iterdir()}


SAY = "- {hosts: all, gather_facts: false, connection: local, tasks: [{name: say, debug: {msg: hello}}]}\n"


@pytest.mark.slow
@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_play_colours_a_terminal_that_wants_it(tmp_path: Path, no_color: str, coloured: bool) -> None:
    master, slave = os.openpty()
    done = played(tmp_path, {"NO_COLOR": no_color}, slave)
    os.close(slave)
    said = os.read(master, 65536).decode()
    os.close(master)
    assert done.returncode == 0
    assert "hello" in said
    assert ("\x1b[" in said) is coloured


def test_play_writes_plain_lines_into_a_pipe(tmp_path: Path) -> None:
    """There were colours and line ends of a terminal in it: that which ansible-runner runs Ansible on."""
    done = played(tmp_path, {}, subprocess.PIPE)
    assert done.returncode == 0
    assert b'"msg": "hello"' in done.stdout
    assert b"\x1b" not in done.stdout
    assert b"\r" not in done.stdout


def played(folder: Path, environment: dict[str, str], stdout: int) -> subprocess.CompletedProcess[bytes]:
    (folder / "say.yml").write_text(SAY)
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    kept |= {"ANSIBLE_HOME": str(folder / "ansible"), "TERM": "xterm"} | environment
    command = [sys.executable, "-m", "testbed.cli.main", "play", "say.yml", "-i", "localhost,"]
    return subprocess.run(
        command, cwd=folder, env=kept, stdout=stdout, stderr=subprocess.PIPE, timeout=120, check=False
    )
