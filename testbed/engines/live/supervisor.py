"""Runs one plan on a real fabric: brings it up, starts an agent per node, lets the faults strike, keeps the records.

    python -m testbed.engines.live.supervisor <job directory> [live|virtual]

reads ``plan.json`` there and leaves its raw results there (see testbed.engines.live.results). It must run inside
namespaces of its own, or in the guest of the virtual-time kernel; it imports nothing heavy, so that the guest starts
quickly.

Faults strike in the order of testbed.faults.schedule, on the supervisor's own timer or when an agent reports the
protocol moment that they wait for; that agent stands still until what strikes at once has struck.

In virtual time an instant can be over: nobody has anything left to do, and the clock has not moved on yet. What is to
come before all else of an instant is done when the instant before it is over.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.engines.live.capture import Capture, CaptureError, Tapped, tapped_nics
from testbed.engines.live.clock import POLICIES, ClockPolicy, now_ns, offset_ns
from testbed.engines.live.containers.settings import Settings
from testbed.engines.live.holder import Holder
from testbed.engines.live.limits import allow_files
from testbed.engines.live.lives import PACES, Life, Lives, RunAborted
from testbed.engines.live.machines.part import Part
from testbed.engines.live.owner import MakeOwner
from testbed.faults.outages import Outages
from testbed.faults.schedule import Phase, Schedule
from testbed.nodes.agent.control import tell
from testbed.nodes.agent.journal import encode
from testbed.nodes.agent.timers import NEVER, TimerFd, no_timer_slack
from testbed.nodes.core.own import OwnEngineError
from testbed.nodes.core.record import Died, Struck
from testbed.nodes.registry import build_machine
from testbed.plan import Fault, Plan, derive_seed
from testbed.topologies.impairment import Impairment

if TYPE_CHECKING:
    from testbed.engines.live.fabric_net import FabricNet

__all__ = ["Supervisor", "main", "supervise"]

READY_LIMIT_S = 120.0
_PROGRESS_STEPS = 50
_ABOVE_AGENTS, _ABOVE_ALL = 2, 99  # priorities in real time (SCHED_FIFO)


class Supervisor:
    """One run of one plan. ``progress`` gets a phrase and the fraction of the run's (virtual) time that is over."""

    def __init__(
        self,
        plan: Plan,
        workdir: Path,
        policy: ClockPolicy,
        progress: Callable[[str, float], None],
    ) -> None:
        allow_files(len(plan.fabric.hosts))
        self.plan = plan
        self.part = Part.read(workdir, plan)
        self.workdir = workdir
        self.policy = policy
        self.progress = progress
        self.zero_ns = 0
        self.complete = True
        self.why = ""
        self.faults: list[tuple[int, str, Struck | Died]] = []
        self.meta: dict[str, object] = {}
        self._fabric_net: FabricNet
        self._schedule = Schedule(plan.faults)
        self._outages = Outages(plan.fabric)
        self._lives = Lives(plan, self.part, policy, workdir, self._schedule.moments)
        self._timer = TimerFd()
        self._steps = 0  # of the progress that is told

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
        fabric_net = FabricNet(self.plan.fabric, self._make_owner(), self.part)
        self._fabric_net = fabric_net
        try:
            fabric_net.start()
            if self.policy.virtual:
                fabric_net.delay_clean_directions()
                _move_frames_before_processes()
            self.meta["fabric_up_s"] = round(time.monotonic() - begin, 6)
            self._run_in(fabric_net)
        finally:
            fabric_net.stop()
        self._write_results()

    def _make_owner(self) -> MakeOwner:
        """Nodes are processes of ours, containers of this host's engine, or, in a guest, containers of a runtime."""
        limits = self.plan.container
        if limits is None:
            return Holder
        settings = Settings.read(self.workdir)
        if self.policy.virtual:
            from testbed.engines.live.containers.runtime import Runtime

            return Runtime(settings, limits).owner
        from testbed.engines.live.containers.owner import Containers

        restarted = {fault.target for fault in self.plan.faults if fault.verb == "node_restart"}
        return Containers(settings, limits, restarted).owner

    def _run_in(self, fabric_net: FabricNet) -> None:
        no_timer_slack()
        capture = Capture(self._tapped(fabric_net), self.workdir) if self.plan.capture else None
        if capture is not None:
            capture.start()
        offset = 0
        backlog_drops = _backlog_drops()
        try:
            self._lives.begin(fabric_net, self._timer.fd)
            self._await_ready()
            self.meta["agent_processes"] = self._lives.processes()
            with suppress(OSError, PermissionError):  # a fault is not late because an agent is busy
                _set_priority(_ABOVE_AGENTS)
            self.zero_ns = self._lives.zero_ns = self.part.agree(self.policy.zero_ns(now_ns()))
            offset = offset_ns()
            self.progress("running", 0.0)
            for life in self._lives.present():
                self._lives.let_go(life)
            self._run_to_the_end()
        except RunAborted as reason:
            self.complete, self.why = False, str(reason)
        finally:
            self._lives.end_all()
        self.meta["clock_step_ns"] = offset_ns() - offset
        self.meta["limit_drops"] = fabric_net.qdisc_drops()
        self.meta["backlog_drops"] = _backlog_drops() - backlog_drops
        if capture is not None:
            self.progress("collecting the capture", 1.0)
            self._stop(capture)

    def _stop(self, capture: Capture) -> None:
        try:
            self.meta["capture_drops"] = capture.stop()
        except CaptureError as error:
            self.complete, self.why = False, self.why or str(error)

    def _tapped(self, fabric_net: FabricNet) -> list[Tapped]:
        tapped = tapped_nics(self.plan.fabric)
        return [
            Tapped(interface.netns, interface.ifindex, interface.node, interface.nic)
            for interface in fabric_net.interfaces()
            if (interface.node, interface.nic) in tapped
        ]

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_LIMIT_S
        missing = {life.node for life in self._lives.present()}
        while missing:
            missing -= {
                life.node
                for life, words in self._lives.messages(max(0.0, deadline - time.monotonic()))
                if words[0] == "ready"
            }
            if missing and time.monotonic() > deadline:
                raise RunAborted(f"not ready after {READY_LIMIT_S:g} s: {', '.join(sorted(missing))}")

    def _run_to_the_end(self) -> None:
        end_ns = self.plan.duration_ns
        armed_ns = -NEVER
        while True:
            wake_ns = min(self._next_strike_ns(), self._next_step_ns(), end_ns)
            if wake_ns != armed_ns:
                self._timer.arm(self.zero_ns + wake_ns)
                armed_ns = wake_ns
            self._handle(self._lives.messages(None))
            self._strike_due()
            self._tell_progress()
            if now_ns() - self.zero_ns >= end_ns:
                return
            if now_ns() - self.zero_ns >= armed_ns:
                armed_ns = -NEVER  # has fired: must be armed again

    def _handle(self, messages: list[tuple[Life, list[str]]]) -> None:
        for life, words in messages:
            if not self._lives.is_present(life):
                continue  # killed meanwhile
            if words[0] == "strike":
                self._on_moment(life, int(words[1]), int(words[2]))
            elif words[0] == "ready":
                self._lives.let_go(life)
            elif words[0] == "died":
                self._lives.end(life.node)
                self.faults.append((int(words[1]), life.node, Died(words[2])))

    def _next_strike_ns(self) -> int:
        """When to act for the next fault of the schedule; NEVER when there is none."""
        following = self._schedule.next()
        if following is None or following[0] > self.plan.duration_ns:
            return NEVER
        at_ns, phase = following
        return at_ns - 1 if self.policy.virtual and phase is Phase.FIRST else at_ns

    def _strike_due(self) -> None:
        """Lets strike what is due. In virtual time returns when the instant is over."""
        while True:
            following = self._schedule.next()
            due = self._next_strike_ns() <= now_ns() - self.zero_ns
            if self.policy.virtual and not (due and following is not None and following[1] is Phase.WAKING):
                self._let_agents_finish()
                messages = self._lives.messages(0)
                if messages:
                    self._handle(messages)
                    continue
            if not due or following is None:
                return
            at_ns = following[0] if self.policy.virtual else now_ns() - self.zero_ns
            self._carry_out(self._schedule.take(), at_ns)

    def _let_agents_finish(self) -> None:
        """Returns when no agent can do anything more at this instant but wait for us."""
        _set_priority(0)
        _set_priority(_ABOVE_AGENTS)

    def _next_step_ns(self) -> int:
        return self.plan.duration_ns * (self._steps + 1) // _PROGRESS_STEPS

    def _tell_progress(self) -> None:
        if self._next_step_ns() <= now_ns() - self.zero_ns:
            self._steps += 1
            self.progress("running", self._steps / _PROGRESS_STEPS)

    # -- faults ------------------------------------------------------------------------------------------------------

    def _on_moment(self, life: Life, index: int, t_ns: int) -> None:
        for own in self._schedule.at_moment(index, t_ns):
            self._carry_out(own, t_ns)
        if self._lives.is_present(life):
            tell(life.channel, "alive")

    def _carry_out(self, index: int, t_ns: int) -> None:
        fault = self.plan.faults[index]
        if index in self.part.faults:
            self.faults.append((t_ns, fault.target, Struck(index, fault.verb)))
        if fault.verb in ("impair", "unimpair"):
            for link, way in fault.links:
                if self._fabric_net.sends_here(link, way):
                    self._fabric_net.set_impairment(link, way, self._changed(index, fault, link, way))
        elif fault.verb == "reroute":
            self._fabric_net.reroute(self._outages.forwarding())
        elif fault.verb.startswith(("link_", "switch_")):
            self._strike_links(fault)
        elif index not in self.part.faults:
            return  # another machine's
        elif fault.verb.startswith("nic_"):
            self._strike_nic(fault)
        else:
            self._strike_node(fault, t_ns)

    def _strike_links(self, fault: Fault) -> None:
        """Links and switches go down and up; of a link between machines each sees to its own end."""
        down, up = self._outages.strike(fault)
        for ends, deed in ((down, self._fabric_net.nic_down), (up, self._fabric_net.nic_up)):
            for end in ends:
                if self._fabric_net.is_here(end.node):
                    deed(end.node, end.nic)

    def _strike_node(self, fault: Fault, t_ns: int) -> None:
        if fault.verb == "node_pause":
            self._lives.pause(fault.target)
        elif fault.verb == "node_resume":
            self._lives.resume(fault.target)
        elif fault.verb in ("clock_step", "clock_drift"):
            self._lives.strike_clock(fault.target, fault.verb, fault.amount, t_ns)
        elif fault.verb in PACES:
            self._lives.set_pace(fault.target, fault.amount, t_ns)
        elif fault.verb in ("disk_full", "disk_free"):
            self._lives.set_disk_full(fault.target, fault.verb == "disk_full")
        else:
            if self._lives.end(fault.target):
                self.faults.append((t_ns, fault.target, Died()))
            if fault.verb == "node_restart":
                self._lives.restart(fault.target, fault.state, t_ns)

    def _strike_nic(self, fault: Fault) -> None:
        if fault.verb == "nic_down":
            self._fabric_net.nic_down(fault.target, fault.nic)
        elif fault.verb == "nic_up":
            self._fabric_net.nic_up(fault.target, fault.nic)
        elif fault.verb == "nic_deaf":
            self._fabric_net.nic_deaf(fault.target, fault.nic, fault.peers)
        elif fault.verb == "nic_hear":
            self._fabric_net.nic_hear(fault.target, fault.nic, fault.peers)
        elif fault.verb == "nic_unmute":
            self._fabric_net.nic_unmute(fault.target, fault.nic)
        else:
            self._fabric_net.nic_mute(fault.target, fault.nic, fault.direction or "both")

    def _changed(self, index: int, fault: Fault, link: int, way: str) -> Impairment:
        """What a direction is under from fault ``index`` on; a change draws from a seed of its own."""
        own: Impairment = getattr(self.plan.fabric.links[link], way)
        changed = fault.impairment if fault.verb == "impair" and fault.impairment is not None else own
        return changed.with_seed(derive_seed(own.seed, "change", index))

    # -- results -----------------------------------------------------------------------------------------------------

    def _write_results(self) -> None:
        self._lives.write_journals()
        rows = [(t_ns, what) for t_ns, _, what in self.faults]
        (self.workdir / "faults.txt").write_bytes(encode(rows))
        self.meta |= {
            "zero_ns": self.zero_ns,
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
        }
        struck = [node for _, node, _ in self.faults]
        result = {"complete": self.complete, "why": self.why, "struck": struck, "meta": self.meta}
        (self.workdir / "result.json").write_text(json.dumps(result, indent=1, sort_keys=True), encoding="utf-8")


def _backlog_drops() -> int:
    """Frames that this kernel has dropped so far because too many waited to be taken in (all namespaces together)."""
    return sum(int(row.split()[1], 16) for row in Path("/proc/net/softnet_stat").read_text().splitlines())


def supervise(plan: Plan, workdir: Path, clock: str, progress: Callable[[str, float], None]) -> None:
    """Runs ``plan`` and leaves the raw results in ``workdir``. clock: live or virtual (testbed.engines.live.clock)."""
    Supervisor(plan, workdir, POLICIES[clock], progress).run()


def _set_priority(priority: int) -> None:
    """This process runs before all of lesser priority; 0: after all who have one, as ordinary processes do."""
    os.sched_setscheduler(0, os.SCHED_FIFO if priority else os.SCHED_OTHER, os.sched_param(priority))


def _move_frames_before_processes() -> None:
    """However many frames move at one instant: all are where they belong before any process runs, and none is lost.

    The kernel hands what is left after a while to a thread of its own (ksoftirqd), so that thread goes before all; and
    it drops what is more than ``netdev_max_backlog`` frames, which is meant for frames that come in faster than they
    can be handled: here handling takes no time.
    """
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (folder / "comm").read_text().startswith("ksoftirqd/"):
            os.sched_setscheduler(int(folder.name), os.SCHED_FIFO, os.sched_param(_ABOVE_ALL))
    for name, value in (("dev_weight", 1 << 20), ("netdev_budget", 1 << 24), ("netdev_max_backlog", 1 << 20)):
        Path("/proc/sys/net/core", name).write_text(str(value))


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
        failure: dict[str, Any] = {"error": f"{type(error).__name__}: {error}", "unavailable": unavailable}
        if isinstance(error, OwnEngineError):
            failure["own"] = str(error)
        (workdir / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
