"""A process of agents: it waits for the frames and timers of one node's agent, or of those of many nodes at once.

One process for many nodes saves a switch of processes per frame, which is dear in the virtual-time kernel, and the
memory and the start of all the others; but its nodes can't be killed or stopped by signals. In virtual time it makes no
difference to what happens: nothing does that depends on the order in which the nodes of one instant are served.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import traceback
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from testbed.nodes.agent.control import MAX_BYTES, tell
from testbed.nodes.agent.journal import Journal, JournalFullError
from testbed.nodes.agent.loop import Agent
from testbed.nodes.agent.nvram import nvram
from testbed.nodes.agent.timers import NEVER, TimerFd, no_timer_slack
from testbed.nodes.core.config import RING_FRAMES, START_NS, NodeConfig, node_config_from_json
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.own import OwnEngineError
from testbed.nodes.frames import CARRIED_BYTES, MAX_WIRE_BYTES, WIRE_BYTES
from testbed.nodes.registry import build_machine, engine_spec

_EXIT_CRASHED, _EXIT_FULL = 3, 4
_CLONE_NEWNET = 0x4000_0000
_BROKEN = select.EPOLLERR | select.EPOLLHUP


class Process:
    """Serves agents. ``serving`` is the one whose events are being handled."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self.serving = agents[0]
        self._agents = agents
        self._epoll = select.epoll()
        self._timer = TimerFd()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self._places: dict[int, int] = {}  # descriptor of a NIC -> whose it is
        for place, agent in enumerate(agents):
            for fd in agent.nic_fds():
                self._places[fd] = place
                self._epoll.register(fd, select.EPOLLIN)
        self._channels = {agent.channel.fileno(): agent for agent in agents if agent.told}
        for fd in self._channels:
            self._epoll.register(fd, select.EPOLLIN)
        self._dues = [NEVER] * len(agents)  # when each one's earliest timer is due
        self._agenda: list[tuple[int, int]] = []  # a heap of (due, place); what _dues does not confirm is stale
        self._armed_ns = NEVER
        self._busy: set[int] = set()  # places of those whose NICs we don't look at

    def start(self, zero_ns: int, begins_ns: int) -> None:
        """Starts the machines, at once; in virtual time first lives wait for START_NS before the run's zero (ns since
        the epoch), and a later one, which is made when the instant before its own is over, for ``begins_ns``. On a wall
        clock that would have all nodes of a host wake at one instant and hold each other up.
        """
        for agent in self._agents:
            agent.zero_ns = zero_ns
        first = self._agents[0]
        waits_for_ns = START_NS if first.config.epoch == 1 else begins_ns
        if not first.reads_clock and waits_for_ns > first.clock_ns():
            self._wait_until(zero_ns + waits_for_ns)
        for place, agent in enumerate(self._agents):
            self.serving = agent
            agent.obey()
            agent.start()
            self._serve(place)

    def run(self) -> None:
        """Serves until killed."""
        while True:
            self.wait()

    def wait(self, timeout_s: float | None = None) -> None:
        """Sleeps until a frame is there or a timer is due, and has handled what can be when this returns."""
        self._arm()
        events = self._epoll.poll(timeout_s)
        if self._channels:
            events = self._obeyed(events)
        if len(events) == 1:
            for place in self._woken(*events[0]):
                self._serve(place)
            return
        for place in sorted({place for event in events for place in self._woken(*event)}):
            self._serve(place)

    def _obeyed(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The rest, when what the supervisor has said is done: that comes before all else."""
        for fd, what in events:
            if fd in self._channels:
                self.serving = self._channels[fd]
                self.serving.obey()
                self._serve(self._agents.index(self.serving))
                if what & _BROKEN:
                    self._epoll.unregister(fd)
        return [event for event in events if event[0] not in self._channels]

    def _woken(self, fd: int, what: int) -> Sequence[int]:
        """Whose events have come."""
        place = self._places.get(fd)
        if place is None:
            return self._due()
        if what & _BROKEN:
            self._agents[place].clear_error(fd)
        return (place,)

    def _due(self) -> list[int]:
        """Those whose timers are due."""
        self._armed_ns = -NEVER  # has fired: must be armed again
        now_ns = self.serving.clock_ns()
        found = []
        while self._agenda and self._agenda[0][0] <= now_ns:
            due_ns, place = heappop(self._agenda)
            if self._dues[place] == due_ns:
                self._dues[place] = NEVER
                self._agents[place].advance(now_ns)
                found.append(place)
        return found

    def _serve(self, place: int) -> None:
        agent = self.serving = self._agents[place]
        agent.handle_pending()
        if agent.busy != (place in self._busy):
            self._look_away(place, agent.busy)
        due_ns = agent.next_ns()
        if due_ns != self._dues[place]:
            self._dues[place] = due_ns
            if due_ns < NEVER:
                heappush(self._agenda, (due_ns, place))

    def _look_away(self, place: int, away: bool) -> None:
        """Whether frames of a busy node wake us: those that wait at its NICs would do so all the time."""
        for fd in self._agents[place].nic_fds():
            self._epoll.modify(fd, 0 if away else select.EPOLLIN)
        self._busy ^= {place}

    def _arm(self) -> None:
        agenda, dues = self._agenda, self._dues
        while agenda and dues[agenda[0][1]] != agenda[0][0]:
            heappop(agenda)
        due_ns = agenda[0][0] if agenda else NEVER
        if due_ns != self._armed_ns:
            self._timer.arm(due_ns if due_ns >= NEVER else due_ns + self.serving.zero_ns)
            self._armed_ns = due_ns

    def _wait_until(self, at_ns: int) -> None:
        self._timer.arm(at_ns)
        waiter = select.epoll()
        waiter.register(self._timer.fd, select.EPOLLIN)
        waiter.poll()
        waiter.close()
        self._armed_ns = -NEVER


def run(payload: dict[str, Any], fds: Sequence[int]) -> int:
    """The lives of some nodes, until killed. payload: ``nodes``, for each of them what _agent_from reads, ``fds``, how
    many of the descriptors are its own (they stand in the order of the nodes).
    """
    no_timer_slack()
    agents: list[Agent] = []
    process: Process | None = None
    nodes: list[dict[str, Any]] = payload["nodes"]
    starts = [sum(node["fds"] for node in nodes[:place]) for place in range(len(nodes))]
    channels = [socket.socket(fileno=fds[start + 1]) for start in starts]

    def failing() -> int:
        return len(agents) if process is None else agents.index(process.serving)

    try:
        for node, start, channel in zip(nodes, starts, channels, strict=True):
            agents.append(_agent_from(node, fds[start : start + node["fds"]], channel))
        process = Process(agents)
        for agent in agents:
            tell(agent.channel, "ready")
        orders = [agent.hear() for agent in agents]
        if any(order[:1] != ["go"] for order in orders):
            return 0
        signal.signal(signal.SIGCONT, agents[0].resumed)
        gc.collect()
        gc.freeze()
        gc.disable()
        process.start(int(orders[0][1]), int(orders[0][2]))
        process.run()
    except JournalFullError as error:
        tell(channels[failing()], "full", error)
        return _EXIT_FULL
    except OwnEngineError as error:
        tell(channels[failing()], "wrong", error)
        return _EXIT_CRASHED
    except Exception:
        traceback.print_exc()  # where a container's log can be read
        tell(channels[failing()], "crash", traceback.format_exc()[-MAX_BYTES // 2 :])
        return _EXIT_CRASHED
    return 0


def _agent_from(payload: dict[str, Any], fds: Sequence[int], channel: socket.socket) -> Agent:
    """One node's agent. ``fds``: journal memory, control socket, and NVRAM when its disk is to be kept.

    payload: config (NodeConfig as a dict), netns (path of the node's network namespace; empty: the process is in it),
    moments (Moments as dicts), journal_bytes, clock (stamp or read), state (what it finds of the disk of the life
    before: State), slow_ns and told (see Agent), ring_frames.
    """
    if payload["netns"]:
        _enter(payload["netns"])
    config = node_config_from_json(payload["config"])
    return Agent(
        config,
        build_machine(config),
        moments=[Moment.from_json(moment) for moment in payload["moments"]],
        journal=Journal(fds[0], payload["journal_bytes"]),
        channel=channel,
        disk=nvram(fds[2]) if config.keeps else None,
        state=State(payload["state"]),
        slow_ns=payload["slow_ns"],
        told=payload["told"],
        clock=payload["clock"],
        ring_frames=payload.get("ring_frames", RING_FRAMES),
        frame_bytes=_longest(config),
    )


def _longest(config: NodeConfig) -> int:
    """Bytes of the longest frame that is said, where software sees it."""
    if not engine_spec(config.protocol.consensus).made_of_swaps or config.program.name:
        return MAX_WIRE_BYTES
    return CARRIED_BYTES if config.ways else WIRE_BYTES


def _enter(netns: str) -> None:
    """Sockets made from now on are in that network namespace (Python has os.setns from 3.12 on only)."""
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "setns failed", netns)
    finally:
        os.close(fd)
