"""What the topologies share: names, addresses and datapath numbers, checked while a Mininet ``Topo`` is built.

Only Mininet's ``Topo`` is imported, so that ``mn --custom`` can load the files under any Python that has Mininet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mininet.topo import Topo

NAME_BYTES = 15  # Linux: IFNAMSIZ - 1
MOST_HOSTS = 65_535  # node numbers have 16 bits on the wire


class FabricTopo(Topo):  # type: ignore[misc]
    """A ``Topo`` that names and numbers things the project's way and refuses what cannot be built.

    Hosts are ``host1``, ``host2``, ...; their first NIC has the address ``02:00:00:00:hh:ll`` with the number in the
    last two bytes. Every link's options may hold ``ab`` and ``ba``: the Impairment of what the first node sends to the
    second, and of the way back (see topologies/fabric.py). A node's options may hold ``role``, ``tier``, ``group`` and
    ``at``: its Place there.
    """

    joins_everybody = True
    """Whether every host reaches every other. Hosts do not forward: where they are joined directly, or by switches that
    do not meet, only neighbours do."""

    meanings: ClassVar[Mapping[str, str]] = {}
    """What each parameter of ``build`` means, in a sentence."""

    _hosts = 0  # how many there are; Topo's constructor builds, so they stand here
    _switches = 0

    @classmethod
    def size(cls, **_params: int) -> tuple[int, int]:
        """How many hosts it would have, and how many links that are not a host's only one; nothing is built."""
        raise NotImplementedError(cls.__name__)

    def build(self, *_args: Any, **_params: Any) -> None:
        """Overridden by each topology, with its own named parameters."""

    def add_host(self, group: str = "", at: tuple[int, ...] = ()) -> str:
        """The next host."""
        self._hosts += 1
        if self._hosts > MOST_HOSTS:
            raise ValueError(f"more than {MOST_HOSTS} hosts: node numbers have 16 bits")
        place = {"role": "host", "tier": 0, "group": group, "at": at}
        return str(self.addHost(f"host{self._hosts}", mac=host_mac(self._hosts - 1), **place))

    def add_switch(
        self, name: str, role: str = "switch", tier: int = 1, group: str = "", at: tuple[int, ...] = ()
    ) -> str:
        """A switch with a datapath number of its own (Mininet would number leaf1 and spine1 alike)."""
        self._switches += 1
        place = {"role": role, "tier": tier, "group": group, "at": at}
        return str(self.addSwitch(name, dpid=f"{self._switches:016x}", **place))

    def add_hosts(self, count: int, switch: str, group: str = "") -> None:
        """The next hosts, on one switch."""
        for _ in range(count):
            self.join(self.add_host(group), switch)

    def join(self, first: str, second: str, **options: Any) -> None:
        """A link; ``options`` may hold ``ab`` and ``ba``."""
        self.addLink(first, second, **options)


def host_mac(index: int, nic: int = 0) -> str:
    """The address of a host's NIC: ``index`` is the node number, counted from 0; the address counts from 1."""
    number = index + 1
    return f"02:00:00:{nic:02x}:{number >> 8:02x}:{number & 0xFF:02x}"


def switch_mac(index: int, nic: int) -> str:
    """The address of a switch's NIC; never a destination, but every interface needs one."""
    return f"02:01:{index >> 8:02x}:{index & 0xFF:02x}:{nic >> 8:02x}:{nic & 0xFF:02x}"


def at_least(what: str, value: object, least: int) -> int:
    """``value`` as a whole number of ``least`` or more, else a ValueError of one line."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{what} must be at least {least}, not {value}")
    return value
