"""Tests in several processes at once (`make test`, by pytest-xdist): how many there are, which tests share one, in
which order they begin, and what becomes of what they have started.

Any test may run beside any other, and in any order, but for those of some files, named here with the reason.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from families import children

from testbed.memory import available_bytes

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

HOST_WIDE: Mapping[str, str] = {
    "test_fabric_net.py": "the host's interfaces, mounts and settings are held against what they were",
    "test_e2e_kill.py": "the host's interfaces are held against what they were",
    "test_container_cleaning.py": "somebody's named namespace is mounted on the host; a container engine",
    "test_container_live.py": "a container engine, and what it holds is told as a whole",
    "test_container_walls.py": "a container engine, and what it holds is told as a whole",
    "test_container_words.py": "a container engine, and what it holds is told as a whole",
}
"""Files whose tests would disturb each other: they change what is the whole host's, or find out whether somebody has.
All of them are run by one worker; what they clean and list of their container engine is theirs alone."""

MADE_ONCE: Mapping[str, str] = {
    "test_captures_files.py": "runs with captures",
    "test_captures_running.py": "two fabrics that are up",
    "test_cli_attach.py": "a fabric in the background",
    "test_cli_missing.py": "what every verb says on a full disk and on a read-only one",
    "test_cli_verbs.py": "a study that is done",
    "test_determinism.py": "a guest that others are held against",
    "test_machines_run.py": "a fabric with an sshd in each host",
    "test_oae_table.py": "all reactions of the link",
    "test_report_pages.py": "a study for the pages",
    "test_scenario_golden.py": "the shipped scenarios on sim",
    "test_sim_compiled.py": "the shipped scenarios on sim",
    "test_study_cluster.py": "a scheduler, and a study done without it",
    "test_wheel.py": "the wheel, and an environment with it",
}
"""Files with something that takes long to make and is made for all their tests: those with the same are run by one
worker."""

WORKER_BYTES = 2 << 30
"""What a worker may need: a guest of a GiB, the history it leaves, and what that is held against."""

WORKERS_END_S = 60
"""How long workers are waited for that are told to end: their fixtures end fabrics and engines, on a busy host, too."""


def how_many(processors: int, free_bytes: int | None = None) -> int:
    """A worker for each processor and one more (tests wait as well), as far as memory goes round."""
    free = available_bytes() if free_bytes is None else free_bytes
    return max(1, min(processors + 1, free // WORKER_BYTES))


def group(nodeid: str) -> str:
    """The name that a test has in common with those that the same worker runs, one after the other."""
    file = PurePosixPath(nodeid.partition("::")[0]).name
    if file in HOST_WIDE:
        return "the whole host"
    return MADE_ONCE.get(file, nodeid)


def order(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that all workers end together: the largest group, the other ones, slow tests."""

    def place(item: pytest.Item) -> tuple[bool, bool, bool]:
        name = item.path.name
        return name not in HOST_WIDE, name not in MADE_ONCE, item.get_closest_marker("slow") is None

    items.sort(key=place)


def scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Hands group after group, in the order of its first test, to whichever worker comes to an end."""
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import NodeManager

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    config.option.loadscopereorder = False
    NodeManager.EXIT_TIMEOUT = WORKERS_END_S
    return Scheduler(config, log)


def end_children() -> None:
    """Ends what an interrupted test has started and left. What those have started ends with them."""
    for pid in children(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
