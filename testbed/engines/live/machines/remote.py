"""One machine's end of a run over several: does what the coordinator says, on standard input and output.

    python -m testbed.engines.live.machines.remote

clock: its time. start: a supervisor with the machine's part, in namespaces of its own; answers when all stands ready.
zero: when the run begins. over: whether it has ended. results: all that it left. When the coordinator goes, or the
connection, everything here goes with it.
"""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from testbed.engines.base import SCRATCH, EngineUnavailable
from testbed.engines.live.isolation import isolated_popen
from testbed.engines.live.machines.part import FILE, Part
from testbed.engines.live.machines.wire import listen, say
from testbed.engines.live.netlink import requests
from testbed.engines.live.netlink.rtnl import Rtnl, missing_in_kernel

_ROOT = "ask for another user there (ansible_user=root), or run on one machine"


class Remote:
    """What runs here."""

    def __init__(self, job: Path, commands: IO[bytes]) -> None:
        self._job, self._commands = job, commands
        self._process: subprocess.Popen[bytes] | None = None
        self._zero: IO[str] | None = None

    def do(self, order: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The answer to one order."""
        if order["do"] == "clock":
            return {"ns": time.time_ns()}, b""
        if order["do"] == "start":
            return self._start(order), b""
        if order["do"] == "zero" and self._zero is not None:
            with self._zero as tell:
                print(order["ns"], file=tell)
            return {}, b""
        if order["do"] == "over":
            return {"over": self._process is None or self._process.poll() is not None}, b""
        assert order["do"] == "results", order
        return {}, self._results()

    def end(self) -> None:
        """Ends what runs here, if anything does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self, order: dict[str, Any]) -> dict[str, Any]:
        try:
            self._check(order["netem"])
            (self._job / "plan.json").write_text(order["plan"], encoding="utf-8")
            told = self._launch(Part.from_json(order["part"]))
        except EngineUnavailable as error:
            return {"unavailable": [error.what, error.why, error.advice]}
        return {"ready_ns": int(told)} if told else {}

    def _check(self, netem: str) -> None:
        if os.geteuid() != 0:
            raise EngineUnavailable("a part of a fabric", "not root, and links between machines take that", _ROOT)
        reason = no_vxlan()
        if reason:
            raise EngineUnavailable("links between machines", f"no VXLAN ({reason})", "load the module: modprobe vxlan")
        if netem:
            from testbed.engines.live.wires import netem_available

            netem_available(netem)

    def _launch(self, part: Part) -> str:
        """Starts the supervisor; what it tells when all stands ready, nothing when it has ended before."""
        hear_zero, tell_zero = os.pipe()
        hear_ready, tell_ready = os.pipe()
        with Rtnl.open_socket() as underlay, (self._job / "output.txt").open("wb") as output:
            mine = replace(part, underlay=underlay.fileno(), hear=hear_zero, tell=tell_ready)
            (self._job / FILE).write_text(mine.to_json(), encoding="utf-8")
            self._process = isolated_popen(
                [sys.executable, "-m", "testbed.engines.live.supervisor", str(self._job), "live"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(underlay.fileno(), hear_zero, tell_ready),
            )
        os.close(hear_zero)
        os.close(tell_ready)
        self._zero = os.fdopen(tell_zero, "w", encoding="ascii")
        with os.fdopen(hear_ready, encoding="ascii") as ready:
            waited, _, _ = select.select([ready.fileno(), self._commands.fileno()], [], [])
            if self._commands.fileno() in waited:
                raise EOFError  # nothing is said before this is answered: the coordinator has gone
            return ready.readline().strip()

    def _results(self) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for path in sorted(self._job.iterdir()):
                tar.add(path, path.name)
        return packed.getvalue()


def no_vxlan() -> str:
    """Why this kernel makes no carried links; empty when it does."""
    end = requests.VethEnd("probe", "02:00:00:00:00:01", 7)
    return missing_in_kernel(requests.vxlan(end, requests.Carrier(1, "127.0.0.1", "127.0.0.2", 4789)))


def main() -> int:
    """Until the coordinator goes."""
    commands, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get into the answers
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}machine-") as job:
        here = Remote(Path(job), commands)
        try:
            while (order := listen(commands)) is not None:
                say(answers, *here.do(order[0]))
        except (EOFError, BrokenPipeError):
            return 1
        finally:
            here.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
