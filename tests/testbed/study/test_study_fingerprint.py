"""A trial is taken from the store only while nothing that could change it has changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def printed(root: Path, code: str) -> str:
    """What this code prints with the packages below ``root``."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{code}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout


def fingerprints(root: Path) -> dict[str, str]:
    lines = printed(
        root,
        "from testbed.study.fingerprint import code_fingerprint\n"
        "for engine in ('sim', 'vkernel'): print(engine, code_fingerprint(engine))",
    )
    return dict(line.split() for line in lines.splitlines())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "testbed", root / "testbed", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("testbed/study/measure.py", "sim vkernel"),  # how a trial is counted
        ("testbed/engines/sim/netem.py", "sim vkernel"),  # vkernel's trials are held against sim
        ("testbed/engines/vkernel/init.sh", "vkernel"),
        ("testbed/engines/vkernel/patches/0001-clock-grain-of-one-nanosecond.patch", "vkernel"),
        ("testbed/verdicts/bisynchrony.py", "sim vkernel"),
        ("testbed/plan.py", "sim vkernel"),
        ("testbed/nodes/oae/link.py", "sim vkernel"),
        ("testbed/topologies/tables.py", "sim vkernel"),
        ("testbed/report/plots.py", ""),
        ("testbed/reference/pages.py", ""),
        ("testbed/serve/__init__.py", ""),
        ("testbed/cli/study.py", ""),
        ("testbed/actions/study.py", ""),
        ("testbed/nodes/consensus/oae/notes.md", ""),
    ],
)
def test_what_can_change_a_trial_changes_the_fingerprint(tree: Path, name: str, changes: str) -> None:
    before = fingerprints(tree)
    with (tree / name).open("a", encoding="utf-8") as file:
        file.write("\n# another line\n")
    after = fingerprints(tree)
    assert " ".join(engine for engine in before if before[engine] != after[engine]) == changes


def test_every_module_that_a_worker_loads_is_covered() -> None:
    """Also those that it loads only when it runs: one small trial is made first."""
    loaded = printed(
        ROOT,
        "import testbed.study.fingerprint as fingerprint\n"
        "from pathlib import Path\n"
        "from testbed.scenario.load import load\n"
        "from testbed.study.measure import Task, do_task\n"
        "scenario = load(Path('scenarios/nic-crash-mid-swap.yaml')).with_override('protocol.rounds', 20)\n"
        "do_task(Task('key', 'variant', 1.0, scenario, (1,)))\n"
        "covered = set(fingerprint.covered_files('sim').values())\n"
        "mine = [m for m in sys.modules.values() if m.__name__.split('.')[0] == 'testbed']\n"
        "print(len(mine), *[m.__name__ for m in mine if m.__file__ and Path(m.__file__) not in covered])",
    )
    count, *uncovered = loaded.split()
    assert int(count) > 30
    assert uncovered == []


def test_the_versions_of_libraries_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from testbed.study import fingerprint

    before = fingerprint.code_fingerprint("sim")
    monkeypatch.setattr(fingerprint, "version", lambda name: "0.0.1")
    fingerprint.code_fingerprint.cache_clear()
    try:
        assert fingerprint.code_fingerprint("sim") != before
    finally:
        monkeypatch.undo()
        fingerprint.code_fingerprint.cache_clear()
