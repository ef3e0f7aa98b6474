"""The compiled build: the same results as the sources', byte for byte, and never in place of sources that changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from needs import ROOT, needs
from shipped import SHIPPED, known_on_sim

from testbed import compiled
from testbed.engines.sim import run
from testbed.engines.vkernel.boot import CONSOLE, boot
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.scenario import compile_plan, load

pytestmark = [
    pytest.mark.slow,
    needs("tools", shutil.which("gcc"), "there is no C compiler"),
]

RUN = """
import sys
from pathlib import Path
from testbed import compiled
compiled.use()
from shipped import ran_on_sim, told
from testbed.engines.sim import run
for name in sys.argv[1:]:
    print(told(ran_on_sim(Path(name))[1]))
assert run.__file__.endswith(".so") == ("librt" in sys.modules), "the compiler's library is the compiled build's alone"
print("compiled" if run.__file__.endswith(".so") else "sources", file=sys.stderr)
"""


def shell(*words: str, tree: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tree), str(ROOT / "tests"))), **environ}
    command = [sys.executable, *words]
    return subprocess.run(command, env=environment, text=True, capture_output=True, cwd=tree, check=False)


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    done = shell("-m", "testbed.compiled")
    assert done.returncode == 0, done.stderr


def test_every_shipped_scenario_gives_the_same_history() -> None:
    done = shell("-c", RUN, *map(str, SHIPPED))
    assert done.stderr.strip() == "compiled"
    for path, fast in zip(SHIPPED, done.stdout.splitlines(), strict=True):
        assert fast == known_on_sim(path)[1]  # the sources: what pytest has loaded
    assert not run.__file__.endswith(".so")
    assert len(SHIPPED) > 3


IN_GUEST = """
import hashlib, sys
from pathlib import Path
from testbed.engines.registry import engine_by_name
from testbed.scenario import compile_plan, load
plan = compile_plan(load(Path(sys.argv[1])))
engine_by_name("vkernel").run(plan, Path(sys.argv[2]))
job = Path(sys.argv[2]) / "vkernel"
for path in sorted(job.glob("journal-*.txt")) + sorted(job.glob("*.blocks")):
    print(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
"""


@pytest.mark.usefixtures("kernel")
def test_agents_in_a_guest_are_compiled_and_record_the_same(tmp_path: Path) -> None:
    scenario = str(ROOT / "scenarios" / "reconcile-restart.yaml")  # with a disk, and a life that goes on from it
    plain = shell("-c", IN_GUEST, scenario, str(tmp_path / "plain"), OAE_COMPILED="0")
    fast = shell("-c", IN_GUEST, scenario, str(tmp_path / "fast"))
    assert (plain.returncode, fast.returncode) == (0, 0), plain.stderr + fast.stderr
    assert plain.stdout == fast.stdout
    assert "journal-" in plain.stdout
    looks = (
        "import testbed.engines.vkernel.inside, testbed.nodes.core.driver; print(testbed.nodes.core.driver.__file__)"
    )
    guest = VKernelEngine()._guest(compile_plan(load(Path(scenario))), tmp_path / "job")
    boot(replace(guest, argv=(sys.executable, "-c", looks)))
    assert str(compiled.folder()) in (tmp_path / "job" / CONSOLE).read_text()


TESTS = """
import sys
import pytest
from testbed import compiled
assert compiled.use()
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-m", "not slow", *sys.argv[1:]]))
"""
HELD = (
    "testbed/test_columns.py",
    "testbed/sim/test_sim_netem.py",
    "testbed/sim/test_sim_queue.py",
    "testbed/sim/test_sim_random32.py",
    "nodes/oae/test_oae_link.py",
    "nodes/agent/test_agent_journal.py",
    "nodes/agent/test_agent_ring.py",
    "nodes/frames/test_frames_wire.py",
)


def test_what_is_held_to_a_plain_form_is_so_when_compiled() -> None:
    """Columns, slots, journals, rings, draws, delays and the queue are other code when compiled; machines are not."""
    done = shell("-c", TESTS, *(str(ROOT / "tests" / name) for name in HELD))
    assert done.returncode == 0, done.stdout


KINDS = """
import copy, pickle
from testbed import compiled
assert compiled.use() == (%r == "compiled")
from testbed.nodes.core import Note, Send
from testbed.nodes.frames import Frame, FrameKey, Kind, Message
made = [Message(Kind.DATA, 1, 2), Message(Kind.DATA, round=1, step=2), Message(1, 2, 3, b"4", 5), Note("on", text="x")]
made += [Frame(FrameKey(1, 2, 3), 4, 5, made[0]), Send(1, made[0])._replace(port=2), Message._make([1, 2, 3, b"", 4])]
print(made, all(hash(one) == hash(tuple(one)) for one in made), copy.deepcopy(made) == made)
print(pickle.loads(pickle.dumps(made)) == made, {type(one) for one in made} <= {Message, Note, Frame, Send})
for wrong in ((1,), {}), ((1, 2, 3, 4, 5, 6), {}), ((1, 2, 3), {"stop": 4}), ((), {"kind": 1}):
    try:
        Message(*wrong[0], **wrong[1])
    except TypeError as error:
        print(error)
"""


def test_kinds_made_in_c_are_those_made_in_python() -> None:
    plain, fast = shell("-c", KINDS % "sources", OAE_COMPILED="0"), shell("-c", KINDS % "compiled")
    assert (plain.returncode, fast.returncode) == (0, 0), plain.stderr + fast.stderr
    assert plain.stdout == fast.stdout
    assert len(plain.stdout.splitlines()) == 6


def test_sources_that_changed_run_themselves(tmp_path: Path) -> None:
    """Editing in place must never meet a stale build: a comment is enough to go without."""
    for room in ("testbed", "scenarios"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    scenario = str(tmp_path / "scenarios" / SHIPPED[0].name)
    assert shell("-c", RUN, scenario, tree=tmp_path).stderr.strip() == "compiled"
    with (tmp_path / "testbed" / "nodes" / "core" / "driver.py").open("a") as driver:
        driver.write("# changed\n")
    assert shell("-c", RUN, scenario, tree=tmp_path).stderr.strip() == "sources"


def test_a_build_that_was_killed_is_never_used_and_the_next_one_clears_up_after_it(tmp_path: Path) -> None:
    builds = tmp_path / "oae-testbed" / "compiled"
    looks = "from testbed import compiled; print(compiled.use())"

    def killed_half_way() -> Path:
        """What a build leaves that is killed as soon as it has begun."""
        before = set(builds.glob("building-*"))
        command, environment = [sys.executable, "-m", "testbed.compiled"], {**os.environ, "OAE_CACHE": str(tmp_path)}
        with subprocess.Popen(command, cwd=ROOT, env=environment) as build:
            while build.poll() is None and not set(builds.glob("building-*")) - before:
                time.sleep(0.01)
            build.kill()
        (left,) = set(builds.glob("building-*")) - before
        return left

    first = killed_half_way()
    assert shell("-c", looks, OAE_CACHE=str(tmp_path)).stdout.strip() == "False"
    second = killed_half_way()
    assert (first.exists(), second.exists()) == (False, True)


def test_it_is_all_or_nothing() -> None:
    """Compiled modules know each other's insides: where one is there as source already, all stay so."""
    told = shell("-c", "import testbed.nodes.core.driver\nfrom testbed import compiled\nprint(compiled.use())")
    assert told.stdout.strip() == "False"
