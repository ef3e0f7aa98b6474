"""What `testbed up` runs inside the fabric's namespaces: the fabric, and Mininet's command line on it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from testbed.cli.prompt import Prompt
from testbed.engines.base import EngineUnavailable
from testbed.engines.live.mininet_fabric import MininetFabric
from testbed.engines.live.wires import NETEM_ADVICE
from testbed.topologies.fabric import fabric_from_json

if TYPE_CHECKING:
    from testbed.engines.live.containers.owner import Containers

_COMMAND_FAILED = 1
_USER_ERROR = 2
_INTERRUPTED = 130
_FEW = 128  # hosts; that each knows all others takes the square of it
# There is no choice of engine here: `up` has this host's kernel only.
_ADVICE = (
    "Bring up a bare topology (testbed topo list), run the scenario with `testbed run ... --engine vkernel`, or load "
    "the module: modprobe sch_netem (see testbed doctor)"
)


def main(descriptor: int) -> int:
    """Reads {fabric, called, exec, json, detached, report} from ``descriptor``; brings the fabric up and down again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        job = json.load(file)
    containers = _containers(job)
    try:
        with MininetFabric(fabric_from_json(job["fabric"]), containers) as running:
            if job["detached"] or len(running.fabric.hosts) <= _FEW:
                running.net.wiring.set_arp()  # else they come with the first command at the prompt
            _report(running, containers, job["report"])
            if job["detached"]:
                signal.pause()
            prompt = Prompt(running.net, job["called"])
            if job["exec"]:
                return _commands(prompt, job)
            prompt.talk(sys.stdin)
            return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except EngineUnavailable as error:
        advice = _ADVICE if error.advice == NETEM_ADVICE else error.advice
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


def _containers(job: dict[str, Any]) -> Containers | None:
    """The hosts, where they are containers."""
    if "settings" not in job:
        return None
    from testbed.engines.live.containers.owner import Containers
    from testbed.engines.live.containers.settings import Settings
    from testbed.plan import Container

    settings = Settings(**job["settings"])
    return Containers(settings, Container(**job["container"]))


def _commands(prompt: Prompt, job: dict[str, Any]) -> int:
    results = []
    for command in job["exec"]:
        output, code = prompt.perform(command)
        results.append({"command": command, "output": output, "exit_code": code})
        if not job["json"]:
            print(output, end="" if output.endswith("\n") or not output else "\n", flush=True)
    if job["json"]:
        print(json.dumps(results, indent=2), flush=True)
    return _COMMAND_FAILED if any(result["exit_code"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
