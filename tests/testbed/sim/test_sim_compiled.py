"""The compiled build: the same results as the sources', byte for byte, and never in place of sources that changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needs import ROOT, needs

pytestmark = [
    pytest.mark.slow,
    needs("tools", shutil.which("gcc"), "there is no C compiler"),
]

RUN = """
import hashlib, sys
from pathlib import Path
from testbed import compiled
compiled.use()
from testbed.engines.sim import SimEngine, run
from testbed.scenario import compile_plan, load
for name in sys.argv[1:]:
    plan = compile_plan(load(Path(name)))
    history = SimEngine().run(plan)
    told = repr([list(history.events), list(history.hops), history.meta])
    print(Path(name).name, len(history.events), len(history.hops), hashlib.sha256(told.encode()).hexdigest())
print("compiled" if run.__file__.endswith(".so") else "sources", file=sys.stderr)
"""


def shell(*words: str, tree: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), **environ}
    command = [sys.executable, *words]
    return subprocess.run(command, env=environment, text=True, capture_output=True, cwd=tree, check=False)


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    done = shell("-m", "testbed.compiled")
    assert done.returncode == 0, done.stderr


def shipped() -> list[str]:
    return sorted(str(path) for path in (ROOT / "scenarios").glob("*.yaml"))


def test_every_shipped_scenario_gives_the_same_history() -> None:
    plain, fast = shell("-c", RUN, *shipped(), OAE_COMPILED="0"), shell("-c", RUN, *shipped())
    assert (plain.stderr.strip(), fast.stderr.strip()) == ("sources", "compiled")
    assert plain.stdout == fast.stdout
    assert len(plain.stdout.splitlines()) == len(shipped()) > 3


def test_sources_that_changed_run_themselves(tmp_path: Path) -> None:
    """Editing in place must never meet a stale build: a comment is enough to go without."""
    for room in ("nodes", "testbed", "topologies", "scenarios"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    scenario = str(tmp_path / "scenarios" / Path(shipped()[0]).name)
    assert shell("-c", RUN, scenario, tree=tmp_path).stderr.strip() == "compiled"
    with (tmp_path / "nodes" / "core" / "driver.py").open("a") as driver:
        driver.write("# changed\n")
    assert shell("-c", RUN, scenario, tree=tmp_path).stderr.strip() == "sources"


def test_it_is_all_or_nothing() -> None:
    """Compiled modules know each other's insides: where one is there as source already, all stay so."""
    told = shell("-c", "import nodes.core.driver\nfrom testbed import compiled\nprint(compiled.use())")
    assert told.stdout.strip() == "False"
