"""State files of running fabrics, so that `testbed down` finds those of this user and ends nothing else.

One file per `testbed up` process: its id and its start time from /proc, which together name a process for good.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.processes import start_time, state_folder

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Running:
    """A `testbed up` that runs. started: its start time in clock ticks since boot."""

    pid: int
    started: int
    fabric: str


@contextmanager
def announced(fabric: str) -> Iterator[None]:
    """While inside, `testbed down` can find this process."""
    me = os.getpid()
    path = state_folder() / f"fabric-{me}.json"
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(asdict(Running(me, start_time(me) or 0, fabric))), encoding="utf-8")
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running(tidy: bool = True) -> list[Running]:
    """This user's fabrics that are up; files of those that ended otherwise are removed."""
    found = []
    for path in sorted(state_folder().glob("fabric-*.json")):
        entry = _read(path)
        if entry is not None and start_time(entry.pid) == entry.started:
            found.append(entry)
        elif tidy:
            path.unlink(missing_ok=True)
    return found


def stale() -> list[Path]:
    """State files whose process is gone."""
    alive = {f"fabric-{entry.pid}.json" for entry in running(tidy=False)}
    return [path for path in sorted(state_folder().glob("fabric-*")) if path.name not in alive]


def _read(path: Path) -> Running | None:
    try:
        return Running(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def end(entry: Running) -> None:
    """Ask the process to end, insist after a while. The start time is looked at again right before each signal."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            handle = os.pidfd_open(entry.pid)
        except ProcessLookupError:
            return
        try:
            if start_time(entry.pid) != entry.started:
                return
            signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if start_time(entry.pid) != entry.started:
                return
            time.sleep(0.02)
