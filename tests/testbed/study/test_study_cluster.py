"""A study on a Dask cluster: the same results as here, whatever befalls its workers, and none of another testbed's.

The cluster is one of processes on the loopback, started as a user starts one: ``dask scheduler``, ``dask worker``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from needs import lacking

from testbed.study import cluster
from testbed.study.cluster import ClusterError, ClusterWorkers
from testbed.study.document import Study, load_study
from testbed.study.measure import Task, do_task
from testbed.study.runner import run_study
from testbed.study.trials import read_trials
from testbed.study.workers import WorkerDiedError

if importlib.util.find_spec("distributed") is None:
    lacking("dask", "it is not installed")

ROOT = Path(__file__).resolve().parents[3]
SWEEP = {
    "name": "small",
    "scenario": {
        "name": "small",
        "topology": {"kind": "pair"},
        "links": {"default": {"delay": "50us", "jitter": "5us"}},
        "protocol": {"consensus": "none", "depth": 2, "window": "110us"},
        "faults": [{"at": "1ms", "do": "nic_mute", "on": "host1", "for": "1ms"}],  # no closed form is reckoned then
    },
    "sweep": {"parameter": "links.default.jitter", "from": "4us", "to": "20us", "steps": 5},
    "sim": {"batch": 100, "rounds": 600},
    "seed": 1,
}
TRIALS = 30
START_S = 60


def study(folder: Path, **changed: Any) -> Study:
    path = folder / "written.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, **changed}, sort_keys=False), encoding="utf-8")
    return load_study(path)


def timeless(directory: Path) -> Any:
    """What the results are, without how long they took."""
    results = json.loads((directory / "results.json").read_text())
    for variant in results["variants"]:
        for row in variant["sim"]:
            row.pop("seconds")
    return results


@contextmanager
def dask(*words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Dask's, deaf to the test's terminal, which ends with the test."""
    command = [sys.executable, "-m", "dask", *words]
    process = subprocess.Popen(
        command,
        cwd="/",
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def scheduler(folder: Path, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """HOST:PORT of a scheduler, and its process."""
    told = folder / "scheduler.json"
    places = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
    with dask("scheduler", *places, "--scheduler-file", str(told), **environment) as process:
        wait_for(lambda: told.exists() and told.read_text().endswith("}"))
        yield json.loads(told.read_text())["address"].removeprefix("tcp://"), process


@contextmanager
def worker(address: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that nobody starts anew, with more threads than it has any use for."""
    places = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    with dask("worker", *places, "--no-nanny", "--nthreads", "2", address, **environment) as process:
        yield process


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scheduler(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study as this process does it by itself."""
    folder = tmp_path_factory.mktemp("alone")
    run_study(study(folder), folder / "out", jobs=0)
    return folder


def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path: Path, address: str, alone: Path) -> None:
    with worker(address) as victim, worker(address):

        def strike(_: str, done: int, __: int) -> None:
            if done == 3:
                victim.kill()

        run_study(load_study(alone / "written.yaml"), tmp_path / "out", report=strike, cluster=f"dask://{address}")
        assert victim.wait() == -signal.SIGKILL
    assert timeless(tmp_path / "out") == timeless(alone / "out")
    assert len(read_trials(tmp_path / "out")) == TRIALS


def test_ctrl_c_keeps_what_is_done_and_the_rest_can_be_done_anywhere(tmp_path: Path, address: str, alone: Path) -> None:
    path, out = alone / "written.yaml", tmp_path / "cut"
    words = ["study", str(path), "--out", str(out), "--workers", f"dask://{address}"]
    with worker(address):
        command = [sys.executable, "-m", "testbed.cli.main", *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        trials = out / "trials.jsonl"
        wait_for(lambda: process.poll() is not None or (trials.exists() and trials.read_bytes().count(b"\n") >= 2))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, error = process.communicate(timeout=START_S)
    assert process.returncode == 130
    last = error.decode().splitlines()[-1]
    kept = f"what is measured is kept in {out}, and this goes on from there"
    assert last == f"testbed: interrupted; {kept}: testbed {' '.join(words)}"
    assert b"Traceback" not in error
    kept = {trial.key: trial for trial in read_trials(out)}
    assert 2 <= len(kept) < TRIALS
    run_study(load_study(path), out, jobs=0)
    assert timeless(out) == timeless(alone / "out")
    assert kept.items() <= {trial.key: trial for trial in read_trials(out)}.items()


def test_workers_of_another_testbed_are_refused(tmp_path: Path, address: str) -> None:
    """One byte more in a file that trials depend on; and one file less, as in a testbed of the time before it."""
    other, older = tmp_path / "other", tmp_path / "older"
    shutil.copytree(ROOT / "testbed", other / "testbed", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(other, older)
    with (other / "testbed" / "nodes" / "oae" / "link.py").open("a") as file:
        file.write("#\n")
    (older / "testbed" / "study" / "cluster.py").unlink()
    for place, told in (
        (other, r"worker at tcp://127\S+ has another testbed: the code differs"),
        (older, "can't load"),
    ):
        with worker(address, PYTHONPATH=str(place)), pytest.raises(ClusterError, match=told) as refused:
            run_study(study(tmp_path), tmp_path / place.name / "out", cluster=f"dask://{address}")
        assert "\n" not in str(refused.value)
        assert read_trials(tmp_path / place.name / "out") == []


def test_files_that_differ_over_there_are_refused(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that a scenario names are read where the work is done; here they change on the way there."""
    monkeypatch.chdir(tmp_path)  # the worker's directory is another
    wires = Path("wires.adj")
    wires.write_text("host1 s1\nhost2 s1\n")
    scenario = {**SWEEP["scenario"], "topology": {"kind": "from_file", "file": "wires.adj"}}
    named = study(Path(), scenario=scenario)

    def recabled(*_: Any) -> None:
        wires.write_text("host1 s1\ns1 s2\nhost2 s2\n")

    def lost(*_: Any) -> None:
        wires.unlink()

    with worker(address):
        for meanwhile, told in (
            (recabled, r"at tcp://\S+ makes another plan of small: the files"),
            (lost, r"at tcp://\S+ can't read what the study is made of: .*wires\.adj"),
        ):
            with pytest.raises(ClusterError, match=told):
                run_study(named, tmp_path / "out", report=meanwhile, cluster=f"dask://{address}")


def test_a_cluster_without_workers_is_not_waited_for(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE_S", 1.0)
    told = rf"has had no worker for 1 s; start some \(dask worker --nthreads 1 {address}\)"
    with pytest.raises(ClusterError, match=told):
        run_study(study(tmp_path), tmp_path / "out", cluster=f"dask://{address}")


def test_a_trial_that_ends_workers_and_a_scheduler_that_goes_away_are_said(
    tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that takes too much memory ends its worker: Dask gives it to some more (here: none), then gives up."""
    (tmp_path / "fatal.py").write_text("import os\n\ndef end_the_worker(task):\n    os._exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    end_the_worker = importlib.import_module("fatal").end_the_worker
    task = Task("key", "as given", 1.0, load_study(alone / "written.yaml").scenario, (1,))
    with (
        scheduler(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as (address, process),
        worker(address, PYTHONPATH=str(tmp_path)),
        ClusterWorkers(end_the_worker, f"dask://{address}") as pool,
    ):
        with pytest.raises(WorkerDiedError, match=r"ended every worker that got it \(1\), the last at tcp://127\S+;"):
            list(pool.map([task]))
        threading.Timer(1.0, process.kill).start()
        with pytest.raises(ClusterError, match="the scheduler went away; what is finished is kept"):
            list(pool.map([task]))


@pytest.mark.parametrize(
    "wrong", ["http://127.0.0.1:80", "dask://", "dask://:1", "dask://host:port", "4", "dask://h/x"]
)
def test_an_address_that_is_none_is_said(wrong: str) -> None:
    with pytest.raises(ClusterError, match=r"write it as dask://HOST:PORT"):
        ClusterWorkers(do_task, wrong)


def test_a_scheduler_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 1)
    with pytest.raises(ClusterError, match=r"dask://127\.0\.0\.1:9: no Dask scheduler answers there within 1 s"):
        ClusterWorkers(do_task, "dask://127.0.0.1:9")


def test_without_dask_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"Dask is not installed .*; pip install 'oae-testbed\[dask\]'"):
        ClusterWorkers(do_task, "dask://127.0.0.1:8786")
