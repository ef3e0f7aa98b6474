"""The wheel: installed in an empty environment, in an empty folder, it is what a clone is."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from needs import ROOT, lacking

pytestmark = pytest.mark.slow
PACKED = (
    "testbed", "nodes", "topologies", "scenarios", "studies", "playbooks", "examples", "docs", "benchmarks", "LICENSES",
)  # fmt: skip
BUILDS = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
LOCAL = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")


def called(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command with nothing in its environment that leads back here."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def built(what: str, where: Path) -> Path:
    """The ``wheel`` or ``sdist`` of the project in the folder ``where``, made without the network."""
    made = called(sys.executable, "-c", BUILDS, f"build_{what}", "dist", cwd=where)
    assert made.returncode == 0, made.stderr
    return where / "dist" / made.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clone as it is, links as links, to be built in."""
    if (importlib.util.find_spec("setuptools.dist") is None) or not (ROOT / "pyproject.toml").exists():
        lacking("tools", "setuptools is not installed, or this is no clone")
    here = tmp_path_factory.mktemp("project")
    for name in PACKED:
        shutil.copytree(ROOT / name, here / name, symlinks=True, ignore=LOCAL)
    for name in ("pyproject.toml", "README.md", "LICENSE", "ansible.cfg"):
        shutil.copy(ROOT / name, here)
    return here


@pytest.fixture(scope="module")
def wheel(project: Path) -> Path:
    return built("wheel", project)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it needs, which is what is installed here beside this project."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    done = called(
        sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python),
        "install", "-q", "--no-index", "--no-deps", str(wheel), cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (packages(place) / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


@pytest.fixture
def testbed(installed: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, in an empty folder."""
    return lambda *words: called(str(installed / "bin" / "testbed"), *words, cwd=tmp_path)


def packages(environment: Path) -> Path:
    (found,) = environment.glob("lib/python*/site-packages")
    return found


def test_it_takes_one_name_among_other_packages(installed: Path) -> None:
    names = {path.name for path in packages(installed).iterdir()} - {"needed.pth"}
    assert sorted(name.split("-")[0] for name in names) == ["oae_testbed", "testbed"]
    assert {path.name for path in (installed / "bin").iterdir() if "ython" not in path.name} >= {"testbed"}


def test_all_that_is_in_the_clones_folders_is_in_it(project: Path, wheel: Path) -> None:
    wanted = {
        path.relative_to(project).as_posix()
        for folder, _, names in os.walk(project / "testbed", followlinks=True)
        for path in (Path(folder, name) for name in names)
    }
    assert {"testbed/nodes/agent/ring.c", "testbed/shipped/scenarios/clean-live.yaml"} <= wanted
    with zipfile.ZipFile(wheel) as files:
        assert wanted - set(files.namelist()) == set()


def test_the_archive_of_sources_gives_the_same_wheel(project: Path, wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(built("sdist", project), tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as files, zipfile.ZipFile(built("wheel", unpacked)) as again:
        assert sorted(again.namelist()) == sorted(files.namelist())


def test_a_scenario_that_ships_runs_in_an_empty_folder(
    testbed: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    told = testbed("run", "nic-crash-mid-swap", "--set", "protocol.rounds=40", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["verdicts"]["bisynchrony"]["rounds"] == 40
    known = json.loads(testbed("list", "scenarios", "--json").stdout)
    assert {entry["name"] for entry in known} == {path.stem for path in (ROOT / "scenarios").glob("*.yaml")}


def test_a_study_runs_in_an_empty_folder(
    testbed: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "little.yaml").write_text(
        "name: little\n"
        "scenario: {name: little, topology: {kind: pair}, links: {default: {delay: 10us, loss: 5%}},\n"
        "           protocol: {consensus: none, window: 300us}}\n"
        "sweep: {parameter: protocol.depth, values: [2, 3]}\n"
        "measure: broken_round\n"
        "sim: {batch: 50, rounds: 50}\n"
    )
    told = testbed("study", "little.yaml", "--no-vkernel", "--jobs", "0", "--out", "out")
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "out" / "report.html").exists()


def test_it_is_the_same_testbed(installed: Path, project: Path, tmp_path: Path) -> None:
    """Trials, kernel and image of a clone are those of the wheel: neither is made again for the other."""
    ask = (
        "from testbed.study.fingerprint import code_fingerprint as code\n"
        "from testbed.engines.vkernel.kernel import recipe_hash\n"
        "from testbed.engines.live.containers.image import image_name\n"
        "print(code('sim'), recipe_hash(), image_name())"
    )
    here = called(str(installed / "bin" / "python"), "-c", ask, cwd=tmp_path)
    clone = called(sys.executable, "-c", ask, cwd=project)
    assert (here.returncode, clone.returncode) == (0, 0), here.stderr + clone.stderr
    assert here.stdout == clone.stdout
