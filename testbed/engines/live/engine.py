"""The engine ``live``: a plan on this host's own kernel, in wall-clock time."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.engines.base import SCRATCH, EngineUnavailable, Progress
from testbed.engines.live.isolation import check_isolation, isolated_popen
from testbed.engines.live.machines.several import Address, divide, run_over
from testbed.engines.live.results import collect, write_pcapng
from testbed.history import History
from testbed.plan import Plan
from testbed.topologies.impairment import named

__all__ = ["LiveEngine", "asked_of_netem", "collect"]

_POLL_S = 0.05
_SPARE_S = 300.0  # for bringing up and down, beyond the run's own duration


class LiveEngine:
    """Runs plans with Mininet in namespaces of their own. As root or, where user namespaces are allowed, as anybody.

    machines: those that the fabric is divided over; none: this one has all of it.
    """

    name = "live"

    def __init__(self, machines: Sequence[Address] = ()) -> None:
        self._machines = tuple(machines)

    def check(self, plan: Plan) -> None:
        """Raises EngineUnavailable when this host lacks namespaces, or netem and the plan asks for impairments;
        UserError when the fabric can't be divided over the machines.

        What other machines lack is said when they are asked to start.
        """
        if self._machines:
            divide(plan, self._machines)
            return
        check_isolation()
        if asked := asked_of_netem(plan):
            from testbed.engines.live.wires import netem_available

            netem_available(asked)
        if plan.container is not None:
            from testbed.engines.live.containers.hosting import check_engine

            check_engine()

    def run(self, plan: Plan, directory: Path | None = None, progress: Progress | None = None) -> History:
        """Runs to the end. Interrupted or killed, it leaves no process and no interface behind.

        ``directory`` gets ``live/`` with the raw results, the supervisor's output, and what was captured.
        """
        self.check(plan)
        if directory is not None:
            return self._run(plan, directory, progress)
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}live-") as scratch:
            return self._run(plan, Path(scratch), progress)

    def _run(self, plan: Plan, directory: Path, progress: Progress | None) -> History:
        job = directory / "live"
        job.mkdir(parents=True, exist_ok=True)
        for stale in job.iterdir():
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        (job / "plan.json").write_text(plan.to_json(), encoding="utf-8")
        if self._machines:
            run_over(self._machines, plan, job, asked_of_netem(plan), progress)
        else:
            self._run_here(plan, job, progress)
        history = collect(job, plan, self.name)
        history.meta["host"] = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "kernel": platform.release()}
        if plan.capture:
            write_pcapng(job, plan, history)
        return history

    def _run_here(self, plan: Plan, job: Path, progress: Progress | None) -> None:
        argv = [sys.executable, "-m", "testbed.engines.live.supervisor", str(job.resolve()), "live"]
        with _containers(plan, job) as fds, (job / "output.txt").open("wb") as output:
            process = isolated_popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=fds)
            try:
                _wait(process, job, plan, progress)
            finally:
                process.kill()
                process.wait()


@contextmanager
def _containers(plan: Plan, job: Path) -> Iterator[tuple[int, ...]]:
    """Where nodes are containers: tells the supervisor how to make them, and removes what it leaves. Yields descriptors
    that it needs."""
    if plan.container is None:
        yield ()
        return
    from testbed.engines.live.containers.hosting import hosted

    with hosted(job) as settings:
        yield (settings.host_proc,)


def asked_of_netem(plan: Plan) -> str:
    """What some direction is impaired by, from the start or by a fault, in words; empty: none is."""
    links = (impairment for link in plan.fabric.links for impairment in (link.ab, link.ba))
    faults = (fault.impairment for fault in plan.faults if fault.verb == "impair" and fault.impairment is not None)
    return named((*links, *faults))


def _wait(process: subprocess.Popen[bytes], job: Path, plan: Plan, progress: Progress | None) -> None:
    deadline = time.monotonic() + plan.duration_ns / 1e9 + _SPARE_S
    while True:
        try:
            process.wait(_POLL_S)
            return
        except subprocess.TimeoutExpired:
            report_progress(job, progress)
        if time.monotonic() > deadline:
            raise EngineUnavailable(
                "engine live",
                f"the run was not over {_SPARE_S:g} s after it should have been",
                f"See {job / 'output.txt'}; on an overloaded host use `--engine vkernel`",
            )


def report_progress(job: Path, progress: Progress | None) -> None:
    """Hands on what the supervisor last wrote about how far it is."""
    if progress is None:
        return
    try:
        fraction, _, phrase = (job / "progress").read_text(encoding="utf-8").strip().partition(" ")
        progress(phrase, float(fraction))
    except (OSError, ValueError):
        return  # nothing written yet, or being written now
