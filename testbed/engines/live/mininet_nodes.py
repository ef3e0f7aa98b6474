"""Hosts, switches and links for Mininet that need no shell, no mnexec and no command per interface.

    Mininet(topo=LeafSpine(2, 4, 2), host=HeldHost, switch=StaticBridge, link=ImpairedLink, controller=None)

A HeldHost's namespaces are held by a process forked from this one; a shell comes up in them when the first command is
run (Mininet's CLI, ``host.cmd``, ``host.popen``). A StaticBridge is a Linux bridge that forwards on static shortest
paths and floods nothing, so that loops are harmless; ARP entries are static. An ImpairedLink has an Impairment per
direction, through netem.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Node, Switch
from mininet.topo import Topo

from testbed.engines.base import EngineUnavailable
from testbed.engines.live import netlink, syscalls
from testbed.engines.live.holder import Holder
from testbed.engines.live.netlink import LinkState, NetlinkError, Rtnl, VethEnd
from testbed.plan import derive_seed
from topologies.fabric import Fabric, LinkEnd
from topologies.fabric import Link as FabricLink
from topologies.impairment import CLEAN, Impairment
from topologies.netem import NetemParams, changed_params
from topologies.options import link_impairments

NETEM_ADVICE = (
    "Use `--engine vkernel` (its own kernel has netem), or load the module: `modprobe sch_netem`, "
    "from linux-modules-extra-$(uname -r) where the distribution splits it off"
)
PATIENCE_S = 1.0
ATTEMPTS = 10
HOOKS = {"tx": netlink.CLSACT_TX, "rx": netlink.CLSACT_RX}


class Wiring:
    """What the nodes of one network share: a netlink socket, interface indexes, and who is there.

    Indexes are unique over all namespaces of the network: the kernel handles carrier changes of a veth at once only
    when its index differs from its peer's (linkwatch_urgent_event), and captures need no look-up.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, HeldHost] = {}
        self.bridges: dict[str, StaticBridge] = {}
        self.links: list[ImpairedLink] = []
        self._rtnl: Rtnl | None = None
        self._next_index = 0
        self._arp_set = False
        self._mute_classifier = ""
        self._netem_checked = False
        Wiring._count += 1
        self.group = (os.getpid() << 8 | Wiring._count & 0xFF) & 0x7FFFFFFF

    _count = 0

    @property
    def rtnl(self) -> Rtnl:
        """The socket in the switches' namespace, which is that of this process."""
        if self._rtnl is None:
            self._rtnl = Rtnl.open()
            self._next_index = max((index for index, _ in socket.if_nameindex()), default=1) + 100
        return self._rtnl

    def new_index(self) -> int:
        """The next interface index."""
        _ = self.rtnl
        self._next_index += 1
        return self._next_index

    def settle(self) -> None:
        """Sends what is pending everywhere and has the kernel finish with carriers, so that every port forwards."""
        self.rtnl.flush()
        for host in self.hosts.values():
            host.rtnl.flush()
        ports: list[int] = []
        for link in self.links:
            for nic in link.nics:
                if nic.in_root:
                    ports.append(nic.index)
        self.rtnl.settle_carriers(ports)
        for host in self.hosts.values():
            host.rtnl.settle_carriers([nic.index for nic in host.nics])

    def set_arp(self) -> None:
        """Static ARP entries of every host for every other: nothing is flooded, so nobody could answer a request."""
        if self._arp_set:
            return
        self._arp_set = True
        for host in self.hosts.values():
            host.add_arp_entries()

    def addresses(self) -> Iterable[tuple[str, str]]:
        """(IP, MAC) of every NIC of every host that has both."""
        for host in self.hosts.values():
            for nic in host.nics:
                if nic.ip and nic.mac:
                    yield nic.ip, nic.mac

    def forget_arp(self) -> None:
        """The next command finds entries for those hosts that are there then."""
        self._arp_set = False

    @property
    def arp_is_set(self) -> bool:
        """Whether set_arp has been called."""
        return self._arp_set

    def need_netem(self) -> None:
        """Raises EngineUnavailable when the kernel has no netem; asks once."""
        if not self._netem_checked:
            netem_available()
            self._netem_checked = True

    def mute_classifier(self) -> str:
        """Which filter can drop here: "bpf" or, where that is missing, "matchall"."""
        if not self._mute_classifier:
            reasons = []
            for classifier in ("bpf", "matchall"):
                drop = netlink.drop_filter(1, netlink.CLSACT_TX, classifier)
                reason = netlink.missing_in_kernel(netlink.filter_hooks(1), drop)
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

    def remove_links(self) -> None:
        """Deletes bridges and links in one go."""
        if self._rtnl is not None:
            self._rtnl.do(netlink.delete_group(self.group))
        self.bridges.clear()
        self.links.clear()

    def end_hosts(self) -> None:
        """SIGKILL for everything that lives in a host, then waits until it is gone."""
        hosts = list(self.hosts.values())
        self.hosts.clear()
        self._arp_set = False
        spaces = {space for space in (_netns_id(host.holder.pid) for host in hosts) if space is not None}
        for host in hosts:
            host.holder.kill()
        for host in hosts:
            host.close_shell()
            host.holder.reap()
        _kill_inhabitants(spaces)

    def close(self) -> None:
        """Everything, and the socket."""
        try:
            self.remove_links()
        finally:
            self.end_hosts()
            if self._rtnl is not None:
                self._rtnl.close()
                self._rtnl = None


def _netns_id(pid: int | str) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


def _kill_inhabitants(spaces: set[int]) -> None:
    """Ends what users' commands left behind in hosts' namespaces; what was spawned dies with its holder anyway.

    One that starts another is found again; one that SIGKILL does not end is named, and left to the kernel.
    """
    for _ in range(ATTEMPTS):
        found = [int(name) for name in os.listdir("/proc") if name.isdigit() and _netns_id(name) in spaces]
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


_plain_use = Wiring()  # for nodes made without one, as Mininet itself and `mn` make them


def netem_available() -> None:
    """Raises EngineUnavailable when the kernel has no netem. Asks it in a throwaway network namespace."""
    reason = netlink.missing_in_kernel(netlink.netem_add(1, NetemParams()))
    if reason:
        why = f"this kernel has no netem ({reason})"
        raise EngineUnavailable("engine live with jitter, delay or loss", why, NETEM_ADVICE)


# --- interfaces and links ---------------------------------------------


class NetlinkIntf(Intf):  # type: ignore[misc]
    """A Mininet interface that is set up over netlink. index: its ifindex (0 for ``lo`` of a switch)."""

    node: Any
    link: Any
    name: str
    mac: str | None
    ip: str | None
    prefixLen: str | None  # noqa: N815

    def __init__(self, name: str, node: Any = None, index: int = 0, **params: Any) -> None:
        self.index = index
        self.impairment = CLEAN
        self.had_table = False
        self.has_netem = False
        self.ever_lossy = False
        self.limit = 0
        self.muted: set[str] = set()
        super().__init__(name, node=node, **params)

    @property
    def in_root(self) -> bool:
        """Whether it is in the switches' namespace."""
        return not isinstance(self.node, HeldHost)

    @property
    def rtnl(self) -> Rtnl:
        """The socket of the namespace it is in."""
        socket_there: Rtnl = self.node.rtnl
        return socket_there

    def do(self, *requests: netlink.Request) -> None:
        """Sends requests now, in its namespace; links still pending come first."""
        self.node.wiring.rtnl.flush()
        self.rtnl.do(*requests)

    def impair(self, impairment: Impairment) -> None:
        """What it sends is impaired so from the next flush on; what is queued stays queued."""
        if impairment.is_clean and not self.has_netem:
            return
        params = changed_params(impairment, self.had_table)
        if self.has_netem:
            self.rtnl.add(netlink.netem_change(self.index, params))
        else:
            self.node.wiring.need_netem()
            self.rtnl.add(netlink.netem_add(self.index, params))
        self.impairment = impairment
        self.limit = params.limit if not self.limit else min(self.limit, params.limit)
        self.has_netem = True
        self.had_table = self.had_table or params.table is not None
        self.ever_lossy = self.ever_lossy or bool(params.loss or params.gemodel)

    def mute(self, directions: Iterable[str], classifier: str) -> None:
        """Drops silently what it sends ("tx") before it reaches netem, and what arrives ("rx")."""
        for direction in sorted(set(directions) - self.muted):
            self.rtnl.add(netlink.drop_filter(self.index, HOOKS[direction], classifier))
            self.muted.add(direction)
        self.rtnl.flush()

    def unmute(self) -> None:
        """Ends mute."""
        if self.muted:
            self.rtnl.do(*(netlink.remove_filters(self.index, HOOKS[direction]) for direction in sorted(self.muted)))
            self.muted.clear()

    def state(self) -> LinkState:
        """As the kernel sees it now."""
        return self.rtnl.links([self.index])[0]

    # What Mininet calls:

    def config(self, mac: str | None = None, ip: str | None = None, **_params: Any) -> dict[str, Any]:
        """Only what has been given and is not so already. Links bring their ends up themselves."""
        results: dict[str, Any] = {}
        self.setParam(results, "setMAC", mac=mac if mac != self.mac else None)
        self.setParam(results, "setIP", ip=ip)
        return results

    def setMAC(self, macstr: str) -> str:  # noqa: N802 - Mininet's name, like those below
        """Gives it another address."""
        if macstr.lower() != (self.mac or "").lower():
            self.mac = macstr
            self.do(netlink.link_down(self.index), netlink.set_mac(self.index, macstr), netlink.link_up(self.index))
        return ""

    def setIP(self, ipstr: str, prefixLen: int | str | None = None) -> str:  # noqa: N802, N803
        """An address, as "10.0.0.1/8" or with the prefix apart."""
        ip, _slash, prefix = ipstr.partition("/")
        length = prefix or prefixLen
        if length is None:
            raise ValueError(f"no prefix length for the address {ipstr}")
        self.ip, self.prefixLen = ip, str(length)
        self.rtnl.add(netlink.address(self.index, ip, int(length)))
        return ""

    def isUp(self, setUp: bool = False) -> bool:  # noqa: N802
        """Whether it is up; brings it up first when asked to."""
        if setUp:
            self.do(netlink.link_up(self.index))
        return self.name == "lo" or bool(self.state().flags & netlink.IFF_UP)

    def ifconfig(self, *args: Any) -> str:
        """``up`` and ``down`` (Mininet's ``link a b down``); anything else shows the interface."""
        if args in (("up",), ("down",)):
            change = netlink.link_up if args == ("up",) else netlink.link_down
            self.do(change(self.index))
            return ""
        return str(self.cmd("ip", "addr", "show", "dev", self.name))

    def updateIP(self) -> str | None:  # noqa: N802
        """What it was given."""
        return self.ip

    def updateMAC(self) -> str | None:  # noqa: N802
        """What it was given."""
        return self.mac

    def updateAddr(self) -> tuple[str | None, str | None]:  # noqa: N802
        """What it was given."""
        return self.ip, self.mac

    def status(self) -> str:
        """OK or MISSING, for the CLI's ``links``."""
        try:
            return "OK" if self.state().name == self.name else "MISSING"
        except NetlinkError:
            return "MISSING"

    def delete(self) -> None:
        """Deletes it, and with it the other end of its pair."""
        try:
            self.do(netlink.delete(self.index))
        finally:
            self.node.delIntf(self)
            self.link = None


_FROM_MININET = ("port1", "port2", "intfName1", "intfName2", "params1", "params2")


class ImpairedLink(Link):  # type: ignore[misc]
    """A veth pair; ``ab`` impairs what node1 sends to node2, ``ba`` the way back.

    Options of Mininet's TCLink and fields of Impairment may be given instead, for both directions (``mn --link
    impaired,delay_ns=5000``; see topologies/options.py); a seed is then derived per direction. index: the link's place
    in its fabric, -1 when there is none.
    """

    intf1: Any
    intf2: Any

    def __init__(
        self,
        node1: Any,
        node2: Any,
        ab: Impairment | None = None,
        ba: Impairment | None = None,
        index: int = -1,
        addr1: str | None = None,
        addr2: str | None = None,
        **params: Any,
    ) -> None:
        self.index = index
        own = {name: params.pop(name) for name in list(params) if name not in _FROM_MININET}
        ends = {name: params.pop(name, None) for name in ("params1", "params2")}
        impairments = link_impairments(f"{node1}<->{node2}", {**own, **ends, "ab": ab, "ba": ba})
        params["intf"] = NetlinkIntf
        # Addresses that nodes were promised (``mac``) come before those that Mininet draws at random.
        addr1, addr2 = _promised_mac(node1) or addr1, _promised_mac(node2) or addr2
        wiring: Wiring = node1.wiring
        self._indexes = wiring.new_index(), wiring.new_index()
        params["params1"], params["params2"] = ({"index": index} for index in self._indexes)
        super().__init__(node1, node2, addr1=addr1, addr2=addr2, fast=True, **params)
        wiring.links.append(self)
        for nic in self.nics:
            if not nic.in_root:
                nic.rtnl.add(netlink.filter_hooks(nic.index, optional=True))
        for nic, whole, impairment in zip(self.nics, (ab, ba), impairments, strict=True):
            nic.impair(whole or impairment.with_seed(derive_seed(impairment.seed, nic.name)))

    @property
    def nics(self) -> tuple[NetlinkIntf, NetlinkIntf]:
        """Both ends: node1's, node2's."""
        return self.intf1, self.intf2

    def makeIntfPair(  # noqa: N802
        self,
        intfname1: str,
        intfname2: str,
        addr1: str | None = None,
        addr2: str | None = None,
        node1: Any = None,
        node2: Any = None,
        deleteIntfs: bool = True,  # noqa: ARG002, N803
    ) -> None:
        """Each end is made in its node's namespace; ports of bridges are ports at once."""
        first = _veth_end(node1, intfname1, addr1, self._indexes[0])
        second = _veth_end(node2, intfname2, addr2, self._indexes[1])
        wiring: Wiring = node1.wiring
        dev, peer, peer_node = (second, first, node1) if second.master and not first.master else (first, second, node2)
        requests = netlink.veth(dev, peer, wiring.group)
        if peer.master:
            requests.append(netlink.enslave(peer.ifindex, peer.master))
        requests += [netlink.static_port(end.ifindex) for end in (dev, peer) if end.master]
        wiring.rtnl.add(*requests)
        if peer.pid:
            peer_node.rtnl.add(netlink.link_up(peer.ifindex))  # sent after what is pending in the switches' namespace
        elif not peer.master:
            wiring.rtnl.add(netlink.link_up(peer.ifindex))

    def delete(self) -> None:
        """Both ends go together."""
        if self.intf1 is not None:
            self.intf1.delete()
            self.intf2.node.delIntf(self.intf2)
            self.intf1 = self.intf2 = None

    def stop(self) -> None:
        """Nothing: Mininet stops switches and hosts next, which takes all links at once."""


def _promised_mac(node: Any) -> str | None:
    """The address asked for a host, for its first NIC."""
    first = isinstance(node, HeldHost) and not node.intfs
    return node.params.get("mac") if first else None


def _veth_end(node: Any, name: str, mac: str | None, index: int) -> VethEnd:
    address = mac or Mininet.randMac()
    if isinstance(node, HeldHost):
        _ = node.rtnl  # its namespace stands
        return VethEnd(name, address, index, pid=node.holder.pid)
    return VethEnd(name, address, index, master=node.index if isinstance(node, StaticBridge) else 0)


# --- nodes ---------------------------------------------


class _ShellOnDemand(Node):  # type: ignore[misc]
    """A Mininet node whose shell starts with the first command that is given to it."""

    isSetup = True  # noqa: N815 - mnexec and ifconfig are not needed
    pid: int
    wiring: Wiring

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: ARG002, N802
        """Later: see open_shell."""
        self.shell = None

    def open_shell(self) -> None:
        """A bash inside the node's namespaces, on a pseudo-terminal of its own."""
        if self.shell is None:
            keep = self.pid
            super().startShell()
            self.pid = keep

    def close_shell(self) -> None:
        """Ends the shell and what runs in its foreground."""
        shell, self.shell = self.shell, None
        if shell is None:
            return
        for number, patience in ((signal.SIGHUP, PATIENCE_S), (signal.SIGKILL, None)):
            try:
                os.killpg(shell.pid, number)
                shell.wait(patience)
                break
            except ProcessLookupError:
                shell.wait()
                break
            except subprocess.TimeoutExpired:
                continue
        self.outToNode.pop(self.stdout.fileno(), None)
        self.inToNode.pop(self.stdin.fileno(), None)
        self.stdin.close()
        os.close(self.slave)

    def cmd(self, *args: Any, **kwargs: Any) -> str:
        """As Mininet's."""
        self.open_shell()
        return super().cmd(*args, **kwargs)  # type: ignore[no-any-return]

    def sendCmd(self, *args: Any, printPid: bool = False, **kwargs: Any) -> None:  # noqa: N802, N803
        """As Mininet's, without mnexec to report a process id."""
        self.open_shell()
        if printPid:
            words = args[0] if len(args) == 1 and isinstance(args[0], list) else args
            command = " ".join(map(str, words))
            if not command.rstrip().endswith("&"):
                args = (f"( printf '\\001%d\\012' $BASHPID; exec {command} )",)
        super().sendCmd(*args, **kwargs)

    def popen(self, *args: Any, shell: bool = False, **kwargs: Any) -> Any:
        """As Mininet's, but ``shell`` is sh: Mininet takes the user's $SHELL, which services and CI do not have."""
        self._before_commands()
        if shell:
            words = args[0] if len(args) == 1 and isinstance(args[0], list) else args
            args = (["/bin/sh", "-c", " ".join(words)],)
        return super().popen(*args, **{"mncmd": [], **kwargs})

    def _before_commands(self) -> None:
        """Hook: what commands rely on but the fabric itself does not."""

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        if cmd and cmd[0] == "mnexec":  # Node.startShell: "mnexec -cd env PS1=... bash ..."
            self._before_commands()
            cmd = cmd[2:]
            params["close_fds"] = True
            on_terminal = True
        else:
            on_terminal = False
        # A fork, not a thread's business: the child has to join namespaces before it becomes the command.
        return subprocess.Popen(cmd, preexec_fn=self._preparation(on_terminal), **params)  # noqa: PLW1509

    def _preparation(self, on_terminal: bool) -> Callable[[], None]:
        """What the child does before it becomes the command (the forked child of Popen runs it)."""
        return partial(_new_session, on_terminal)

    def terminate(self) -> None:
        """Ends the shell."""
        self.unmountPrivateDirs()
        self.close_shell()


def _new_session(on_terminal: bool) -> None:
    os.setsid()
    if on_terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C, which Mininet writes to it, interrupts the command


def _enter(pid: int, directory: str, on_terminal: bool) -> None:
    _new_session(on_terminal)
    spaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("net", "mnt")]
    for space in spaces:
        syscalls.setns(space)
    os.chdir(directory)  # joining a mount namespace leads to its root


class HeldHost(_ShellOnDemand):
    """A host whose namespaces are held by a process forked from this one (see holder.py)."""

    def __init__(self, name: str, wiring: Wiring | None = None, **params: Any) -> None:
        self.wiring = wiring or _plain_use
        self.holder = Holder.fork(name)
        self.wiring.hosts[name] = self
        super().__init__(name, **{**params, "inNamespace": True})

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: ARG002, N802
        """No shell yet; the process id is the holder's."""
        self.shell = None
        self.pid = self.holder.pid

    @property
    def netns(self) -> str:
        """Path of its network namespace."""
        return self.holder.netns

    @property
    def rtnl(self) -> Rtnl:
        """The netlink socket inside."""
        return self.holder.rtnl

    @property
    def nics(self) -> list[NetlinkIntf]:
        """Its interfaces, by port."""
        return [nic for nic in self.intfList() if isinstance(nic, NetlinkIntf)]

    def config(
        self,
        mac: str | None = None,
        ip: str | None = None,
        defaultRoute: str | None = None,  # noqa: N803
        lo: str = "up",
        **_params: Any,
    ) -> dict[str, Any]:
        """Address, lo, and a default route when one is asked for."""
        results: dict[str, Any] = {}
        if lo == "up":
            self.rtnl.add(netlink.link_up(1))
        self.setParam(results, "setMAC", mac=mac)
        self.setParam(results, "setIP", ip=ip)
        self.wiring.rtnl.flush()
        self.rtnl.flush()
        self.setParam(results, "setDefaultRoute", defaultRoute=defaultRoute)
        return results

    def setARP(self, ip: str, mac: str) -> None:  # noqa: N802
        """A permanent ARP entry."""
        self.rtnl.do(netlink.neighbour(self.nics[0].index, ip, mac))

    def add_arp_entries(self, only: NetlinkIntf | None = None) -> None:
        """Entries for the NICs of all other hosts, on the first NIC (or on ``only``, when that one came up again)."""
        own = {nic.mac for nic in self.nics}
        if self.nics and only in (None, self.nics[0]):
            index = self.nics[0].index
            self.rtnl.do(*(netlink.neighbour(index, ip, mac) for ip, mac in self.wiring.addresses() if mac not in own))

    def _before_commands(self) -> None:
        self.holder.make_mounts()
        self.wiring.set_arp()

    def _preparation(self, on_terminal: bool) -> Callable[[], None]:
        return partial(_enter, self.holder.pid, os.getcwd(), on_terminal)

    def terminate(self) -> None:
        """Ends everything in it."""
        self.close_shell()
        if self.wiring.hosts.pop(self.name, None) is not None:
            self.wiring.forget_arp()
            self.holder.kill()
            self.holder.reap()


class StaticBridge(_ShellOnDemand, Switch):  # type: ignore[misc]
    """A Linux bridge with static forwarding. forwarding: destination address -> interface; computed when not given."""

    def __init__(
        self,
        name: str,
        wiring: Wiring | None = None,
        forwarding: dict[str, str] | None = None,
        dpid: str | None = None,
        opts: str = "",
        listenPort: int | None = None,  # noqa: N803
        **params: Any,
    ) -> None:
        self.wiring = wiring or _plain_use
        self.forwarding = forwarding
        self.index = self.wiring.new_index()
        Node.__init__(self, name, **{**params, "inNamespace": False})
        self.dpid = self.defaultDpid(dpid or f"{self.index:x}")
        self.opts, self.listenPort = opts, listenPort
        self.pid = os.getpid()
        self.controlIntf = NetlinkIntf("lo", self, port=0)
        self.wiring.bridges[name] = self
        self.wiring.rtnl.add(*netlink.bridge(name, self.index, self.wiring.group))

    @property
    def netns(self) -> str:
        """Path of the switches' network namespace."""
        return f"/proc/{os.getpid()}/ns/net"

    @property
    def rtnl(self) -> Rtnl:
        """The netlink socket of the switches' namespace."""
        return self.wiring.rtnl

    def start(self, controllers: Any = None) -> None:  # noqa: ARG002
        """Forwarding entries; they are sent with those of all bridges (batchStartup)."""
        if self.forwarding is None:
            self.forwarding = _computed_forwarding(self.wiring)[self.name]
        for mac, port in self.forwarding.items():
            self.rtnl.add(netlink.forward(self.nameToIntf[port].index, mac))

    @classmethod
    def batchStartup(cls, switches: Sequence[StaticBridge]) -> Sequence[StaticBridge]:  # noqa: N802
        """Called by Mininet when all have been started: everything pending is sent, and ports are waited for."""
        for wiring in {switch.wiring for switch in switches}:
            wiring.settle()
        return switches

    @classmethod
    def batchShutdown(cls, switches: Sequence[StaticBridge]) -> Sequence[StaticBridge]:  # noqa: N802
        """Called by Mininet: bridges and links go together."""
        for wiring in {switch.wiring for switch in switches}:
            wiring.remove_links()
        return switches

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803
        """Takes this one bridge down (the CLI's ``switch <name> stop``)."""
        if deleteIntfs:
            self.deleteIntfs()
        self.rtnl.do(netlink.delete(self.index))


def _computed_forwarding(wiring: Wiring) -> dict[str, dict[str, str]]:
    """Static shortest paths over the links as they stand, by the same rule as every fabric's."""
    from topologies.build import natural  # these two bring networkx, which a fabric with its own forwarding can spare
    from topologies.paths import forwarding

    ends = [tuple(LinkEnd(nic.node.name, nic.name, nic.mac or "") for nic in link.nics) for link in wiring.links]
    ends.sort(key=lambda pair: tuple((natural(end.node), natural(end.nic)) for end in pair))
    links = tuple(FabricLink(a, b, CLEAN, CLEAN) for a, b in ends)
    hosts = tuple(sorted(wiring.hosts, key=natural))
    return forwarding(hosts, tuple(sorted(wiring.bridges, key=natural)), links)


# --- whole networks ---------------------------------------------


class FabricMininet(Mininet):  # type: ignore[misc]
    """Mininet on a Wiring of its own, without Mininet's set-up of the machine (limits, root check)."""

    def __init__(self, topo: Topo, **options: Any) -> None:
        self.wiring = Wiring()
        defaults = {
            "host": partial(HeldHost, wiring=self.wiring),
            "switch": partial(_bridge, wiring=self.wiring),
            "link": ImpairedLink,
            "controller": None,
        }
        Mininet.inited = True  # else it raises limits of the whole machine, and wants to be root by number
        try:
            super().__init__(topo=topo, **{**defaults, **options})
        except BaseException:
            self.wiring.close()
            raise

    def start(self) -> None:
        """Brings everything up; leaves nothing when that fails."""
        try:
            super().start()
            self.wiring.settle()  # also for fabrics without a switch
        except BaseException:
            self.wiring.close()
            raise

    def stop(self) -> None:
        """Takes everything down at once; safe to call twice."""
        if self.terms:
            self.stopXterms()
        for switch in self.switches:
            switch.close_shell()
        self.wiring.close()


def _bridge(name: str, **params: Any) -> StaticBridge:
    params.pop("batch", None)
    return StaticBridge(name, **params)


def fabric_topo(fabric: Fabric) -> Topo:
    """A Mininet ``Topo`` of a fabric: names, addresses, impairments and forwarding as they stand in it."""
    topo = Topo()
    for host in fabric.hosts:
        topo.addHost(host)
    for switch in fabric.switches:
        topo.addSwitch(switch, forwarding=fabric.forwarding.get(switch, {}))
    for index, link in enumerate(fabric.links):
        topo.addLink(
            link.a.node,
            link.b.node,
            intfName1=link.a.nic,
            intfName2=link.b.nic,
            addr1=link.a.mac,
            addr2=link.b.mac,
            ab=link.ab,
            ba=link.ba,
            index=index,
        )
    return topo
