"""The playbook on this machine: provisions, runs a scenario, brings its run directory back."""

from __future__ import annotations

import os
import shutil
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
