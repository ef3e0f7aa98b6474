"""A container of an OCI runtime (crun, runc) as what runs a node's lives, in the guest of the virtual-time kernel.

No engine runs there: the runtime alone starts a container from the image's root file system, in the network namespace
of the node's holder. All else is as the engine does it on a host: a pid, mount, UTS, IPC and cgroup namespace, control
groups with limits, one capability, a read-only root, and the agent that is told through a socket what to run.

Computing costs no virtual time, and neither do a runtime and the start of a Python.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from testbed.engines.base import EngineUnavailable
from testbed.engines.live.containers.boarding import Boarding, tell
from testbed.engines.live.containers.image import ENTRYPOINT, ENVIRONMENT, SOCKET_FOLDER
from testbed.engines.live.containers.rights import (
    CAPABILITIES,
    MASKED,
    MOST_PROCESSES,
    NEW_NAMESPACES,
    READ_ONLY,
    WITHHELD,
)
from testbed.engines.live.containers.settings import Settings
from testbed.engines.live.holder import Holder
from testbed.engines.live.netlink.requests import Home
from testbed.engines.live.netlink.rtnl import Rtnl
from testbed.engines.live.owner import Exit, OwnerError
from testbed.nodes.agent.channel import Channel
from testbed.plan import Container as Limits

RUNTIMES = ("crun", "runc")
"""In order of preference: the smaller first. What they take differs little beside the start of a Python."""

_BOARDING_S = 100.0
_PERIOD_US = 100_000
_FREEZER = Path("/sys/fs/cgroup/freezer")


def find_runtime() -> str:
    """The path of the first that this host has; empty when it has none."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return next((found for name in RUNTIMES if (found := shutil.which(name, path=folders))), "")


class Runtime:
    """An OCI runtime and what it is to run."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self.settings, self.limits, self.folder = settings, limits, Path(settings.folder)

    def owner(self, name: str) -> RuntimeOwner:
        """Makes a node's namespace; its containers come with ``spawn``."""
        return RuntimeOwner(Holder(name), self)

    def bundle(self, node: str, number: int, socket_folder: Path) -> Path:
        """The folder that describes the container of a life."""
        folder = self.folder / f"{node}-{number}"
        folder.mkdir(parents=True)
        described = self._describe(node, number, socket_folder)
        (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
        return folder

    def _describe(self, node: str, number: int, socket_folder: Path) -> dict[str, Any]:
        """As the OCI's runtime specification has it."""
        rights = [f"CAP_{name}" for name in CAPABILITIES]
        hidden = ["nosuid", "noexec", "nodev"]
        return {
            "ociVersion": "1.0.2",
            "hostname": node,
            "root": {"path": self.settings.image, "readonly": True},
            "process": {
                "terminal": False,
                "user": {"uid": 0, "gid": 0},
                "args": list(ENTRYPOINT),
                "env": [f"{name}={value}" for name, value in {**ENVIRONMENT, "OAE_NODE": node}.items()],
                "cwd": "/",
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), rights),
                "noNewPrivileges": True,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": hidden},
                {
                    "destination": "/dev",
                    "type": "tmpfs",
                    "source": "tmpfs",
                    "options": ["nosuid", "mode=755", "size=64k"],
                },
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*hidden, "ro"]},
                {
                    "destination": SOCKET_FOLDER,
                    "type": "bind",
                    "source": str(socket_folder),
                    "options": ["bind", "ro", *hidden],
                },
            ],
            "linux": {
                "cgroupsPath": _group(node, number),
                "namespaces": [
                    {"type": kind} for kind in ("pid", "mount", "uts", "ipc", "cgroup")
                ],  # network: inherited
                "resources": self._resources(),
                "seccomp": _seccomp(),
                "maskedPaths": list(MASKED),
                "readonlyPaths": list(READ_ONLY),
            },
        }

    def _resources(self) -> dict[str, Any]:
        found: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": MOST_PROCESSES}}
        if self.limits.cpus:
            found["cpu"] = {"quota": round(self.limits.cpus * _PERIOD_US), "period": _PERIOD_US}
        if self.limits.memory_bytes:
            found["memory"] = {"limit": self.limits.memory_bytes}
        return found


def _seccomp() -> dict[str, Any]:
    spaces = [flag for flag in (1 << bit for bit in range(32)) if flag & NEW_NAMESPACES]
    refused = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": list(WITHHELD), **refused},
            *({"names": ["clone"], **refused, "args": [_has(flag)]} for flag in spaces),
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        ],
    }


def _has(flag: int) -> dict[str, Any]:
    return {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": flag, "valueTwo": flag}


def _group(node: str, number: int) -> str:
    return f"/oae/{node}-{number}"


class RuntimeOwner:
    """The namespaces of one node, and its lives. An Owner: the network namespace is its holder's."""

    def __init__(self, holder: Holder, runtime: Runtime) -> None:
        self.name = holder.name
        self._holder, self._runtime = holder, runtime
        self._boarding = Boarding(runtime.folder / holder.name)
        self._number = 0
        self._agents: dict[int, Channel] = {}  # the container's first process -> the socket to it
        self._runners: dict[int, int] = {}  # the runtime's process, which ends with the container -> that process
        self._groups: dict[int, str] = {}

    @property
    def home(self) -> Home:
        """As Owner's."""
        return self._holder.home

    @property
    def netns(self) -> str:
        """As Owner's."""
        return self._holder.netns

    @property
    def rtnl(self) -> Rtnl:
        """As Owner's."""
        return self._holder.rtnl

    def spawn(self, target: str, payload: Any, fds: Sequence[int] = ()) -> int:
        """As Owner's; returns when the agent is in its container and has been told what to run."""
        self._number += 1
        bundle = self._runtime.bundle(self.name, self._number, self._boarding.folder)
        runner = self._holder.spawn(f"{__name__}:become", {"argv": self._command(bundle)})
        channel = self._boarding.meet(_BOARDING_S, self._holder.fileno())
        if channel is None:
            raise EngineUnavailable(
                f"the container of {self.name}",
                f"{self._runtime.settings.program} did not start it",
                "See what it said in console.log; `testbed image build` makes the image anew",
            )
        pid = channel.peer()
        self._agents[pid], self._runners[runner] = channel, pid
        self._groups[pid] = _group(self.name, self._number)
        tell(channel, target, payload, fds)
        return pid

    def _command(self, bundle: Path) -> list[str]:
        program = self._runtime.settings.program
        plain = ["--cgroup-manager", "cgroupfs"] if Path(program).name == "crun" else []
        return [program, *plain, "run", "--bundle", str(bundle), bundle.name]

    def signal(self, pid: int, number: signal.Signals) -> None:
        """As Owner's. Its first process is what the container is: with that the kernel ends all that runs in it."""
        group = _FREEZER / self._groups[pid].lstrip("/") / "freezer.state"
        if number == signal.SIGSTOP:
            group.write_text("FROZEN")
            return
        os.kill(pid, number)
        if number in (signal.SIGCONT, signal.SIGKILL):
            group.write_text("THAWED")

    def make_mounts(self) -> None:
        """Nothing: a container has its own."""

    def fileno(self) -> int:
        """As Owner's."""
        return self._holder.fileno()

    def exited(self) -> list[Exit]:
        """As Owner's."""
        return [
            Exit(end.host, self._ended(end.pid), _status(end.status))
            for end in self._holder.exited()
            if end.pid in self._runners
        ]

    def wait(self, pid: int) -> int:
        """As Owner's."""
        runner = next((runner for runner, its in self._runners.items() if its == pid), 0)
        if not runner:
            raise OwnerError(f"{self.name}: no container with process {pid}")
        status = self._holder.wait(runner)
        self._ended(runner)
        return _status(status)

    def _ended(self, runner: int) -> int:
        pid = self._runners.pop(runner)
        self._agents.pop(pid).close()
        return pid

    def kill(self) -> None:
        """As Owner's; what its containers are ends with the network namespace's other inhabitants."""
        for pid in self._agents:
            os.kill(pid, signal.SIGKILL)
        self._holder.kill()

    def reap(self) -> None:
        """As Owner's."""
        self._holder.reap()
        for channel in self._agents.values():
            channel.close()
        self._agents.clear()
        self._boarding.close()


def become(payload: dict[str, Any], _fds: Sequence[int]) -> NoReturn:
    """In the process that the holder has forked: the runtime takes its place, in the node's network namespace."""
    argv: list[str] = payload["argv"]
    os.execv(argv[0], argv)


def _status(code: int) -> int:
    """A runtime tells a death by a signal as shells do."""
    return 128 - code if code > 128 else code


__all__ = ["RUNTIMES", "Runtime", "RuntimeOwner", "find_runtime"]
