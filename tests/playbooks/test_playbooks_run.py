"""The playbook on this machine: provisions, runs a scenario, brings its run directory back."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

ansible_runner = pytest.importorskip("ansible_runner", reason="ansible is not installed (pip install ansible-runner)")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_scenario_runs_by_ansible_and_its_verdicts_come_back(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = ansible_runner.run(
        private_data_dir=str(tmp_path),
        playbook=str(ROOT / "playbooks" / "run.yml"),
        inventory=str(ROOT / "playbooks" / "inventory.ini"),
        extravars={
            "scenario": "clean-live",
            "engine": "sim",
            "overrides": ["protocol.rounds=5"],
            "results": str(tmp_path / "back"),
            "run": str(tmp_path / "run"),
        },
        envvars={"ANSIBLE_HOME": str(tmp_path / "ansible"), "PATH": path},
        quiet=True,
    )
    assert done.rc == 0, done.stdout.read()
    verdicts = json.loads((tmp_path / "back" / "localhost" / "verdicts.json").read_text())
    assert verdicts["engine"] == "sim"
    assert verdicts["bisynchrony"]["rounds"] == 5
    assert (tmp_path / "back" / "localhost" / "report.html").exists()
