"""The wires of a running fabric: veth pairs between owners of namespaces and bridges, over netlink. No Mininet in here.

    wiring = Wiring()
    wiring.add_host("host1", Holder("host1"))
    wiring.add_bridge("leaf1")
    near, far = wiring.connect(End("host1", "host1-eth0", mac), End("leaf1", "leaf1-eth1", other))
    near.impair(Impairment(delay_ns=5_000))
    wiring.settle()

Bridges forward on static entries and flood nothing, so that loops are harmless; ARP entries are static.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from testbed.engines.base import EngineUnavailable
from testbed.engines.live.netlink import requests
from testbed.engines.live.netlink.codec import Request
from testbed.engines.live.netlink.rtnl import LinkState, Rtnl, missing_in_kernel
from testbed.engines.live.owner import Owner
from testbed.topologies.impairment import CLEAN, Impairment, named
from testbed.topologies.netem import NetemParams, changed_params

NETEM_ADVICE = (
    "Use `--engine vkernel` (its own kernel has netem), or load the module: `modprobe sch_netem`, "
    "from linux-modules-extra-$(uname -r) where the distribution splits it off"
)
FIRST_SOURCE_FILTER = 2  # behind that of a mute
HOOKS = {"tx": requests.CLSACT_TX, "rx": requests.CLSACT_RX}
PATIENCE_S = 1.0
ATTEMPTS = 10
MANY_ENTRIES = 500  # of one switch; small fabrics, in the guest too, send all in one go


class End(NamedTuple):
    """One end of a wire to be made: whose NIC it is, what it is called, its address."""

    node: str
    nic: str
    mac: str


class Nic:
    """One end of a wire. index: its ifindex. bridge: that of the bridge whose port it is, 0 at a host.

    limit: the least room that its netem had so far. ever_lossy: whether it was ever asked to lose frames.
    """

    def __init__(self, end: End, index: int, wiring: Wiring, owner: Owner | None) -> None:
        self.node, self.name, self.mac = end
        self.ip = ""
        self.index = index
        self.owner = owner
        self.bridge = 0 if owner is not None else wiring.bridges[end.node]
        self.peer: Nic = self
        self.impairment = CLEAN
        self.has_netem = False
        self.ever_lossy = False
        self.limit = 0
        self._wiring = wiring
        self._had_table = False
        self._muted: set[str] = set()
        self._deaf_to: dict[str, int] = {}  # source address -> priority of its filter

    @property
    def rtnl(self) -> Rtnl:
        """The socket of the namespace it is in."""
        return self._wiring.rtnl if self.owner is None else self.owner.rtnl

    @property
    def netns(self) -> str:
        """Path of the network namespace it is in."""
        return f"/proc/{os.getpid()}/ns/net" if self.owner is None else self.owner.netns

    def do(self, *wanted: Request) -> None:
        """Sends requests now, in its namespace; links still pending come first."""
        self._wiring.rtnl.flush()
        self.rtnl.do(*wanted)

    def impair(self, impairment: Impairment) -> None:
        """What it sends is impaired so from the next flush on; what is queued stays queued."""
        if impairment.is_clean and not self.has_netem:
            return
        params = changed_params(impairment, self._had_table)
        if self.has_netem:
            self.rtnl.add(requests.netem_change(self.index, params))
        else:
            self._wiring.need_netem(impairment)
            self.rtnl.add(requests.netem_add(self.index, params))
        self.impairment = impairment
        self.limit = params.limit if not self.limit else min(self.limit, params.limit)
        self.has_netem = True
        self._had_table = self._had_table or params.table is not None
        self.ever_lossy = self.ever_lossy or bool(params.loss or params.gemodel)

    def mute(self, directions: Iterable[str]) -> None:
        """Drops silently what it sends ("tx") before it reaches netem, and what arrives ("rx")."""
        classifier = self._wiring.mute_classifier()
        for direction in sorted(set(directions) - self._muted):
            self.rtnl.add(requests.drop_filter(self.index, HOOKS[direction], classifier))
            self._muted.add(direction)
        self.rtnl.flush()

    def unmute(self) -> None:
        """Ends mute."""
        if self._muted:
            self.rtnl.do(*(requests.remove_filter(self.index, HOOKS[direction]) for direction in sorted(self._muted)))
            self._muted.clear()

    def deafen(self, sources: Iterable[str]) -> None:
        """Drops silently what arrives from these addresses."""
        self._wiring.need_source_filter()
        for mac in sorted(set(sources) - self._deaf_to.keys()):
            used = self._deaf_to.values()
            priority = next(number for number in range(FIRST_SOURCE_FILTER, 1 << 16) if number not in used)
            self.rtnl.add(requests.drop_filter(self.index, requests.CLSACT_RX, "bpf", priority, mac))
            self._deaf_to[mac] = priority
        self.rtnl.flush()

    def hear(self, sources: Iterable[str]) -> None:
        """Ends deafen to these addresses."""
        ended = [self._deaf_to.pop(mac) for mac in sorted(self._deaf_to.keys() & set(sources))]
        self.rtnl.do(*(requests.remove_filter(self.index, requests.CLSACT_RX, priority) for priority in ended))

    def down(self) -> None:
        """Takes it down, which empties its queue; its peer loses the carrier."""
        self.do(requests.link_down(self.index))

    def up(self) -> None:
        """Brings it up; ARP entries, which the kernel forgot as it went down, are there again."""
        self.do(requests.link_up(self.index))
        self._wiring.renew_arp(self)

    def set_mac(self, mac: str) -> None:
        """Gives it another address."""
        self.mac = mac
        self.do(requests.link_down(self.index), requests.set_mac(self.index, mac), requests.link_up(self.index))

    def state(self) -> LinkState:
        """As the kernel sees it now; asking has the kernel act on a changed carrier at once."""
        return self.rtnl.links([self.index])[0]


class Wiring:
    """What one fabric consists of: a netlink socket, interface indexes, hosts, bridges, wires.

    Indexes are unique over all namespaces of the fabric: the kernel handles carrier changes of a veth at once only
    when its index differs from its peer's (linkwatch_urgent_event), and captures need no look-up.
    """

    _count = 0

    def __init__(self) -> None:
        self.hosts: dict[str, Owner] = {}
        self.bridges: dict[str, int] = {}
        self.wires: list[tuple[Nic, ...]] = []
        self._ports: dict[str, dict[str, int]] = {}  # bridge -> its interfaces' indexes
        self._rtnl: Rtnl | None = None
        self._next_index = 0
        self._arp_set = False
        self._mute_classifier = ""
        self._netem_checked = False
        Wiring._count += 1
        self.group = (os.getpid() << 8 | Wiring._count & 0xFF) & 0x7FFFFFFF

    @property
    def rtnl(self) -> Rtnl:
        """The socket in the switches' namespace, which is that of this process."""
        if self._rtnl is None:
            self._rtnl = Rtnl.open()
            self._next_index = max((index for index, _ in socket.if_nameindex()), default=1) + 100
        return self._rtnl

    def nics(self) -> Iterator[Nic]:
        """All of them, wire by wire."""
        for wire in self.wires:
            yield from wire

    def nics_of(self, node: str) -> list[Nic]:
        """Those of one node, in the order in which they were wired."""
        return [nic for nic in self.nics() if nic.node == node]

    # -- building ----------------------------------------------------------------------------------------------------

    def add_host(self, name: str, owner: Owner) -> None:
        """A host whose namespaces are ``owner``'s; nothing is waited for."""
        self.hosts[name] = owner

    def add_bridge(self, name: str) -> None:
        """A bridge without ports."""
        self._ports[name] = {}
        self.bridges[name] = index = self._new_index()
        self.rtnl.add(*requests.bridge(name, index, self.group))

    def connect(self, first: End, second: End) -> tuple[Nic, Nic]:
        """A wire: each end is made in its node's namespace; ports of bridges are ports at once."""
        one, two = (Nic(end, self._new_index(), self, self.hosts.get(end.node)) for end in (first, second))
        one.peer, two.peer = two, one
        # Only the first of a pair can be made up and a port at once: of host and switch, that is the switch's.
        dev, peer = (two, one) if two.bridge and not one.bridge else (one, two)
        made = requests.veth(_veth_end(dev), _veth_end(peer), self.group)
        if peer.bridge:
            made.append(requests.enslave(peer.index, peer.bridge))
        made += [requests.static_port(nic.index) for nic in (dev, peer) if nic.bridge]
        self.rtnl.add(*made)
        for nic in (one, two):  # what hosts' NICs get is sent after what is pending in the switches' namespace
            if nic.owner is not None:
                nic.rtnl.add(requests.filter_hooks(nic.index, optional=True))
            else:
                self._ports[nic.node][nic.name] = nic.index
        if not peer.bridge:
            peer.rtnl.add(requests.link_up(peer.index))  # last: hooks of a NIC that is up wait for readers to be done
        self.wires.append((one, two))
        return one, two

    def carry(self, end: End, carrier: requests.Carrier, underlay: Rtnl) -> Nic:
        """The end of a link whose other end is on another machine. underlay: a socket in this machine's own network."""
        nic = Nic(end, self._new_index(), self, self.hosts.get(end.node))
        self.rtnl.flush()
        home = requests.Home(pid=os.getpid()) if nic.owner is None else nic.owner.home
        underlay.do(requests.vxlan(requests.VethEnd(nic.name, nic.mac, nic.index, home), carrier, self.group))
        if nic.bridge:
            self.rtnl.add(requests.enslave(nic.index, nic.bridge), requests.static_port(nic.index))
            self._ports[nic.node][nic.name] = nic.index
        else:
            nic.rtnl.add(requests.link_up(nic.index), requests.filter_hooks(nic.index, optional=True))
        self.wires.append((nic,))
        return nic

    def forward(self, switch: str, entries: dict[str, str]) -> None:
        """Static forwarding of a bridge: destination address -> its interface."""
        self.rtnl.add(*requests.forwarding(self._ports[switch], entries))
        if len(entries) > MANY_ENTRIES:
            self.rtnl.flush()  # hundreds of thousands at once would be a burden to whoever looks for garbage

    def settle(self) -> None:
        """Sends what is pending everywhere and has the kernel finish with carriers, so that every port forwards."""
        self.rtnl.flush()
        for owner in self.hosts.values():
            owner.rtnl.flush()
        self.rtnl.settle_carriers([nic.index for nic in self.nics() if nic.owner is None])
        there: dict[str, list[int]] = {name: [] for name in self.hosts}
        for nic in self.nics():
            if nic.owner is not None:
                there[nic.node].append(nic.index)
        for name, owner in self.hosts.items():
            owner.rtnl.settle_carriers(there[name])

    def _new_index(self) -> int:
        _ = self.rtnl
        self._next_index += 1
        return self._next_index

    # -- addresses ---------------------------------------------------------------------------------------------------

    def set_arp(self) -> None:
        """Static ARP entries of every host for every other: nothing is flooded, so nobody could answer a request."""
        if not self._arp_set:
            self._arp_set = True
            for nic in self._first_nics():
                nic.rtnl.do(*self._entries(nic))

    def renew_arp(self, nic: Nic) -> None:
        """Entries of a host's first NIC anew, for the kernel forgets them when a NIC goes down."""
        if self._arp_set and nic in self._first_nics():
            nic.rtnl.do(*self._entries(nic))

    def forget_arp(self) -> None:
        """The next set_arp finds entries for those hosts that are there then."""
        self._arp_set = False

    def _first_nics(self) -> list[Nic]:
        first: dict[str, Nic] = {}
        for nic in self.nics():
            if nic.owner is not None:
                first.setdefault(nic.node, nic)
        return list(first.values())

    def _entries(self, nic: Nic) -> list[Request]:
        others = (other for other in self.nics() if other.owner is not None and other.node != nic.node and other.ip)
        return [requests.neighbour(nic.index, other.ip, other.mac) for other in others]

    # -- what the kernel has -----------------------------------------------------------------------------------------

    def need_netem(self, impairment: Impairment) -> None:
        """Raises EngineUnavailable when the kernel has no netem for this; asks once."""
        if not self._netem_checked:
            netem_available(named([impairment]))
            self._netem_checked = True

    def mute_classifier(self) -> str:
        """Which filter can drop here: "bpf" or, where that is missing, "matchall"."""
        if not self._mute_classifier:
            reasons = []
            for classifier in ("bpf", "matchall"):
                drop = requests.drop_filter(1, requests.CLSACT_TX, classifier)
                reason = missing_in_kernel(requests.filter_hooks(1), drop)
                if not reason:
                    self._mute_classifier = classifier
                    return classifier
                reasons.append(reason)
            raise EngineUnavailable(
                "muting a NIC",
                f"this kernel has no filter that drops frames ({'; '.join(reasons)})",
                "Use `--engine vkernel`, or a kernel with CONFIG_NET_CLS_BPF or CONFIG_NET_ACT_GACT",
            )
        return self._mute_classifier

    def need_source_filter(self) -> None:
        """Raises EngineUnavailable when no filter here can tell frames' sources apart."""
        if self.mute_classifier() != "bpf":
            raise EngineUnavailable(
                "a partition",
                "this kernel has no filter that drops the frames of one source",
                "Use `--engine vkernel`, or a kernel with CONFIG_NET_CLS_BPF",
            )

    # -- taking down -------------------------------------------------------------------------------------------------

    def remove_wire(self, nic: Nic) -> None:
        """Deletes a NIC, and with it the other end of its wire."""
        self.wires = [wire for wire in self.wires if nic not in wire]
        for end in (nic, nic.peer):
            if end.bridge:
                self._ports[end.node].pop(end.name, None)
        nic.do(requests.delete(nic.index))

    def remove_host(self, name: str) -> None:
        """Ends everything in one host."""
        owner = self.hosts.pop(name, None)
        if owner is not None:
            self.forget_arp()
            owner.kill()
            owner.reap()

    def remove_bridge(self, name: str) -> None:
        """Deletes one bridge; its ports stay, and lead nowhere."""
        del self._ports[name]
        self.rtnl.do(requests.delete(self.bridges.pop(name)))

    def remove_wires(self) -> None:
        """Deletes bridges and wires in one go."""
        if self._rtnl is not None:
            self._rtnl.do(requests.delete_group(self.group))
        self.bridges.clear()
        self._ports.clear()
        self.wires.clear()

    def end_hosts(self) -> None:
        """SIGKILL for everything that lives in a host, then waits until it is gone."""
        owners = list(self.hosts.values())
        self.hosts.clear()
        self.forget_arp()
        spaces = {space for space in (_netns_id(owner.netns) for owner in owners) if space is not None}
        for owner in owners:
            owner.kill()
        for owner in owners:
            owner.reap()
        kill_inhabitants(spaces)

    def close(self) -> None:
        """Everything, and the socket."""
        try:
            self.remove_wires()
        finally:
            self.end_hosts()
            if self._rtnl is not None:
                self._rtnl.close()
                self._rtnl = None


def netem_available(asked: str) -> None:
    """Raises EngineUnavailable when the kernel has no netem. Asks it in a throwaway network namespace. asked: what it
    is wanted for, in words."""
    reason = missing_in_kernel(requests.netem_add(1, NetemParams()))
    if reason:
        why = f"this kernel has no netem ({reason})"
        raise EngineUnavailable(f"engine live with {asked}", why, NETEM_ADVICE)


def _veth_end(nic: Nic) -> requests.VethEnd:
    if nic.owner is None:
        return requests.VethEnd(nic.name, nic.mac, nic.index, master=nic.bridge)
    _ = nic.owner.rtnl  # its namespace stands
    return requests.VethEnd(nic.name, nic.mac, nic.index, nic.owner.home)


def _netns_id(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def kill_inhabitants(spaces: set[int]) -> None:
    """Ends what users' commands left behind in hosts' namespaces; what was spawned dies with its holder anyway.

    One that starts another is found again; one that SIGKILL does not end is named, and left to the kernel.
    """
    for _ in range(ATTEMPTS):
        found = [
            int(name) for name in os.listdir("/proc") if name.isdigit() and _netns_id(f"/proc/{name}/ns/net") in spaces
        ]
        if not found:
            return
        for pid in found:
            _kill_and_wait(pid)
    left = ", ".join(f"process {pid} ({_command(pid)})" for pid in found)
    print(
        f"testbed: {left} does not end on SIGKILL and keeps the network namespace of a host; "
        "the kernel ends it with what it waits for (see /proc/<pid>/wchan)",
        file=sys.stderr,
    )


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"


def _kill_and_wait(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        with suppress(OSError):  # not ours to kill, or gone
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], PATIENCE_S)
        with suppress(OSError):  # not a child of ours
            os.waitpid(pid, os.WNOHANG)
    finally:
        os.close(descriptor)
