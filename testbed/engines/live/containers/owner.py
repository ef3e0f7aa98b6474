"""A container of the host's engine as the owner of a node's namespaces, in ``live``.

    containers = Containers(settings, plan.container, restarted={"host3"})
    owner = containers.owner("host1")       # several start at once: nothing is waited for until it is needed
    life = owner.spawn("testbed.nodes.agent:run", payload, fds)

The node's container is its agent's: it waits from the start for what it is to run. When it dies its namespace, and the
NICs in it, stay until the fabric goes, for the fabric holds a descriptor of it. A new container can't be put into a
namespace without a container though; so a node that the plan restarts has a container more, in which the same agent
waits and is never told anything, and each of its lives is a container that joins the namespace of that one.

The engine is asked by threads, one a container, which then wait for the container's end.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from testbed.engines.base import EngineUnavailable
from testbed.engines.live import syscalls
from testbed.engines.live.containers.boarding import Boarding, tell
from testbed.engines.live.containers.engine import NODE, OWNER, RUN, WHAT, ContainerEngine, in_words
from testbed.engines.live.containers.image import SOCKET_FOLDER
from testbed.engines.live.containers.rights import CAPABILITIES, MOST_PROCESSES
from testbed.engines.live.containers.settings import Settings
from testbed.engines.live.limits import FILES_PER_CONTAINER, allow_files
from testbed.engines.live.netlink.requests import Home
from testbed.engines.live.netlink.rtnl import Rtnl
from testbed.engines.live.owner import Exit, OwnerError
from testbed.engines.live.syscalls import CLONE_NEWNET
from testbed.nodes.agent.channel import Channel
from testbed.plan import Container as Limits

_AT_ONCE = 8  # requests that the engine works on; more only wait for each other there
_BOARDING_S = 60.0
_NOT_RUNNING = (404, 409)  # the engine's answers about a container that has ended by itself
_CPU_NS = 1_000_000_000
_LAST_LINES = 10


class Containers:
    """The containers of one run. restarted: the nodes that have several lives. names: name -> address, in the
    /etc/hosts of each."""

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        restarted: Collection[str] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.settings, self.limits, self.restarted, self.names = settings, limits, restarted, names
        self.folder = Path(settings.folder)
        self.engine = ContainerEngine(settings.program)
        self.numbers = count(1)  # of lives, over all nodes
        self._owned = 0
        self.gate = threading.BoundedSemaphore(_AT_ONCE)
        self.host_proc = settings.host_proc if settings.host_proc >= 0 else os.open("/proc", os.O_PATH | os.O_CLOEXEC)

    def owner(self, name: str) -> ContainerOwner:
        """Starts a node's container."""
        self._owned += 1
        allow_files(self._owned, FILES_PER_CONTAINER)
        return ContainerOwner(name, self)

    def name(self, node: str) -> str:
        """What the engine knows a node's container by."""
        return f"oae-{self.settings.run}-{node}"

    def command_in(self, node: str) -> list[str]:
        """The command line that runs a command in a node: up to and with the container's name."""
        return [*self.engine.command_line(), "exec", "-i", self.name(node)]

    def create(self, node: str, name: str, folder: Path, joins: str) -> str:
        """A container that has not been started; its id. joins: the one whose network namespace it shares, or empty."""
        api, limits = self.engine.api, self.limits
        memory = {"mem_limit": limits.memory_bytes, "memswap_limit": limits.memory_bytes} if limits.memory_bytes else {}
        host_config = api.create_host_config(
            network_mode=f"container:{joins}" if joins else "none",
            binds={str(folder): {"bind": SOCKET_FOLDER, "mode": "ro"}},
            extra_hosts=None if joins else self.names,
            read_only=True,
            cap_drop=["ALL"],
            cap_add=list(CAPABILITIES),
            security_opt=["no-new-privileges:true"],
            pids_limit=MOST_PROCESSES,
            nano_cpus=round(limits.cpus * _CPU_NS) or None,
            sysctls=None if joins else _SILENT,
            **memory,
        )
        settings = self.settings
        made = api.create_container(
            settings.image,
            name=name,
            hostname=None if joins else node,
            environment={"OAE_NODE": node},
            labels={RUN: settings.run, NODE: node, OWNER: settings.owner},
            stop_signal="SIGTERM",  # else Docker takes any signal to a frozen container for a wish to thaw it
            host_config=host_config,
        )
        return str(made["Id"])


# No neighbour discovery: it would take draws from a link's seed.
_SILENT = {"net.ipv6.conf.all.disable_ipv6": "1"} if os.path.isdir("/proc/sys/net/ipv6") else None


class _Container:
    """One container, from its creation to its removal, and the thread that waits for it."""

    def __init__(
        self, node: str, name: str, containers: Containers, boarding: Boarding, end_told: int, joins: str = ""
    ) -> None:
        self.node, self.name = node, name
        self.netns: Future[int] = Future()  # a descriptor
        self.agent: Future[Channel] = Future()
        self.ended: Future[int] = Future()  # status as in Exit
        self.id = ""
        self._containers, self._boarding, self._joins = containers, boarding, joins
        self._order: Future[tuple[str, dict[str, Any], list[int]] | None] = Future()
        self._end_told = end_told
        self._unwanted = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    def order(self, target: str, payload: dict[str, Any], fds: Sequence[int]) -> None:
        """What it is to run, as soon as it is there."""
        self._order.set_result((target, payload, [os.dup(fd) for fd in fds]))

    def api(self) -> Any:
        """The engine, for the calling thread."""
        return self._containers.engine.api

    def remove(self) -> None:
        """Ends it and removes it, however far it has got."""
        os.eventfd_write(self._unwanted, 1)
        if not self._order.done():
            self._order.set_result(None)
        removed = self._remove()
        self._thread.join()
        if not removed:
            self._remove()
        for done in (self.netns, self.agent):
            if not done.exception():
                result = done.result()
                result.close() if isinstance(result, Channel) else os.close(result)
        os.close(self._unwanted)

    def _remove(self) -> bool:
        """False when there is nothing yet to be removed."""
        if self.id:
            with self._containers.gate:
                self._containers.engine.remove(self.id)
        return bool(self.id)

    def _live(self) -> None:
        try:
            self._start()
            order = self._order.result()
            if order is not None:
                target, payload, fds = order
                try:
                    tell(self.agent.result(), target, payload, fds)
                finally:
                    for fd in fds:
                        os.close(fd)
            with in_words(self._containers.engine.address):
                status = int(self.api().wait(self.id, timeout=None)["StatusCode"])
            self.ended.set_result(128 - status if status > 128 else status)
        except Exception as error:
            reason = error if isinstance(error, OwnerError | EngineUnavailable) else OwnerError(f"{self.node}: {error}")
            for waited in (self.netns, self.agent, self.ended):
                if not waited.done():
                    waited.set_exception(reason)
        finally:
            os.eventfd_write(self._end_told, 1)

    def _start(self) -> None:
        with self._containers.gate, in_words(self._containers.engine.address):
            folder = self._boarding.folder
            if self._order.done() and self._order.result() is None:
                raise OwnerError(f"{self.node}: no longer wanted")
            self.id = self._containers.create(self.node, self.name, folder, self._joins)
            self.api().start(self.id)
            pid = self.api().inspect_container(self.id)["State"]["Pid"]
        if not pid:
            raise OwnerError(f"{self.node}: its container ended at once: {self.last_words()}")
        self.netns.set_result(os.open(f"{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._containers.host_proc))
        channel = self._boarding.meet(_BOARDING_S, self._unwanted)
        if channel is None:
            raise OwnerError(f"{self.node}: nothing was heard of its container: {self.last_words()}")
        self.agent.set_result(channel)

    def last_words(self) -> str:
        """The end of its log."""
        with suppress(Exception):  # whatever the reason: this only explains another failure
            said = self.api().logs(self.id, tail=_LAST_LINES).decode(errors="replace").strip().splitlines()
            return said[-1] if said else "it said nothing"
        return "its log can't be read"


class ContainerOwner:
    """The namespaces of one node, and its lives. An Owner."""

    def __init__(self, name: str, containers: Containers) -> None:
        self.name = name
        self._containers = containers
        self._boarding = Boarding(containers.folder / name)
        self._run = containers.name(name)
        self._end_told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        several = name in containers.restarted
        self._first = self._container(f"{self._run}-net" if several else self._run)
        self._lives: dict[int, _Container] = {}
        self._several = several
        self._reported: set[int] = set()
        self._paused: set[int] = set()
        self._rtnl: Rtnl | None = None
        self._removals: list[threading.Thread] = []

    def _container(self, name: str, joins: str = "") -> _Container:
        return _Container(self.name, name, self._containers, self._boarding, self._end_told, joins)

    @property
    def home(self) -> Home:
        """As Owner's."""
        return Home(fd=self._first.netns.result())

    @property
    def netns(self) -> str:
        """As Owner's."""
        return f"/proc/{os.getpid()}/fd/{self._first.netns.result()}"

    @property
    def rtnl(self) -> Rtnl:
        """As Owner's. Opened by us: the container has no right to change its NICs."""
        if self._rtnl is None:
            self._rtnl = Rtnl(_socket_in(self._first.netns.result()))
        return self._rtnl

    def spawn(self, target: str, payload: Any, fds: Sequence[int] = ()) -> int:
        """As Owner's; does not wait for a container that has to be started."""
        life = self._first
        if self._several:
            self._first.agent.result()  # it has taken its place at the socket: the next to come is the new one
            name = f"{self._run}-{len(self._lives) + 1}" if self._lives else self._run
            life = self._container(name, self._first.id)
        number = next(self._containers.numbers)
        self._lives[number] = life
        life.order(target, payload, fds)
        return number

    def signal(self, pid: int, number: signal.Signals) -> None:
        """As Owner's: the engine kills the container, or has its freezer stop it, all that runs in it included."""
        life = self._lives[pid]
        life.agent.result()
        if life.ended.done():
            raise ProcessLookupError
        from docker.errors import APIError

        api = life.api()
        with in_words(self._containers.engine.address):
            if number == signal.SIGKILL:
                try:
                    api.kill(life.id, signal.SIGKILL)
                except APIError as error:
                    if error.status_code in _NOT_RUNNING:
                        raise ProcessLookupError from None
                    raise
                self._paused.discard(pid)
            elif number == signal.SIGSTOP and pid not in self._paused:
                api.pause(life.id)
                self._paused.add(pid)
            elif number == signal.SIGCONT and pid in self._paused:
                with suppress(APIError):  # Podman refuses signals to frozen containers
                    api.kill(life.id, signal.SIGCONT)  # waits in the freezer; tells the agent that time has passed
                api.unpause(life.id)
                self._paused.discard(pid)

    def make_mounts(self) -> None:
        """Nothing: a container has its own."""

    def fileno(self) -> int:
        """As Owner's."""
        return self._end_told

    def exited(self) -> list[Exit]:
        """As Owner's."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._end_told)
        if self._several and self._first.ended.done():
            raise OwnerError(f"{self.name}: the container that holds its network namespace ended")
        found = [pid for pid, life in self._lives.items() if pid not in self._reported and life.ended.done()]
        return [Exit(self.name, pid, self.wait(pid)) for pid in found]

    def wait(self, pid: int) -> int:
        """As Owner's."""
        self._reported.add(pid)
        return self._lives[pid].ended.result()

    def kill(self) -> None:
        """As Owner's."""
        for container in {id(each): each for each in (*self._lives.values(), self._first)}.values():
            removal = threading.Thread(target=container.remove, daemon=True)
            removal.start()
            self._removals.append(removal)

    def reap(self) -> None:
        """As Owner's."""
        for removal in self._removals:
            removal.join()
        if self._rtnl is not None:
            self._rtnl.close()
            self._rtnl = None
        self._boarding.close()
        os.close(self._end_told)


def _socket_in(netns: int) -> socket.socket:
    """A netlink socket in another network namespace."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(netns, CLONE_NEWNET)
        try:
            return Rtnl.open_socket()
        finally:
            syscalls.setns(own, CLONE_NEWNET)
    finally:
        os.close(own)


__all__ = ["WHAT", "ContainerOwner", "Containers"]
