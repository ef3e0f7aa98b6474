"""What `testbed up` runs inside the fabric's namespaces: the fabric, and Mininet's command line on it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from testbed.cli import attached
from testbed.cli.prompt import Prompt, carry_out
from testbed.engines.base import EngineUnavailable
from testbed.engines.live.hosts_file import name_hosts, names
from testbed.engines.live.mininet_fabric import MininetFabric
from testbed.engines.live.wires import NETEM_ADVICE
from testbed.topologies.fabric import fabric_from_json

if TYPE_CHECKING:
    from testbed.engines.live.containers.owner import Containers

_USER_ERROR = 2
_INTERRUPTED = 130
_FEW = 128  # hosts; that each knows all others takes the square of it
_ADVICE = (
    "Run commands in virtual time (testbed up ... -e vkernel -x '{0} ping -c 3 {1}'), bring up a bare topology, or "
    "load the module: modprobe sch_netem (see testbed doctor)"
)


def main(descriptor: int) -> int:
    """Reads {fabric, called, exec, json, detached, door, report} from ``descriptor``; brings the fabric up, works."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        job = json.load(file)
    fabric = fabric_from_json(job["fabric"])
    containers = _containers(job, names(fabric))
    try:
        name_hosts(names(fabric))
        with MininetFabric(fabric, containers) as running:
            if job["detached"] or len(running.fabric.hosts) <= _FEW:
                running.net.wiring.set_arp()  # else they come with the first command at the prompt
            _report(running, containers, job["report"])
            if job["detached"]:
                attached.serve(running.net, job["called"], job["door"])
            prompt = Prompt(running.net, job["called"])
            if job["exec"]:
                return carry_out(prompt, job["exec"], job["json"])
            prompt.talk(sys.stdin)
            return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except EngineUnavailable as error:
        hosts = job["fabric"]["hosts"] or ["HOST"]
        advice = _ADVICE.format(hosts[0], hosts[-1]) if error.advice == NETEM_ADVICE else error.advice
        print(f"testbed: error: {error.what}: {error.why}. {advice}", file=sys.stderr)
        return _USER_ERROR


def _report(running: MininetFabric, containers: Containers | None, descriptor: int) -> None:
    """Tells that the fabric is up, and where its hosts are (see testbed.cli.fabrics)."""
    report = {
        "hosts": {host: running.netns(host) for host in running.fabric.hosts},
        "switches": running.fabric.switches,
        "commands": {host: containers.command_in(host) for host in running.fabric.hosts} if containers else {},
    }
    with socket.socket(fileno=descriptor) as outside, suppress(BrokenPipeError):
        outside.sendall(json.dumps(report).encode())


def _containers(job: dict[str, Any], known: Mapping[str, str]) -> Containers | None:
    """The hosts, where they are containers. known: what they know each other by, and its address."""
    if "settings" not in job:
        return None
    from testbed.engines.live.containers.owner import Containers
    from testbed.engines.live.containers.settings import Settings
    from testbed.plan import Container

    settings = Settings(**job["settings"])
    return Containers(settings, Container(**job["container"]), names=known)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
