"""Hosts, switches and links for Mininet that need no shell, no mnexec and no command per interface.

    Mininet(topo=LeafSpine(2, 4, 2), host=HeldHost, switch=StaticBridge, link=ImpairedLink, controller=None)

Mininet's classes over a Wiring (see wires.py). A HeldHost's namespaces are held by a process forked from this one; a
shell comes up in them when the first command is run (Mininet's CLI, ``host.cmd``, ``host.popen``). A StaticBridge is a
Linux bridge that forwards on static shortest paths. An ImpairedLink has an Impairment per direction, through netem.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import termios
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Node, Switch

from testbed.engines.live import syscalls
from testbed.engines.live.holder import Holder
from testbed.engines.live.netlink import requests
from testbed.engines.live.netlink.rtnl import NetlinkError, Rtnl
from testbed.engines.live.owner import Owner
from testbed.engines.live.wires import PATIENCE_S, End, Nic, Wiring
from testbed.plan import derive_seed
from testbed.topologies.build import natural
from testbed.topologies.fabric import Link as FabricLink
from testbed.topologies.fabric import LinkEnd
from testbed.topologies.impairment import CLEAN, Impairment
from testbed.topologies.options import link_impairments
from testbed.topologies.paths import forwarding

_plain_use = Wiring()  # for nodes made without one, as Mininet itself and `mn` make them
_FROM_MININET = ("port1", "port2", "intfName1", "intfName2", "params1", "params2")


# --- interfaces and links ---------------------------------------------


class NetlinkIntf(Intf):  # type: ignore[misc]
    """A Mininet interface over one end of a wire; ``lo`` of a switch has none."""

    node: Any
    name: str
    mac: str | None
    ip: str | None
    prefixLen: str | None  # noqa: N815

    def __init__(self, name: str, node: Any = None, link: Any = None, **params: Any) -> None:
        self._nic: Nic | None = link.ends[name] if link is not None else None
        super().__init__(name, node=node, link=link, **params)

    @property
    def nic(self) -> Nic:
        """Its end of the wire."""
        if self._nic is None:
            raise RuntimeError(f"{self.name} is no end of a wire")
        return self._nic

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
            self.nic.set_mac(macstr)
        return ""

    def setIP(self, ipstr: str, prefixLen: int | str | None = None) -> str:  # noqa: N802, N803
        """An address, as "10.0.0.1/8" or with the prefix apart."""
        ip, _slash, prefix = ipstr.partition("/")
        length = prefix or prefixLen
        if length is None:
            raise ValueError(f"no prefix length for the address {ipstr}")
        self.ip, self.prefixLen = ip, str(length)
        self.nic.ip = ip
        self.nic.rtnl.add(requests.address(self.nic.index, ip, int(length)))
        return ""

    def isUp(self, setUp: bool = False) -> bool:  # noqa: N802
        """Whether it is up; brings it up first when asked to."""
        if self._nic is None:
            return True
        if setUp:
            self._nic.up()
        return bool(self._nic.state().flags & requests.IFF_UP)

    def ifconfig(self, *args: Any) -> str:
        """``up`` and ``down`` (Mininet's ``link a b down``); anything else shows the interface."""
        if args == ("up",):
            self.nic.up()
            return ""
        if args == ("down",):
            self.nic.down()
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
            return "OK" if self.nic.state().name == self.name else "MISSING"
        except NetlinkError:
            return "MISSING"

    def delete(self) -> None:
        """Deletes it, and with it the other end of its wire."""
        try:
            self.node.wiring.remove_wire(self.nic)
        finally:
            self.node.delIntf(self)
            self.link = None


class ImpairedLink(Link):  # type: ignore[misc]
    """A wire; ``ab`` impairs what node1 sends to node2, ``ba`` the way back.

    Options of Mininet's TCLink and fields of Impairment may be given instead, for both directions (``mn --link
    impaired,delay_ns=5000``; see topologies/options.py); a seed is then derived per direction.
    """

    intf1: Any
    intf2: Any

    def __init__(
        self,
        node1: Any,
        node2: Any,
        ab: Impairment | None = None,
        ba: Impairment | None = None,
        addr1: str | None = None,
        addr2: str | None = None,
        **params: Any,
    ) -> None:
        own = {name: params.pop(name) for name in list(params) if name not in _FROM_MININET}
        ends = {name: params.pop(name, None) for name in ("params1", "params2")}
        impairments = link_impairments(f"{node1}<->{node2}", {**own, **ends, "ab": ab, "ba": ba})
        # Addresses that nodes were promised (``mac``) come before those that Mininet draws at random.
        addr1 = _promised_mac(node1) or addr1 or Mininet.randMac()
        addr2 = _promised_mac(node2) or addr2 or Mininet.randMac()
        self.ends: dict[str, Nic] = {}
        super().__init__(node1, node2, addr1=addr1, addr2=addr2, intf=NetlinkIntf, fast=True, **params)
        for end, whole, impairment in zip((self.intf1, self.intf2), (ab, ba), impairments, strict=True):
            end.nic.impair(whole or impairment.with_seed(derive_seed(impairment.seed, end.name)))

    def makeIntfPair(  # noqa: N802
        self,
        intfname1: str,
        intfname2: str,
        addr1: str = "",
        addr2: str = "",
        node1: Any = None,
        node2: Any = None,
        deleteIntfs: bool = True,  # noqa: ARG002, N803
    ) -> None:
        """Called by Mininet before the interfaces are."""
        made = node1.wiring.connect(End(node1.name, intfname1, addr1), End(node2.name, intfname2, addr2))
        self.ends = {nic.name: nic for nic in made}

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


class OwnedHost(_ShellOnDemand):
    """A host whose namespaces have an owner (see owner.py)."""

    def __init__(self, name: str, owner: Owner, wiring: Wiring, **params: Any) -> None:
        self.wiring, self.owner = wiring, owner
        self.wiring.add_host(name, owner)
        super().__init__(name, **{**params, "inNamespace": True})

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: ARG002, N802
        """No shell yet, and so no process id."""
        self.shell = None
        self.pid = 0

    @property
    def rtnl(self) -> Rtnl:
        """The netlink socket inside."""
        return self.owner.rtnl

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
            self.rtnl.add(requests.link_up(1))
        self.setParam(results, "setMAC", mac=mac)
        self.setParam(results, "setIP", ip=ip)
        self.wiring.rtnl.flush()
        self.rtnl.flush()
        self.setParam(results, "setDefaultRoute", defaultRoute=defaultRoute)
        return results

    def setARP(self, ip: str, mac: str) -> None:  # noqa: N802
        """A permanent ARP entry."""
        self.rtnl.do(requests.neighbour(self.wiring.nics_of(self.name)[0].index, ip, mac))

    def _before_commands(self) -> None:
        self.owner.make_mounts()
        self.wiring.set_arp()

    def terminate(self) -> None:
        """Ends everything in it."""
        self.close_shell()
        self.wiring.remove_host(self.name)


class HeldHost(OwnedHost):
    """A host whose namespace is ours; a process forked from this one holds it from its first command on, or the first
    time that its ``pid`` is asked for (see holder.py)."""

    owner: Holder

    def __init__(self, name: str, wiring: Wiring | None = None, **params: Any) -> None:
        super().__init__(name, Holder(name), wiring or _plain_use, **params)

    @property
    def pid(self) -> int:
        """The process in whose namespaces the host is."""
        return self.owner.pid

    @pid.setter
    def pid(self, _shell: int) -> None:
        """Mininet sets it to that of a shell, which may end before the host does."""

    def _preparation(self, on_terminal: bool) -> Callable[[], None]:
        return partial(_enter, self.pid, os.getcwd(), on_terminal)


class ContainerHost(OwnedHost):
    """A host that is a container. command: what runs one in it (``docker exec``, and the container's name)."""

    def __init__(self, name: str, owner: Owner, command: Sequence[str], wiring: Wiring, **params: Any) -> None:
        self._command = tuple(command)
        super().__init__(name, owner, wiring, **params)

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        *run, container = self._command
        if cmd and cmd[0] == "mnexec":  # Node.startShell: "mnexec -cd env PS1=... bash ..."
            options, prompt = cmd[1], cmd[3]
            return super()._popen(["mnexec", options, *run, "-t", "-e", prompt, container, "sh", "-i"], **params)
        return super()._popen([*run, container, *cmd], **params)


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
        self._started = False  # not "stopped": one prompt's process does not see what another one's did
        self.wiring.add_bridge(name)
        Node.__init__(self, name, **{**params, "inNamespace": False})
        self.dpid = self.defaultDpid(dpid or f"{self.wiring.bridges[name]:x}")
        self.opts, self.listenPort = opts, listenPort
        self.pid = os.getpid()
        self.controlIntf = NetlinkIntf("lo", self, port=0)

    @property
    def rtnl(self) -> Rtnl:
        """The netlink socket of the switches' namespace."""
        return self.wiring.rtnl

    def start(self, controllers: Any = None) -> None:  # noqa: ARG002
        """Forwarding entries; they are sent with those of all bridges (batchStartup). After a stop: as it was."""
        if self._started:
            self.rtnl.do(requests.link_up(self.wiring.bridges[self.name]))
            return
        self._started = True
        if self.forwarding is None:
            self.forwarding = _computed_forwarding(self.wiring)[self.name]
        self.wiring.forward(self.name, self.forwarding)

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
            wiring.remove_wires()
        return switches

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803
        """Takes this one bridge away; without ``deleteIntfs`` (the CLI's ``switch <name> stop``) only down, until the
        next start: its ports stay, with their entries, and forward nothing."""
        if deleteIntfs:
            self.deleteIntfs()
            self.wiring.remove_bridge(self.name)
        else:
            self.rtnl.do(requests.link_down(self.wiring.bridges[self.name]))


def _computed_forwarding(wiring: Wiring) -> dict[str, dict[str, str]]:
    """Static shortest paths over the wires as they stand, by the same rule as every fabric's."""
    ends = [tuple(LinkEnd(nic.node, nic.name, nic.mac) for nic in wire) for wire in wiring.wires]
    ends.sort(key=lambda pair: tuple((natural(end.node), natural(end.nic)) for end in pair))
    links = tuple(FabricLink(a, b, CLEAN, CLEAN) for a, b in ends)
    hosts = tuple(sorted(wiring.hosts, key=natural))
    return forwarding(hosts, tuple(sorted(wiring.bridges, key=natural)), links)
