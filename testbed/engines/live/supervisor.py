"""Runs one plan on a real fabric: brings it up, starts an agent per node, lets the faults strike, keeps the records.

    python -m testbed.engines.live.supervisor <job directory> [live|virtual]

reads ``plan.json`` there and leaves its raw results there (see testbed.engines.live.results). It must run inside
namespaces of its own, or in the guest of the virtual-time kernel; it imports nothing heavy, so that the guest starts
quickly.

Faults strike on the supervisor's own timer, in the order of their times and then of their places in the plan, or when
an agent reports the protocol moment that they wait for; that agent stands still until the fault has struck.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING

import nodes.agent
from nodes.agent.control import hear, tell
from nodes.agent.journal import line, read_journal, to_bytes
from nodes.agent.nvram import NVRAM_BYTES
from nodes.agent.timers import NEVER, TimerFd, no_timer_slack
from nodes.core.record import Died, Struck
from nodes.registry import build_machine
from testbed.engines.live.capture import Capture, CaptureError, Tapped
from testbed.engines.live.clock import POLICIES, ClockPolicy, now_ns, offset_ns
from testbed.engines.live.limits import allow_files
from testbed.engines.live.owner import OwnerError
from testbed.plan import Fault, Plan, derive_seed
from topologies.impairment import Impairment

if TYPE_CHECKING:
    from testbed.engines.live.fabric_net import FabricNet

__all__ = ["Supervisor", "main", "supervise"]

READY_LIMIT_S = 120.0
_SHARE_OF_MEMORY = 0.4  # of what is available, for all journals together
_MOST_JOURNAL_BYTES = 1 << 30
_PROGRESS_STEPS = 50
AGENT = f"{nodes.agent.__name__}:run"  # imported here, so that agents are forked with it in memory


class RunAborted(Exception):  # noqa: N818 (an outcome of the run)
    """The run can't go on; the text says why."""


@dataclass(slots=True)
class _Life:
    """One process of a node."""

    node: str
    pid: int
    epoch: int
    channel: socket.socket
    waiting_for_zero: bool = True


class Supervisor:
    """One run of one plan. ``progress`` gets a phrase and the fraction of the run's (virtual) time that is over."""

    def __init__(
        self,
        plan: Plan,
        workdir: Path,
        policy: ClockPolicy,
        progress: Callable[[str, float], None],
    ) -> None:
        self.plan = plan
        self.workdir = workdir
        self.policy = policy
        self.progress = progress
        self.zero_ns = 0
        self.complete = True
        self.why = ""
        self.faults: list[tuple[int, str, Struck | Died]] = []
        self.meta: dict[str, object] = {}
        self._fabric_net: FabricNet | None = None
        self._lives: dict[str, _Life] = {}
        self._by_fd: dict[int, _Life] = {}
        self._epochs = dict.fromkeys(plan.names, 1)
        self._struck: set[int] = set()
        self._agenda: list[tuple[int, int, int]] = []  # (time, 0 = fault or 1 = other, fault's index or serial)
        allow_files(len(plan.fabric.hosts))
        self._epoll = select.epoll()
        self._timer = TimerFd()
        self._journal_bytes = _journal_bytes(len(plan.nodes))
        self._journals = {name: _memory(f"journal-{name}", self._journal_bytes) for name in plan.names}
        self._nvrams = {name: _memory(f"nvram-{name}", NVRAM_BYTES) for name in plan.names if plan.nvram}

    # -- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Brings the fabric up, runs to the end, and writes the results."""
        from testbed.engines.live.fabric_net import FabricNet

        for name in self.plan.names:
            build_machine(self.plan.node_config(name))  # loads the engine's modules before the agents are forked
        gc.collect()
        gc.freeze()
        self.progress("bringing the fabric up", 0.0)
        begin = time.monotonic()
        fabric_net = FabricNet(self.plan.fabric)
        self._fabric_net = fabric_net
        try:
            fabric_net.start()
            self.meta["fabric_up_s"] = round(time.monotonic() - begin, 6)
            self._run_in(fabric_net)
        finally:
            fabric_net.stop()
        self._write_results()

    def _run_in(self, fabric_net: FabricNet) -> None:
        no_timer_slack()
        capture = Capture(self._tapped(fabric_net), self.workdir) if self.plan.capture else None
        if capture is not None:
            capture.start()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        for host in self.plan.names:
            self._epoll.register(fabric_net.exit_fd(host), select.EPOLLIN)
        offset = 0
        try:
            for name in self.plan.names:
                self._spawn(name, kept=False)
            self._await_ready()
            with suppress(OSError, PermissionError):  # at equal instants faults come before frames and timers
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            self.zero_ns = self.policy.zero_ns(now_ns())
            offset = offset_ns()
            self._plan_agenda()
            self.progress("running", 0.0)
            for life in self._lives.values():
                self._let_go(life)
            self._handle_until_end()
        except RunAborted as reason:
            self.complete, self.why = False, str(reason)
        finally:
            for name in list(self._lives):
                self._end_life(name)
        self.meta["clock_step_ns"] = offset_ns() - offset
        self.meta["limit_drops"] = fabric_net.qdisc_drops()
        if capture is not None:
            self.progress("collecting the capture", 1.0)
            self._stop(capture)

    def _stop(self, capture: Capture) -> None:
        try:
            self.meta["capture_drops"] = capture.stop()
        except CaptureError as error:
            self.complete, self.why = False, self.why or str(error)

    def _tapped(self, fabric_net: FabricNet) -> list[Tapped]:
        switches = set(self.plan.fabric.switches)
        direct = {
            index
            for index, link in enumerate(self.plan.fabric.links)
            if link.a.node not in switches and link.b.node not in switches
        }
        return [
            Tapped(interface.netns, interface.ifindex, interface.node, interface.nic)
            for interface in fabric_net.interfaces()
            if interface.node in switches or interface.link in direct
        ]

    def _plan_agenda(self) -> None:
        for index, fault in enumerate(self.plan.faults):
            if fault.at_ns >= 0 and fault.moment is None and fault.follows < 0:
                heappush(self._agenda, (fault.at_ns, 0, index))
        for step in range(1, _PROGRESS_STEPS):
            heappush(self._agenda, (self.plan.duration_ns * step // _PROGRESS_STEPS, 1, step))
        heappush(self._agenda, (self.plan.duration_ns, 2, 0))

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_LIMIT_S
        missing = set(self._lives)
        while missing:
            for life, words in self._poll(deadline - time.monotonic()):
                if words[0] == "ready":
                    missing.discard(life.node)
                else:
                    self._on_message(life, words)
            if missing and time.monotonic() > deadline:
                raise RunAborted(f"not ready after {READY_LIMIT_S:g} s: {', '.join(sorted(missing))}")

    def _handle_until_end(self) -> None:
        armed_ns = -NEVER
        while True:
            due_ns = self._agenda[0][0]
            if due_ns != armed_ns:
                self._timer.arm(self.zero_ns + due_ns)
                armed_ns = due_ns
            messages = self._poll(None)
            while self._agenda and self._agenda[0][0] <= now_ns() - self.zero_ns:
                due_ns, what, number = heappop(self._agenda)
                armed_ns = -NEVER
                if what == 2:
                    return
                if what == 1:
                    self.progress("running", number / _PROGRESS_STEPS)
                else:
                    self._strike(number, now_ns() - self.zero_ns)
            for life, words in messages:
                self._on_message(life, words)

    def _poll(self, timeout_s: float | None) -> list[tuple[_Life, list[str]]]:
        """Waits for the timer, a message, or an exit; returns the messages of lives that go on."""
        messages = []
        exits = False
        for fd, _ in sorted(self._epoll.poll(timeout_s)):
            life = self._by_fd.get(fd)
            if life is None:
                exits = exits or fd != self._timer.fd
                continue
            words = hear(life.channel)
            if words == [""]:
                self._forget(life)
            else:
                messages.append((life, words))
        if exits and not messages:  # what an agent said before it ended comes first
            self._on_exits()
        return messages

    def _on_message(self, life: _Life, words: list[str]) -> None:
        if self._lives.get(life.node) is not life:
            return  # killed meanwhile
        if words[0] == "strike":
            self._on_moment(life, int(words[1]), int(words[2]))
        elif words[0] == "ready":
            self._let_go(life)
        elif words[0] == "crash":
            where = self._crash_file(life.node, life.epoch)
            raise RunAborted(f"the agent of {life.node} failed: {' '.join(words[1:])} (traceback in {where.name})")
        elif words[0] == "full":
            raise RunAborted(
                f"{life.node} recorded more than fits into memory ({' '.join(words[1:])}); run fewer rounds at a time"
            )

    def _on_exits(self) -> None:
        assert self._fabric_net is not None
        try:
            exits = self._fabric_net.exited()
        except OwnerError as error:
            raise RunAborted(str(error)) from None
        for host, pid, status in exits:
            life = self._lives.get(host)
            if life is not None and life.pid == pid:
                self._forget(self._lives.pop(host))
                how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
                raise RunAborted(f"the agent of {host} ended {how}, and no fault of the plan asked for it")

    # -- faults ------------------------------------------------------------------------------------------------------

    def _on_moment(self, life: _Life, index: int, t_ns: int) -> None:
        fault = self.plan.faults[index]
        self._struck.add(index)
        if fault.after_ns > 0:
            heappush(self._agenda, (t_ns + fault.after_ns, 0, index))
        else:
            self._strike(index, t_ns)
        if self._lives.get(life.node) is life:
            tell(life.channel, "alive")

    def _strike(self, index: int, t_ns: int) -> None:
        fault = self.plan.faults[index]
        self._struck.add(index)
        self.faults.append((t_ns, fault.target, Struck(index, fault.verb)))
        self._carry_out(index, fault, t_ns)
        for follower, other in enumerate(self.plan.faults):
            if other.follows == index:
                if other.after_ns > 0:
                    heappush(self._agenda, (t_ns + other.after_ns, 0, follower))
                else:
                    self._strike(follower, t_ns)

    def _carry_out(self, index: int, fault: Fault, t_ns: int) -> None:
        assert self._fabric_net is not None
        if fault.verb in ("impair", "unimpair"):
            for link, way in fault.links:
                self._fabric_net.set_impairment(link, way, self._changed(index, fault, link, way))
        elif fault.verb == "nic_down":
            self._fabric_net.nic_down(fault.target, fault.nic)
        elif fault.verb == "nic_up":
            self._fabric_net.nic_up(fault.target, fault.nic)
        elif fault.verb in ("nic_mute", "nic_half"):
            self._fabric_net.nic_mute(fault.target, fault.nic, fault.direction or "both")
        elif fault.verb == "nic_unmute":
            self._fabric_net.nic_unmute(fault.target, fault.nic)
        else:
            self._strike_node(fault, t_ns)

    def _strike_node(self, fault: Fault, t_ns: int) -> None:
        life = self._lives.get(fault.target)
        if life is not None and fault.verb == "node_pause":
            os.kill(life.pid, signal.SIGSTOP)
        elif life is not None and fault.verb == "node_resume":
            os.kill(life.pid, signal.SIGCONT)
        elif fault.verb in ("node_kill", "node_restart"):
            if life is not None:
                self._end_life(fault.target)
                self.faults.append((t_ns, fault.target, Died()))
            if fault.verb == "node_restart":
                self._epochs[fault.target] += 1
                self._spawn(fault.target, fault.keep_state)

    def _changed(self, index: int, fault: Fault, link: int, way: str) -> Impairment:
        """What a direction is under from fault ``index`` on; a change draws from a seed of its own."""
        own: Impairment = getattr(self.plan.fabric.links[link], way)
        changed = fault.impairment if fault.verb == "impair" and fault.impairment is not None else own
        return changed.with_seed(derive_seed(own.seed, "change", index))

    # -- lives -------------------------------------------------------------------------------------------------------

    def _spawn(self, name: str, kept: bool) -> None:
        assert self._fabric_net is not None
        epoch = self._epochs[name]
        config = self.plan.node_config(name, epoch)
        payload = {
            "config": asdict(config),
            "moments": [asdict(moment) for moment in self.plan.moments(name) if moment.index not in self._struck],
            "journal_bytes": self._journal_bytes,
            "clock": self.policy.agent,
            "nvram": self.plan.nvram,
            "kept": kept,
            "crash_file": str(self._crash_file(name, epoch)),
        }
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = [self._journals[name], theirs.fileno()]
        if self.plan.nvram:
            fds.append(self._nvrams[name])
        pid = self._fabric_net.spawn(name, AGENT, payload, fds)
        theirs.close()
        life = _Life(name, pid, epoch, ours)
        self._lives[name] = life
        self._by_fd[ours.fileno()] = life
        self._epoll.register(ours.fileno(), select.EPOLLIN)

    def _let_go(self, life: _Life) -> None:
        tell(life.channel, "go", self.zero_ns)

    def _end_life(self, name: str) -> None:
        assert self._fabric_net is not None
        life = self._lives.pop(name)
        with suppress(ProcessLookupError):
            os.kill(life.pid, signal.SIGKILL)
        with suppress(OwnerError):  # gone, and the process with it
            self._fabric_net.wait(life.pid)
        self._forget(life)

    def _forget(self, life: _Life) -> None:
        if self._by_fd.pop(life.channel.fileno(), None) is not None:
            self._epoll.unregister(life.channel.fileno())
            life.channel.close()

    def _crash_file(self, name: str, epoch: int) -> Path:
        return self.workdir / f"crash-{name}-{epoch}.txt"

    # -- results -----------------------------------------------------------------------------------------------------

    def _write_results(self) -> None:
        for name, fd in self._journals.items():
            (self.workdir / f"journal-{name}.txt").write_bytes(read_journal(fd, self._journal_bytes))
        lines = "".join(line(t_ns, what) for t_ns, _, what in self.faults)
        (self.workdir / "faults.txt").write_bytes(to_bytes(lines))
        self.meta |= {
            "zero_ns": self.zero_ns,
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
        }
        struck = [node for _, node, _ in self.faults]
        result = {"complete": self.complete, "why": self.why, "struck": struck, "meta": self.meta}
        (self.workdir / "result.json").write_text(json.dumps(result, indent=1, sort_keys=True), encoding="utf-8")


def supervise(plan: Plan, workdir: Path, clock: str, progress: Callable[[str, float], None]) -> None:
    """Runs ``plan`` and leaves the raw results in ``workdir``. clock: live or virtual (testbed.engines.live.clock)."""
    Supervisor(plan, workdir, POLICIES[clock], progress).run()


def _journal_bytes(nodes_: int) -> int:
    """Room for one node's journal. Pages that are never written take no memory, so it may well be generous."""
    available = 1 << 30
    for fact in Path("/proc/meminfo").read_text().splitlines():
        if fact.startswith("MemAvailable:"):
            available = int(fact.split()[1]) * 1024
    share = int(available * _SHARE_OF_MEMORY) // max(1, nodes_)
    return min(share, _MOST_JOURNAL_BYTES) // 4096 * 4096


def _memory(name: str, size: int) -> int:
    """Anonymous shared memory of ``size`` zero bytes, as a descriptor."""
    fd = os.memfd_create(name)
    os.truncate(fd, size)
    return fd


def main(argv: list[str]) -> int:
    """The command: 0 when the results are there (also of a run that was cut short), 1 when there are none."""
    workdir = Path(argv[1])
    clock = argv[2] if len(argv) > 2 else "virtual"
    progress_file = workdir / "progress"

    def report(phrase: str, fraction: float) -> None:
        progress_file.write_text(f"{fraction:.4f} {phrase}\n", encoding="utf-8")

    try:
        plan = Plan.from_json((workdir / "plan.json").read_text(encoding="utf-8"))
        supervise(plan, workdir, clock, report)
    except Exception as error:
        (workdir / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
        unavailable = [getattr(error, name, None) for name in ("what", "why", "advice")]
        failure = {"error": f"{type(error).__name__}: {error}", "unavailable": unavailable}
        (workdir / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
