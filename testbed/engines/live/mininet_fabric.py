"""A fabric under Mininet: its command line, its shells in hosts, and all that a FabricNet can do beside.

    with MininetFabric(fabric) as running:
        running.net["host1"].cmd("ip addr")
        running.nic_mute("host3", "host3-eth0")

Apart from fabric_net.py, so that runs, which have no use for Mininet's face, need not import it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mininet.net import Mininet
from mininet.topo import Topo

from testbed.engines.live.fabric_net import FabricNet
from testbed.engines.live.mininet_nodes import ContainerHost, HeldHost, ImpairedLink, StaticBridge
from testbed.engines.live.wires import Wiring
from testbed.topologies.fabric import Fabric

if TYPE_CHECKING:
    from testbed.engines.live.containers.owner import ContainerOwner, Containers


class MininetFabric(FabricNet):
    """A FabricNet whose nodes are Mininet's. ``net`` is the real mininet.net.Mininet object while it is up.

    containers: hosts are these; None: plain namespaces.
    """

    def __init__(self, fabric: Fabric, containers: Containers | None = None) -> None:
        super().__init__(fabric)
        self._containers = containers
        self._net: FabricMininet | None = None

    @property
    def net(self) -> FabricMininet:
        """The Mininet object; raises RuntimeError while the fabric is down."""
        if self._net is None:
            raise RuntimeError("the fabric is not up")
        return self._net

    def _bring_up(self) -> Wiring:
        options: dict[str, Any] = {}
        if self._containers is not None:
            owners = {name: self._containers.owner(name) for name in self.fabric.hosts}  # they start all at once
            options["host"] = partial(_container_host, owners, self._containers)
        net = FabricMininet(fabric_topo(self.fabric), **options)
        net.start()
        self._net = net
        return net.wiring

    def stop(self) -> None:
        """As FabricNet's; shells and terminals first."""
        net, self._net = self._net, None
        if net is not None:
            net.close_shells()
        super().stop()


class FabricMininet(Mininet):  # type: ignore[misc]
    """Mininet on a Wiring of its own, without Mininet's set-up of the machine (limits, root check)."""

    def __init__(self, topo: Topo, **options: Any) -> None:
        self.wiring = Wiring()
        defaults = {
            "host": partial(options.pop("host", HeldHost), wiring=self.wiring),
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

    def close_shells(self) -> None:
        """Ends terminals, and shells in hosts and switches."""
        if self.terms:
            self.stopXterms()
        for node in (*self.hosts, *self.switches):
            node.close_shell()

    def stop(self) -> None:
        """Takes everything down at once; safe to call twice."""
        self.close_shells()
        self.wiring.close()


def _bridge(name: str, **params: Any) -> StaticBridge:
    params.pop("batch", None)
    return StaticBridge(name, **params)


def _container_host(
    owners: dict[str, ContainerOwner], containers: Containers, name: str, **params: Any
) -> ContainerHost:
    return ContainerHost(name, owners[name], containers.command_in(name), **params)


def fabric_topo(fabric: Fabric) -> Topo:
    """A Mininet ``Topo`` of a fabric: names, addresses, impairments and forwarding as they stand in it."""
    topo = Topo()
    for host, address in fabric.addresses.items():
        topo.addHost(host, ip=address)
    for switch in fabric.switches:
        topo.addSwitch(switch, forwarding=fabric.forwarding.get(switch, {}))
    for link in fabric.links:
        topo.addLink(
            link.a.node,
            link.b.node,
            intfName1=link.a.nic,
            intfName2=link.b.nic,
            addr1=link.a.mac,
            addr2=link.b.mac,
            ab=link.ab,
            ba=link.ba,
        )
    return topo
