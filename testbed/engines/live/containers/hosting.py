"""A run's containers, seen from the process that starts the run: what must be there, and what must not be left.

A run that is killed leaves its containers to the engine: their agents end by themselves, for nobody is at the other
end of their sockets, and what remains is removed by ``testbed clean``. For that each run is in a ledger while it goes
on: an engine may still be busy with a container that the dead had asked for.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.engines.base import EngineUnavailable
from testbed.engines.live.containers.engine import WHAT, ContainerEngine, Found
from testbed.engines.live.containers.image import image_name
from testbed.engines.live.containers.settings import Settings
from testbed.processes import mark_is_dead, own_mark, state_folder

_SETTLED_S = 1.0
"""An engine from which nothing has come for so long is no longer busy for somebody who is dead."""
_POLL_S = 0.1
_LEDGER = "containers-"


def check_engine() -> ContainerEngine:
    """The engine, when this user can run nodes in containers here. Raises EngineUnavailable."""
    if os.geteuid() != 0:
        raise EngineUnavailable(
            WHAT,
            "NICs are moved into containers, which takes root",
            "Run as root (`testbed run` can do without: `--engine vkernel`)",
        )
    engine = ContainerEngine.find()
    if not engine.has_image(image_name()):
        raise EngineUnavailable(
            WHAT,
            f"the engine at {engine.address} has no image {image_name()} (it is named for this version of nodes/)",
            "Make it: testbed image build",
        )
    return engine


@dataclass(frozen=True, slots=True)
class Entry:
    """A run in the ledger: its process, and the engine that it uses."""

    run: str
    owner: str
    address: str


@contextmanager
def hosted(job: Path) -> Iterator[Settings]:
    """Settings for a run's containers, in the job's folder as well; nothing of them is left afterwards.

    ``settings.host_proc`` is to be passed on to the supervisor.
    """
    engine = check_engine()
    run = os.urandom(4).hex()
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    settings = Settings(engine.address, image_name(), run, own_mark(), proc, str(job.resolve() / "containers"))
    line = state_folder() / f"{_LEDGER}{run}.json"
    line.write_text(json.dumps(asdict(Entry(run, settings.owner, engine.address))), encoding="utf-8")
    settings.write(job)
    try:
        yield settings
    finally:
        os.close(settings.host_proc)
        sweep(engine, run, settle=False)
        line.unlink(missing_ok=True)


def sweep(engine: ContainerEngine, run: str, settle: bool = True) -> None:
    """Removes all containers of a run. settle: goes on until none has come for a while."""
    quiet_since = time.monotonic()
    while True:
        found = [container for container in engine.containers() if container.run == run]
        for container in found:
            engine.remove(container.id)
        if found:
            quiet_since = time.monotonic()
        elif not settle or time.monotonic() - quiet_since > _SETTLED_S:
            return
        else:
            time.sleep(_POLL_S)


def close_entry(path: Path) -> None:
    """Removes what is left of a dead run, and its entry in the ledger."""
    for stale, entry in stale_entries():
        if stale == path:
            with suppress(EngineUnavailable):  # whatever is left is found by its labels when the engine is back
                sweep(ContainerEngine(entry.address), entry.run)
            path.unlink(missing_ok=True)


def left_behind(engine: ContainerEngine) -> list[Found]:
    """Containers of runs whose process is gone."""
    return [container for container in engine.containers() if mark_is_dead(container.owner)]


def stale_entries() -> list[tuple[Path, Entry]]:
    """Runs in the ledger whose process is gone."""
    found = []
    for path in sorted(state_folder().glob(f"{_LEDGER}*.json")):
        try:
            entry = Entry(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # being written, or not ours
        if mark_is_dead(entry.owner):
            found.append((path, entry))
    return found
