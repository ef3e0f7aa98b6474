"""`testbed up -e vkernel -x ...`: commands on a fabric inside a guest, in virtual time.

In the guest: python -m testbed.cli.virtual <job folder>
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.topologies.fabric import Fabric

_SETTLED_S = 1  # of virtual time, which cost nothing: ping takes a clock that is below one second for none at all
_TOLD, _FOUND = "told.json", "found.json"


def in_virtual_time(fabric: Fabric, commands: list[str]) -> list[dict[str, Any]]:
    """Each command with its output and its exit code. Raises UserError when there is no guest to be had, or when it
    ends before the commands do."""
    from testbed.engines.base import SCRATCH, EngineUnavailable
    from testbed.engines.vkernel.boot import CONSOLE, GuestFailed, boot, console_tail
    from testbed.engines.vkernel.engine import python_guest
    from testbed.engines.vkernel.kernel import find_kernel

    if find_kernel() is None:
        why = "the virtual-time kernel has not been built"
        raise EngineUnavailable("engine vkernel", why, "Build it once with: testbed kernel build")
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}up-") as scratch:
        job = Path(scratch) / "job"
        job.mkdir()
        (job / _TOLD).write_text(json.dumps({"fabric": asdict(fabric), "exec": commands}), encoding="utf-8")
        boot(python_guest("testbed.cli.virtual", job, len(fabric.hosts)))
        found = job / _FOUND
        if not found.exists():
            why = "its job ended before the commands did"
            raise GuestFailed("guest", why, "Its last messages follow", console_tail(job / CONSOLE))
        results: list[dict[str, Any]] = json.loads(found.read_text(encoding="utf-8"))
        return results


def _main(job: Path) -> None:
    """What runs in the guest."""
    from testbed.cli.prompt import Prompt
    from testbed.engines.live.hosts_file import name_hosts, names
    from testbed.engines.live.mininet_fabric import MininetFabric
    from testbed.topologies.fabric import fabric_from_json

    told = json.loads((job / _TOLD).read_text(encoding="utf-8"))
    fabric = fabric_from_json(told["fabric"])
    name_hosts(names(fabric))
    with MininetFabric(fabric) as running:
        running.net.wiring.set_arp()
        time.sleep(_SETTLED_S)
        results = Prompt(running.net, "").performed(told["exec"])
    (job / _FOUND).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
