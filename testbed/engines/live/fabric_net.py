"""A fabric brought to life: up, down, processes in hosts, impairments and NIC faults while it runs.

    with FabricNet(plan.fabric) as fabric_net:
        pid = fabric_net.spawn("host1", "testbed.nodes.agent:run", {"node": 0})
        fabric_net.set_impairment(3, "ab", worse)
        fabric_net.nic_mute("host3", "host3-eth0")

Runs inside namespaces of its own (testbed.engines.live.isolation) or inside the guest of the virtual-time kernel;
both look the same from here. Everything is synchronous and single-threaded, and nothing is drawn or slept for, so that
a run in virtual time stays a function of its seed.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from testbed.engines.live.holder import Holder
from testbed.engines.live.limits import allow_files
from testbed.engines.live.netlink import requests
from testbed.engines.live.netlink.rtnl import Rtnl
from testbed.engines.live.owner import Exit, MakeOwner, Owner
from testbed.engines.live.wires import End, Nic, Wiring
from testbed.topologies.fabric import Fabric, Link, LinkEnd
from testbed.topologies.impairment import Impairment
from testbed.topologies.tables import LEAST_DELAY_NS

if TYPE_CHECKING:
    from testbed.engines.live.machines.part import Part

WAYS = ("ab", "ba")
MUTE_DIRECTIONS = {"both": ("tx", "rx"), "tx": ("tx",), "rx": ("rx",)}


class Interface(NamedTuple):
    """One NIC of the running fabric, as a capture needs it.

    netns: path of the network namespace (``/proc/<pid>/ns/net``; setns(2) to it, then open the socket on ``ifindex``).
    link, end: which link of the fabric it is an end of, "a" or "b".
    """

    node: str
    nic: str
    ifindex: int
    netns: str
    link: int
    end: str


class QueueCount(NamedTuple):
    """What went through one NIC's netem, in frames. lossy: whether loss was asked for at any time.

    sent left it, backlog are inside; dropped is the kernel's one count of both those lost as asked and those for which
    there was no room.
    """

    sent: int
    backlog: int
    dropped: int
    lossy: bool


class FabricNet:
    """A running fabric, or a part of it; a context manager. make_owner: what is to hold the hosts' namespaces (see
    owner.py). part: what of it is on this machine (default: all)."""

    def __init__(self, fabric: Fabric, make_owner: MakeOwner = Holder, part: Part | None = None) -> None:
        self.fabric = fabric
        self._make_owner = make_owner
        self._part = part
        self._wiring: Wiring | None = None
        self._pids: dict[int, str] = {}
        self._forwarding = fabric.forwarding
        self._nics: dict[tuple[str, str], Nic] = {}

    def start(self) -> None:
        """Brings everything up. Raises EngineUnavailable when the fabric asks for netem and the kernel has none, or for
        more files or processes than we may have.

        A host's process is forked from the calling process with its first ``spawn``: what that has in memory by then
        (imported modules, shared anonymous mmaps in module globals) is what spawned functions find.
        """
        if self._wiring is not None:
            raise RuntimeError("the fabric is up already")
        allow_files(len(self.fabric.hosts))
        self._wiring = self._bring_up()
        self._nics = {(nic.node, nic.name): nic for nic in self._wiring.nics()}

    def _bring_up(self) -> Wiring:
        """Everything up; nothing is left when that fails."""
        wiring = Wiring()
        try:
            for host in filter(self.is_here, self.fabric.hosts):
                wiring.add_host(host, self._make_owner(host))
            for switch in filter(self.is_here, self.fabric.switches):
                wiring.add_bridge(switch)
            for index, link in enumerate(self.fabric.links):
                self._connect(wiring, index, link)
            for owner in wiring.hosts.values():
                owner.rtnl.add(requests.link_up(1))
            for switch in wiring.bridges:
                wiring.forward(switch, self.fabric.forwarding.get(switch, {}))
            wiring.settle()
        except BaseException:
            wiring.close()
            raise
        return wiring

    def is_here(self, node: str) -> bool:
        """Whether a node is on this machine."""
        return self._part is None or node in self._part.nodes

    def _connect(self, wiring: Wiring, index: int, link: Link) -> None:
        """Makes what is here of a link."""
        here = [
            (End(end.node, end.nic, end.mac), impairment)
            for end, impairment in ((link.a, link.ab), (link.b, link.ba))
            if self.is_here(end.node)
        ]
        if len(here) == 2:
            nics: tuple[Nic, ...] = wiring.connect(here[0][0], here[1][0])
        elif here and self._part is not None:
            with socket.socket(fileno=os.dup(self._part.underlay)) as underlay:
                nics = (wiring.carry(here[0][0], self._part.carriers[index], Rtnl(underlay)),)
        else:
            return
        for nic, (_, impairment) in zip(nics, here, strict=True):
            nic.impair(impairment)

    def stop(self) -> None:
        """Ends every process in every host (SIGKILL) and removes every interface. Safe to call twice."""
        wiring, self._wiring = self._wiring, None
        self._nics.clear()
        self._pids.clear()
        if wiring is not None:
            wiring.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def spawn(self, host: str, target: str, payload: dict[str, Any], fds: Sequence[int] = ()) -> int:
        """Runs ``target`` ("module:function") inside the host's namespaces; returns its id.

        The function is called as ``function(payload, fds)`` in a process that the host's owner starts;
        ``fds`` are duplicates of the given descriptors (passed with SCM_RIGHTS, in the same order). Its return value
        (int or None) is the exit code; an exception prints its traceback to stderr and gives 1.
        """
        pid = self._host(host).spawn(target, payload, fds)
        self._pids[pid] = host
        return pid

    def netns(self, host: str) -> str:
        """Path of the host's network namespace."""
        return self._host(host).netns

    def exit_fd(self, host: str) -> int:
        """A descriptor that polls readable when ``exited`` may have something to report about ``host``."""
        return self._host(host).fileno()

    def exited(self) -> list[Exit]:
        """Processes that ended since the last call; does not block. Raises OwnerError when a host is gone itself."""
        return [end for host in filter(self.is_here, self.fabric.hosts) for end in self._host(host).exited()]

    def wait(self, pid: int) -> int:
        """Blocks until ``pid`` (from ``spawn``) has ended; its status as in Exit. It no longer shows up in exited()."""
        if pid not in self._pids:
            raise ValueError(f"process {pid} was not spawned here")
        return self._host(self._pids[pid]).wait(pid)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Kills, stops or continues what ``spawn`` started, as its host's owner does that."""
        self._host(self._pids[pid]).signal(pid, number)

    def set_impairment(self, link: int, way: str, impairment: Impairment) -> None:
        """Live change of one direction ("ab" or "ba") of ``fabric.links[link]``; what is queued stays queued.

        A direction that was clean gets its queue here; one that becomes clean keeps an empty netem (delay 0). netem
        can't forget a delay table: see testbed.topologies.netem.changed_params for what a return to uniform means.
        """
        nic = self.sender(link, way)
        nic.impair(impairment)
        nic.rtnl.flush()

    def delay_clean_directions(self) -> None:
        """Gives every direction without an impairment a netem of LEAST_DELAY_NS, the least that any other one has.

        For virtual time, where a frame would cross such a link within the instant at which it was sent, and then what
        happens would depend on the order in which the kernel runs the processes that wake at one instant.
        """
        bare = [nic for nic in self._nics.values() if not nic.has_netem]
        for nic in bare:
            nic.impair(Impairment(delay_ns=LEAST_DELAY_NS))
        for rtnl in {id(nic.rtnl): nic.rtnl for nic in bare}.values():
            rtnl.flush()

    def sender(self, link: int, way: str) -> Nic:
        """The NIC whose netem impairs one direction of a link."""
        end = self._sending(link, way)
        return self._nics[end.node, end.nic]

    def sends_here(self, link: int, way: str) -> bool:
        """Whether the NIC whose netem impairs one direction of a link is on this machine."""
        return self.is_here(self._sending(link, way).node)

    def _sending(self, link: int, way: str) -> LinkEnd:
        both = self.fabric.links[link]
        return (both.a, both.b)[WAYS.index(way)]

    def nic_down(self, host: str, nic: str) -> None:
        """Carrier lost: frames on the wire of that link, both directions, are lost.

        The NIC itself goes down: sends give ENETDOWN, and every socket bound to it is told ENETDOWN once, at its next
        send or receive, even after nic_up. The peer stays up without carrier; what it sends vanishes without an error
        and without taking draws. Forwarding entries stay.
        """
        near = self._nic(host, nic)
        near.down()
        # Asking for its state has the kernel act on the lost carrier now, not when its worker runs: the queue is
        # emptied and the bridge's port closed before this returns.
        near.peer.state()

    def nic_up(self, host: str, nic: str) -> None:
        """Carrier back, the same addresses and forwarding; frames pass when this returns."""
        near = self._nic(host, nic)
        near.up()
        near.state()
        near.peer.state()

    def reroute(self, forwarding: dict[str, dict[str, str]]) -> None:
        """Other forwarding tables, which name no address that the fabric's own do not."""
        if self._wiring is None:
            raise RuntimeError("the fabric is not up")
        for switch, entries in forwarding.items():
            known = self._forwarding.get(switch, {})
            changed = {mac: nic for mac, nic in entries.items() if known.get(mac) != nic}
            if changed and self.is_here(switch):
                self._wiring.forward(switch, changed)
        self._wiring.rtnl.flush()
        self._forwarding = forwarding

    def nic_mute(self, host: str, nic: str, direction: str = "both") -> None:
        """The NIC silently drops what it would send ("tx"), what arrives ("rx"), or both. Carrier stays.

        Frames already handed to the wire (in the delay line of either end) go on. What is dropped on the way out never
        reaches netem, so it takes no draws, and its sender gets no error; what is dropped on arrival has passed netem
        at its sender. It is dropped before sockets bound to one EtherType get it; those that take everything
        (ETH_P_ALL, as captures do) still see it arrive: agents must bind to their own EtherType.
        """
        self._nic(host, nic).mute(MUTE_DIRECTIONS[direction])

    def nic_unmute(self, host: str, nic: str) -> None:
        """Ends nic_mute, whatever its direction."""
        self._nic(host, nic).unmute()

    def nic_deaf(self, host: str, nic: str, peers: Sequence[str]) -> None:
        """The NIC silently drops, on arrival, what comes from these hosts; captures still see it (see nic_mute)."""
        self._nic(host, nic).deafen(self._addresses(peers))

    def nic_hear(self, host: str, nic: str, peers: Sequence[str] = ()) -> None:
        """Ends nic_deaf to these hosts, or to all."""
        self._nic(host, nic).hear(self._addresses(peers or self.fabric.hosts))

    def _addresses(self, hosts: Sequence[str]) -> list[str]:
        ends = (end for link in self.fabric.links for end in (link.a, link.b))
        return [end.mac for end in ends if end.node in hosts]

    def queues(self) -> dict[str, QueueCount]:
        """Interface -> what went through its netem. Interfaces without netem are left out."""
        counts: dict[str, QueueCount] = {}
        for rtnl in {id(nic.rtnl): nic.rtnl for nic in self._nics.values() if nic.has_netem}.values():
            found = {stats.ifindex: stats for stats in rtnl.qdiscs() if stats.kind == "netem"}
            for nic in self._nics.values():
                if nic.rtnl is rtnl and nic.index in found:
                    stats = found[nic.index]
                    counts[nic.name] = QueueCount(stats.packets, stats.backlog, stats.drops, nic.ever_lossy)
        return counts

    def qdisc_drops(self) -> dict[str, int]:
        """Interface -> frames its netem dropped because ``limit`` was reached. Interfaces without netem are left out.

        Where loss was asked for, the kernel's counter can't tell the two kinds apart: such interfaces are left out as
        well (see ``queues`` for them), unless fewer frames came through than ``limit`` lets in, which rules it out: 0.
        """
        drops: dict[str, int] = {}
        limits = {nic.name: nic.limit for nic in self._nics.values()}
        for name, count in self.queues().items():
            if not count.lossy:
                drops[name] = count.dropped
            elif count.sent + count.backlog < limits[name]:
                drops[name] = 0
        return drops

    def interfaces(self) -> list[Interface]:
        """Every NIC that is here, in the order of the fabric's links, end a before end b."""
        listed = []
        for place, link in enumerate(self.fabric.links):
            for end, letter in ((link.a, "a"), (link.b, "b")):
                if not self.is_here(end.node):
                    continue
                nic = self._nics[end.node, end.nic]
                listed.append(Interface(end.node, end.nic, nic.index, nic.netns, place, letter))
        return listed

    def _host(self, name: str) -> Owner:
        if self._wiring is None:
            raise RuntimeError("the fabric is not up")
        try:
            return self._wiring.hosts[name]
        except KeyError:
            raise ValueError(f"no host {name!r} in fabric {self.fabric.name}") from None

    def _nic(self, host: str, nic: str) -> Nic:
        try:
            return self._nics[host, nic]
        except KeyError:
            raise ValueError(f"no NIC {nic!r} at {host!r} in fabric {self.fabric.name}") from None
