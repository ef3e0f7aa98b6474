"""What tests of several rooms are built from: small, plain, with defaults for whatever a test does not care about."""

from __future__ import annotations

from typing import Any

from testbed.nodes.core import Effects, Persist
from testbed.nodes.core.config import NodeConfig, Peer, ProtocolConfig
from testbed.nodes.core.inputs import Inputs
from testbed.nodes.oae.rounds import RoundMachine
from testbed.plan import PlannedNode, derive_seed
from testbed.topologies.fabric import Fabric


def node_config(
    node: int,
    n: int,
    *,
    epoch: int = 1,
    node_seed: int = 0,
    start_ns: int = 0,
    keeps: bool = False,
    **protocol: Any,
) -> NodeConfig:
    """Node ``node`` of n nodes, each with a port to every other."""
    peers = tuple(
        Peer(other, f"host{other}", "eth0", f"02:00:00:00:00:{other:02x}") for other in range(n) if other != node
    )
    return NodeConfig(
        node,
        f"host{node}",
        peers,
        {"eth0": f"02:00:00:00:00:{node:02x}"},
        tuple(range(n)),
        ProtocolConfig(**protocol),
        seed=node_seed,
        epoch=epoch,
        start_ns=start_ns,
        keeps=keeps,
    )


class Disk(dict[str, bytes]):
    """A node's disk: what its machine has persisted so far."""

    def persist(self, key: str, data: bytes | None) -> bool:
        """It has room for everything."""
        if data is None:
            self.pop(key, None)
        else:
            self[key] = data
        return True

    def after(self, effects: Effects) -> Disk:
        """When these have been done."""
        for effect in effects:
            if isinstance(effect, Persist):
                self.persist(effect.key, effect.data)
        return self


class Fed(Inputs):
    """An engine to which its inputs are proposed by the clock; what it is asked for besides, the engine answers."""

    def __init__(self, machine: Any) -> None:
        super().__init__(machine.config, machine, isinstance(machine, RoundMachine))

    def __getattr__(self, name: str) -> Any:
        if name == "machine" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.machine, name)


def engine(machine: Any) -> Any:
    """The engine itself, without what is wrapped around it."""
    while hasattr(machine, "machine"):
        machine = machine.machine
    return machine


def rest(effects: Effects) -> Effects:
    """All but what is persisted."""
    return [effect for effect in effects if not isinstance(effect, Persist)]


def everyone(fabric: Fabric, seed: int = 0) -> tuple[PlannedNode, ...]:
    """All hosts of a fabric take part, each with a port to every other."""
    return tuple(PlannedNode(number, derive_seed(seed, "node", number)) for number in range(len(fabric.hosts)))
