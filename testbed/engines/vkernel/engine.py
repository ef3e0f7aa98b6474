"""The engine ``vkernel``: the live engine inside a guest of the virtual-time kernel. Exact, and needs no root."""

from __future__ import annotations

import os
import shutil
import site
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import testbed
from testbed import compiled
from testbed.engines.base import SCRATCH, EngineUnavailable, Progress
from testbed.engines.live.containers.image import find_image, image_name
from testbed.engines.live.containers.runtime import RUNTIMES, find_runtime
from testbed.engines.live.containers.settings import Settings
from testbed.engines.live.engine import report_progress
from testbed.engines.live.results import collect, write_pcapng
from testbed.engines.vkernel.boot import CONSOLE, JOB, Guest, GuestFailed, boot, boot_many
from testbed.engines.vkernel.kernel import find_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.history import History
    from testbed.plan import Plan

_REPOSITORY = Path(testbed.__file__).resolve().parent.parent
_POLL_S = 0.1
_LIMIT_S = 3600.0  # of real time for one run; a guest that is still busy then is stuck
_MEMORY_MIB, _MEMORY_PER_HOST_MIB = 1024, 8  # a fat tree of 128 hosts fits; what a guest does not use costs nothing
_GUEST_FOLDER = "/run/containers"  # of bundles and sockets: not in the job's folder, which is the host's
_MEMORY_PER_CONTAINER_MIB = 32  # a Python and a runtime of its own


class VKernelEngine:
    """Runs plans on a real Linux kernel in virtual time: real Mininet, real netem, real sockets.

    limit_s: seconds of real time after which a guest is killed. memory_mib: each guest's memory; None = by the number
    of hosts.
    """

    name = "vkernel"

    def __init__(self, limit_s: float = _LIMIT_S, memory_mib: int | None = None) -> None:
        self.limit_s, self.memory_mib = limit_s, memory_mib

    def check(self, plan: Plan) -> None:
        """Raises EngineUnavailable when no kernel has been built."""
        if find_kernel() is None:
            raise EngineUnavailable(
                "engine vkernel", "the virtual-time kernel has not been built", "Build it once: testbed kernel build"
            )
        if plan.container is not None:
            _containers_in_guest()

    def run(self, plan: Plan, directory: Path | None = None, progress: Progress | None = None) -> History:
        """Runs to the end. ``directory`` gets ``vkernel/``: raw results, console, what was captured."""
        self.check(plan)
        with _job_in(directory) as job:
            guest = self._guest(plan, job)
            with _progress_of(job, progress):
                boot(guest)
            return _harvest(plan, job, directory)

    def run_many(
        self,
        plans: Sequence[Plan],
        jobs: int | None = None,
        finished: Callable[[int], None] | None = None,
    ) -> list[History]:
        """Runs several plans, ``jobs`` guests at a time (one per core by default); histories in order of the plans.

        ``finished`` is called with a plan's place as its guest ends. Raises GuestFailed for the first that failed.
        """
        for plan in plans:
            self.check(plan)
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}vkernel-") as scratch:
            folders = [Path(scratch) / str(place) for place in range(len(plans))]
            guests = [self._guest(plan, folder) for plan, folder in zip(plans, folders, strict=True)]
            outcomes = boot_many(guests, jobs, lambda place, _: finished(place) if finished else None)
            for outcome in outcomes:
                if isinstance(outcome, GuestFailed):
                    raise outcome
            return [_harvest(plan, folder, None) for plan, folder in zip(plans, folders, strict=True)]

    def _guest(self, plan: Plan, job: Path) -> Guest:
        if job.exists():
            shutil.rmtree(job)  # of an earlier, interrupted run of the same plan
        job.mkdir(parents=True)
        (job / "plan.json").write_text(plan.to_json(), encoding="utf-8")
        memory_mib, needed = 0, []
        if plan.container is not None:
            settings = _containers_in_guest()
            settings.write(job)
            needed = [Path(settings.image), Path(settings.program).parent]
            memory_mib = _MEMORY_PER_CONTAINER_MIB * len(plan.nodes)
        guest = python_guest("testbed.engines.vkernel.inside", job, len(plan.fabric.hosts), needed, self.limit_s)
        return replace(guest, memory_mib=self.memory_mib or guest.memory_mib + memory_mib)


def python_guest(module: str, job: Path, hosts: int, visible: Sequence[Path] = (), limit_s: float = _LIMIT_S) -> Guest:
    """A guest in which a module of ours runs, with the path of its job folder as its argument: for so many hosts."""
    packages = _where_packages_are()
    build = compiled.folder()
    built = build.is_dir() and os.environ.get("OAE_COMPILED") != "0"
    return Guest(
        argv=(sys.executable, "-m", module, str(JOB)),
        job_dir=job,
        cwd=_REPOSITORY,
        env=(
            ("PYTHONPATH", os.pathsep.join(packages)),
            ("OAE_CACHE", str(build.parents[2])),
            ("OAE_COMPILED", "1" if built else "0"),
        ),
        visible=(*visible, *(Path(folder) for folder in (*packages, str(build)) if os.path.isdir(folder))),
        memory_mib=_MEMORY_MIB + _MEMORY_PER_HOST_MIB * hosts,
        limit_s=limit_s,
    )


def _containers_in_guest() -> Settings:
    """How containers are run in a guest. Raises EngineUnavailable when the host lacks what that takes."""
    runtime, image = find_runtime(), find_image()
    if not runtime:
        why = f"no OCI runtime is installed ({' or '.join(RUNTIMES)})"
        raise EngineUnavailable("nodes in containers", why, "apt-get install crun")
    if image is None:
        why = f"the image {image_name()} has not been made (it is named for this version of nodes/)"
        raise EngineUnavailable("nodes in containers", why, "Make it: testbed image build")
    return Settings(runtime, str(image.rootfs), folder=_GUEST_FOLDER)


def _where_packages_are() -> list[str]:
    """Where the guest's Python has to look beyond its own folders: its HOME is another, its environment empty."""
    named = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    of_user = site.getusersitepackages()
    folders = [str(_REPOSITORY), *named, *([of_user] if of_user in sys.path else [])]
    return list(dict.fromkeys(os.path.abspath(folder) for folder in folders))


@contextmanager
def _job_in(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield directory / "vkernel"
        return
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}vkernel-") as scratch:
        yield Path(scratch) / "job"


@contextmanager
def _progress_of(job: Path, progress: Progress | None) -> Iterator[None]:
    """Hands on what the guest writes about how far it is, while the caller waits for it."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            report_progress(job, progress)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _harvest(plan: Plan, job: Path, directory: Path | None) -> History:
    history = collect(job, plan, "vkernel")
    if directory is not None and plan.capture:
        write_pcapng(job, plan, history, history.meta["zero_ns"])
    history.meta["console"] = (job / CONSOLE).name
    return history
