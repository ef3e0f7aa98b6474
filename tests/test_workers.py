"""Several workers: who would disturb each other share one, what takes long begins first, and nothing outlives them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from families import children, stat_of
from needs import ROOT
from workers import HOST_WIDE, MADE_ONCE, WORKER_BYTES, how_many

pytest_plugins = ("pytester",)
TESTS = ROOT / "tests"
STORIES = {
    "test_fabric_net": "def test_compares(): pass\ndef test_compares_too(): pass",
    "test_e2e_kill": "def test_kills(): pass",
    "test_machines_run": "def test_three(): pass\ndef test_two(): pass",
    "test_plain": "\n".join(f"def test_{number}(): pass" for number in range(20)),
    "test_slow": "import pytest\npytestmark = pytest.mark.slow\ndef test_boots(): pass\ndef test_boots_too(): pass",
}


@pytest.fixture
def parallel(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The command line of a run of some files by two workers, under the conftest of these tests."""
    pytester.makeconftest((TESTS / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = slow\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS, ROOT))))

    def command(**files: str) -> list[str]:
        pytester.makepyfile(**files)
        return [sys.executable, "-m", "pytest", "-v", "-n2"]

    return command


def test_tests_that_would_disturb_each_other_share_a_worker_and_what_takes_long_begins_first(
    parallel: Callable[..., list[str]],
) -> None:
    told = subprocess.run(parallel(**STORIES), capture_output=True, text=True, check=True).stdout
    ran = re.findall(r"^\[(gw\d)\] .*PASSED (test_\w+)\.py::(\w+)", told, re.MULTILINE)
    assert len(ran) == 27
    workers = {file: {worker for worker, ran_file, _ in ran if ran_file == file} for file in STORIES}
    assert len(workers["test_fabric_net"] | workers["test_e2e_kill"]) == 1
    assert len(workers["test_machines_run"]) == 1
    for worker in ("gw0", "gw1"):  # each has its own in the order in which they were handed out
        files = [file for ran_by, file, _ in ran if ran_by == worker]
        kinds = [(f"{file}.py" in HOST_WIDE, f"{file}.py" in MADE_ONCE, file == "test_slow") for file in files]
        assert kinds == sorted(kinds, reverse=True)


def test_there_are_such_files_and_none_with_a_container_engine_is_forgotten() -> None:
    files = {path.name: path.read_text() for path in TESTS.rglob("test_*.py") if path.name != Path(__file__).name}
    assert (HOST_WIDE.keys() | MADE_ONCE.keys()) - files.keys() == set()
    host_wide = re.compile(r"\b_engine_socket|\bengine: ContainerEngine|/proc/self/mounts|if_nameindex\(\) ==")
    assert {name for name, text in files.items() if host_wide.search(text)} - HOST_WIDE.keys() == set()


@pytest.mark.parametrize(
    ("processors", "gibibytes", "workers"), [(1, 64, 2), (2, 64, 3), (16, 64, 17), (16, 9, 4), (2, 3, 1), (2, 1, 1)]
)
def test_as_many_as_there_are_processors_and_memory_for(processors: int, gibibytes: int, workers: int) -> None:
    assert how_many(processors, gibibytes << 30) == workers
    assert workers == 1 or workers * WORKER_BYTES <= gibibytes << 30


ENDLESS = """
import os, subprocess, sys, time
import pytest
from pathlib import Path

def started(name):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path(f"{name}-{os.environ['PYTEST_XDIST_WORKER']}").write_text(f"{process.pid}.")
    return process

@pytest.fixture
def daemon():
    process = started("daemon")
    yield process
    process.kill()
    process.wait()

@pytest.mark.parametrize("number", range(2))
def test_endless(daemon, number):
    started("forgotten")
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False], ids=["Ctrl-C", "killed"])
def test_when_tests_are_stopped_nothing_that_they_have_started_is_left(
    parallel: Callable[..., list[str]], pytester: pytest.Pytester, to_all: bool
) -> None:
    """By Ctrl-C, which a terminal tells everybody; or because the process that has the workers is killed. Also where a
    shell has started them in the background, which makes whatever they start deaf to interrupts."""
    background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *parallel(test_endless=ENDLESS)]
    run = subprocess.Popen(background, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        notes = [pytester.path / f"{name}-gw{worker}" for name in ("daemon", "forgotten") for worker in range(2)]
        wait_until(lambda: all(path.exists() and path.read_text().endswith(".") for path in notes))
        started = {pid: stat_of(pid)[19] for pid in (int(path.read_text().rstrip(".")) for path in notes)}
        started |= children(run.pid)
        if to_all:
            os.killpg(run.pid, signal.SIGINT)
            assert run.wait(60) == pytest.ExitCode.INTERRUPTED
    finally:
        run.kill()
        run.wait()
    wait_until(lambda: not [pid for pid, when in started.items() if stat_of(pid)[19:20] == [when]])


def wait_until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
