"""The processes of a run's nodes: each node's lives one after the other, what they record and what they say.

A node's journal and the state it keeps lie in memory of ours that outlives its processes. A life says that it is
ready and waits until it is let go; what it says later (testbed.nodes.agent.control) is handed on.

Each life is a process of its own, which faults kill, stop and continue by signals. A run in virtual time without faults
of nodes, but that they are slow, puts many nodes' agents into one process: less work for the guest's kernel, and the
same run.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import testbed.nodes.agent
from testbed.engines.live.clock import ClockPolicy
from testbed.engines.live.owner import OwnerError
from testbed.memory import available_bytes
from testbed.nodes.agent.control import hear, tell
from testbed.nodes.agent.journal import read_journal
from testbed.nodes.agent.nvram import set_full
from testbed.nodes.core.disk import DISK_BYTES, State
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.own import OwnEngineError
from testbed.plan import Plan

if TYPE_CHECKING:
    from testbed.engines.live.fabric_net import FabricNet
    from testbed.engines.live.machines.part import Part

AGENT = f"{testbed.nodes.agent.__name__}:run"  # imported here, so that agents are forked with it in memory
_SHARE_OF_MEMORY = 0.4  # of what is available, for all journals together
_MOST_JOURNAL_BYTES = 1 << 30
_NODES_PER_PROCESS = 100  # where they share; at most 253 descriptors can be passed to a process
PACES = ("node_slow", "node_quick")
"""Faults of nodes that need no signal."""
_PRIORITY = 1  # in real time (SCHED_FIFO): agents before everything that is not of the run's own time


class RunAborted(Exception):  # noqa: N818 (an outcome of the run)
    """The run can't go on; the text says why."""


@dataclass(slots=True)
class Life:
    """One life of a node. begins_ns: when it is to begin if it is ready by then, on the run's clock."""

    node: str
    pid: int
    epoch: int
    channel: socket.socket
    begins_ns: int
    paused: bool = False


class Lives:
    """All lives of one run on this machine. ``moments`` tells which protocol moments a new life has to look out for."""

    def __init__(
        self, plan: Plan, part: Part, policy: ClockPolicy, workdir: Path, moments: Callable[[str], Iterable[Moment]]
    ) -> None:
        self.zero_ns = 0
        self._plan = plan
        self._names = tuple(name for name in plan.names if name in part.nodes)
        self._policy = policy
        self._workdir = workdir
        self._moments = moments
        self._fabric_net: FabricNet
        self._epochs = dict.fromkeys(self._names, 1)
        self._clocks = dict(plan.clocks)
        self._slow = dict.fromkeys(self._names, 0)  # by how much (ns)
        self._told = {fault.target for fault in plan.faults if fault.verb.startswith(("clock_", *PACES))}
        self._present: dict[str, Life] = {}
        self._by_fd: dict[int, Life] = {}
        self._epoll = select.epoll()
        self._timer_fd = -1
        self._journal_bytes = _journal_bytes(len(self._names))
        self._journals = {name: _memory(f"journal-{name}", self._journal_bytes) for name in self._names}
        self._nvrams = {name: _memory(f"nvram-{name}", DISK_BYTES) for name in self._names if name in plan.keepers}
        strikes_nodes = any(
            fault.verb.startswith(("node_", "disk_", "clock_")) and fault.verb not in PACES for fault in plan.faults
        )
        apart = not policy.virtual or plan.container is not None or strikes_nodes
        self._together = 1 if apart else _NODES_PER_PROCESS

    # -- their beginning and end -------------------------------------------------------------------------------------

    def begin(self, fabric_net: FabricNet, timer_fd: int) -> None:
        """Starts the first life of every node. ``timer_fd`` wakes ``messages`` up as well."""
        self._fabric_net, self._timer_fd = fabric_net, timer_fd
        self._epoll.register(timer_fd, select.EPOLLIN)
        for name in self._names:
            self._epoll.register(fabric_net.exit_fd(name), select.EPOLLIN)
        names = self._names
        for start in range(0, len(names), self._together):
            self._spawn(names[start : start + self._together], State.LOST, begins_ns=-1)

    def processes(self) -> int:
        """How many processes the present lives are."""
        return len({life.pid for life in self._present.values()})

    def present(self) -> list[Life]:
        """Those that are alive."""
        return list(self._present.values())

    def of(self, node: str) -> Life | None:
        """The present life of a node."""
        return self._present.get(node)

    def is_present(self, life: Life) -> bool:
        """Whether it has not been ended."""
        return self._present.get(life.node) is life

    def let_go(self, life: Life) -> None:
        """It may start its machine."""
        tell(life.channel, "go", self.zero_ns, life.begins_ns)

    def restart(self, node: str, state: State, begins_ns: int) -> None:
        """The next life of a node that has none."""
        self._epochs[node] += 1
        self._spawn([node], state, begins_ns)

    def set_disk_full(self, node: str, full: bool) -> None:
        """Nothing more can be written to a node's disk, or no longer so."""
        if node in self._nvrams:
            set_full(self._nvrams[node], full)

    def strike_clock(self, node: str, verb: str, amount: int, at_ns: int) -> None:
        """A node's clock is another one from ``at_ns`` on, in its present life and in those to come."""
        self._clocks[node] = clock = self._clocks[node].struck(verb, at_ns, amount)
        life = self._present.get(node)
        if life is not None:
            tell(life.channel, "clock", json.dumps(asdict(clock)))

    def set_pace(self, node: str, by_ns: int, at_ns: int) -> None:
        """Handling takes a node so much longer from ``at_ns`` on, in its present life and in those to come."""
        self._slow[node] = by_ns
        life = self._present.get(node)
        if life is not None:
            tell(life.channel, "slow", by_ns, at_ns)

    def pause(self, node: str) -> None:
        """Stops a node's process, if it has one."""
        life = self._present.get(node)
        if life is not None:
            self._fabric_net.signal(life.pid, signal.SIGSTOP)
            life.paused = True

    def resume(self, node: str) -> None:
        """Continues a node's process, if it has one that is stopped."""
        life = self._present.get(node)
        if life is not None and life.paused:
            self._fabric_net.signal(life.pid, signal.SIGCONT)
            life.paused = False

    def end(self, node: str) -> bool:
        """Ends a node's life, which shares its process with no other; False when it had none."""
        life = self._present.get(node)
        if life is not None:
            self._end_process(life.pid)
        return life is not None

    def end_all(self) -> None:
        """Ends every life."""
        for pid in {life.pid: None for life in self._present.values()}:
            self._end_process(pid)

    def _end_process(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            self._fabric_net.signal(pid, signal.SIGKILL)
        with suppress(OwnerError):  # gone, and the process with it
            self._fabric_net.wait(pid)
        for life in [life for life in self._present.values() if life.pid == pid]:
            self._forget(self._present.pop(life.node))

    def _spawn(self, names: Sequence[str], state: State, begins_ns: int) -> None:
        """One process with a life of each of these nodes; it is the first one's owner that starts it."""
        payloads, fds, channels = [], [], []
        for name in names:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            own = [self._journals[name], theirs.fileno()]
            if name in self._nvrams:
                own.append(self._nvrams[name])
            payloads.append(self._payload(name, state) | {"fds": len(own), "netns": self._netns(name, names)})
            fds += own
            channels.append((ours, theirs))
        pid = self._fabric_net.spawn(names[0], AGENT, {"nodes": payloads}, fds)
        if self._policy.virtual:
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        for name, (ours, theirs) in zip(names, channels, strict=True):
            theirs.close()
            life = Life(name, pid, self._epochs[name], ours, begins_ns)
            self._present[name] = life
            self._by_fd[ours.fileno()] = life
            self._epoll.register(ours.fileno(), select.EPOLLIN)

    def _payload(self, name: str, state: State) -> dict[str, Any]:
        return {
            "config": asdict(replace(self._plan.node_config(name, self._epochs[name]), clock=self._clocks.get(name))),
            "moments": [asdict(moment) for moment in self._moments(name)],
            "journal_bytes": self._journal_bytes,
            "clock": self._policy.agent,
            "state": state,
            "slow_ns": self._slow[name],
            "told": name in self._told,
        }

    def _netns(self, name: str, names: Sequence[str]) -> str:
        """Where the process finds the node's namespace; empty when it is there from the start."""
        return "" if len(names) == 1 else self._fabric_net.netns(name)

    def _forget(self, life: Life) -> None:
        if self._by_fd.pop(life.channel.fileno(), None) is not None:
            self._epoll.unregister(life.channel.fileno())
            life.channel.close()

    # -- what they say -----------------------------------------------------------------------------------------------

    def messages(self, timeout_s: float | None) -> list[tuple[Life, list[str]]]:
        """Waits for the timer, a message, or an exit; returns the messages of lives that go on.

        Raises RunAborted when a life has ended or can't go on, and no fault of the plan asked for it; OwnEngineError
        when the user's own engine is why.
        """
        messages = []
        exits = False
        for fd, _ in sorted(self._epoll.poll(timeout_s)):
            life = self._by_fd.get(fd)
            if life is None:
                exits = exits or fd != self._timer_fd
                continue
            words = hear(life.channel)
            if words == [""]:
                self._forget(life)
                continue
            self._raise_failure(life, words)
            messages.append((life, words))
        if exits and not messages:  # what an agent said before it ended comes first
            self._raise_exits()
        return messages

    def _raise_failure(self, life: Life, words: list[str]) -> None:
        if words[0] == "crash":
            told = " ".join(words[1:])
            where = self._workdir / f"crash-{life.node}-{life.epoch}.txt"
            where.write_text(told, encoding="utf-8")
            reason = told.strip().splitlines()[-1]
            raise RunAborted(f"the agent of {life.node} failed: {reason} (traceback in {where.name})")
        if words[0] == "wrong":  # in the user's own engine: not an outcome of a run, but something to mend
            raise OwnEngineError(" ".join(words[1:]))
        if words[0] == "full":
            raise RunAborted(
                f"{life.node} recorded more than fits into memory ({' '.join(words[1:])}); run fewer rounds at a time"
            )

    def _raise_exits(self) -> None:
        try:
            exits = self._fabric_net.exited()
        except OwnerError as error:
            raise RunAborted(str(error)) from None
        for host, pid, status in exits:
            life = self._present.get(host)
            if life is not None and life.pid == pid:
                self._forget(self._present.pop(host))
                how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
                raise RunAborted(f"the agent of {host} ended {how}, and no fault of the plan asked for it")

    # -- what they leave ---------------------------------------------------------------------------------------------

    def write_journals(self) -> None:
        """Leaves each node's journal in the folder of the run."""
        for name, fd in self._journals.items():
            (self._workdir / f"journal-{name}.txt").write_bytes(read_journal(fd, self._journal_bytes))


def _journal_bytes(nodes_: int) -> int:
    """Room for one node's journal. Pages that are never written take no memory, so it may well be generous."""
    share = int(available_bytes() * _SHARE_OF_MEMORY) // max(1, nodes_)
    return min(share, _MOST_JOURNAL_BYTES) // 4096 * 4096


def _memory(name: str, size: int) -> int:
    """Anonymous shared memory of ``size`` zero bytes, as a descriptor."""
    fd = os.memfd_create(name)
    os.truncate(fd, size)
    return fd
