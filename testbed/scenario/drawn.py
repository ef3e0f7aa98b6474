"""Scenarios drawn at random: a fabric, impairments of every kind, an engine, faults of every verb and lies,
from one number.

They are for holding engines against each other (``testbed compare --random``), not for studying anything.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from testbed.faults import VERBS, Verb
from testbed.nodes.core.disk import State
from testbed.nodes.core.lies import LieKind
from testbed.nodes.registry import engine_specs
from testbed.plan import derive_seed

if TYPE_CHECKING:
    from testbed.nodes.consensus.spec import EngineSpec

_ROUNDS, _ROUNDS_OF_MANY, _MANY = 20, 6, 9  # of small fabrics; of those with so many hosts and more
_PERIOD_US = 300
_TIMES = ("20us", "100us", "777us", "2ms")  # how long a fault lasts
_DISTRIBUTIONS = ("uniform", "normal", "pareto", "paretonormal")
_CELL_OF_HOST1 = {"star": "switch1", "leaf_spine": "leaf1", "fat_tree": "edge1"}


def drawn_scenario(number: int) -> dict[str, Any]:
    """The document of the random scenario with this number (for testbed.scenario.from_data)."""
    random = Random(derive_seed("drawn scenario", number))
    topology, hosts = _topology(random)
    spec = random.choice(engine_specs())
    rounds = _ROUNDS if hosts < _MANY else _ROUNDS_OF_MANY
    links = {"default": _link(random)}
    if topology["kind"] == "leaf_spine":
        links["leaf*<->spine*"] = _link(random)
    if spec.made_of_swaps and random.random() < 0.1:  # other engines send again and again what finds no room
        links["default"]["limit"] = random.choice((2, 8))
    data = {
        "name": f"random-{number}",
        "topology": topology,
        "links": links,
        "protocol": _protocol(random, hosts, rounds, spec),
        "faults": [_fault(random, hosts, rounds, spec.made_of_swaps) for _ in range(random.randint(0, 4))],
        "seed": number,
        "lies": [_lie(random, hosts, rounds) for _ in range(random.choice((0, 0, 0, 1, 2)))],
    }
    cells = Random(derive_seed("drawn cells", number))  # of their own, so that all others are drawn as without cells
    if spec.made_of_swaps and topology["kind"] in _CELL_OF_HOST1 and cells.random() < 0.3:
        return _over_cells(data, cells)
    return data


def _over_cells(data: dict[str, Any], random: Random) -> dict[str, Any]:
    """A drawn document with cells for switches: faults strike cells as well, and what has no meaning there (other
    handshakes, lies, other ways) is left out."""
    cell = _CELL_OF_HOST1[data["topology"]["kind"]]
    protocol = {**data["protocol"], "handshake": "alternating"}
    faults = [_order_over_cells(order, cell, random) for order in data["faults"] if order["do"] != "reroute"]
    return {**data, "switches": "cells", "protocol": protocol, "faults": faults, "lies": []}


def _order_over_cells(order: dict[str, Any], cell: str, random: Random) -> dict[str, Any]:
    order = {key: value for key, value in order.items() if key != "reroute"}
    verb = VERBS[order["do"]]
    if verb.strikes == "switch":
        order |= {"do": verb.name.replace("switch_", "node_"), "on": [cell]}
    elif verb.strikes == "node" and not verb.name.startswith("disk_") and random.random() < 0.5:
        order["on"] = [cell]
        order.pop("state", None)
    if verb.name == "partition":
        order["groups"] = [["host1"], [cell]]
    if "to" in order:
        order["to"] = "*"
    if "when" in order and "after_writes" not in order["when"] and random.random() < 0.5:
        order["when"] = {**order["when"], "node": cell}
    return order


def _topology(random: Random) -> tuple[dict[str, Any], int]:
    """A fabric and how many hosts it has."""
    kind = random.choice(("pair", "star", "leaf_spine", "leaf_spine", "fat_tree"))
    if kind == "pair":
        return {"kind": kind}, 2
    if kind == "star":
        hosts = random.randint(3, 8)
        return {"kind": kind, "hosts": hosts}, hosts
    if kind == "fat_tree":
        return {"kind": kind, "k": 4}, 16
    leaves, each = random.randint(2, 3), random.randint(2, 4)
    return {"kind": kind, "spines": 2, "leaves": leaves, "hosts_per_leaf": each}, leaves * each


def _link(random: Random) -> dict[str, Any]:
    """What a direction is under. A quarter has no jitter, so that many frames are due at one instant."""
    link: dict[str, Any] = {"delay": random.choice(("0us", "1ns", "100ns", "2us", "5us", "10us", "20us"))}
    if random.random() < 0.75:
        link["jitter"] = random.choice(("10ns", "90ns", "1us", "3us"))
        link["distribution"] = random.choice(_DISTRIBUTIONS)
        if random.random() < 0.25:
            link["correlation"] = "25%"
    loss = random.random()
    if loss < 0.2:
        link["loss"] = "1%"
        if random.random() < 0.3:
            link["loss_correlation"] = "20%"
    elif loss < 0.3:
        link["burst_loss"] = {"p": "1%", "r": "30%"}
    for name, share in (("duplicate", 0.2), ("corrupt", 0.2)):
        if random.random() < share:
            link[name] = "1%"
    if random.random() < 0.2:
        link["rate"] = "1gbit"
    if random.random() < 0.2:
        link["order"] = "fifo"
    return link


def _protocol(random: Random, hosts: int, rounds: int, spec: EngineSpec) -> dict[str, Any]:
    protocol: dict[str, Any] = {
        "consensus": spec.name,
        "window": random.choice(("150us", f"{_PERIOD_US}us")),
        "period": f"{_PERIOD_US}us",
        "rounds" if spec.made_of_swaps else "instances": rounds,
        "retry": "70us",
        "f": min(1, spec.most_f(hosts)),
    }
    if spec.made_of_swaps:
        protocol["horizon"] = random.choice(("abort", "hold", "reconcile"))
        protocol["depth"] = random.randint(2, 5)
        protocol["handshake"] = random.choice(("alternating", "alternating", "simultaneous"))
    return protocol


def _fault(random: Random, hosts: int, rounds: int, swaps: bool) -> dict[str, Any]:
    """Any verb, at an instant that may be one at which frames arrive or timers fire, or at a protocol moment."""
    possible = sorted(name for name, verb in VERBS.items() if hosts > 2 or verb.strikes != "switch")
    verb = VERBS[random.choice(possible)]
    order: dict[str, Any] = {"do": verb.name}
    if verb.name == "churn":
        return {**order, "on": "*", "from": "round 1", "until": f"round {rounds}", "every": "3ms", "for": "200us"}
    if random.random() < 0.3:
        order["when"] = _moment(random, hosts, rounds, swaps)
    else:
        number = random.randrange(1, rounds)
        order["at"] = random.choice(
            (f"round {number}", f"round {number} + 20us", f"{random.randint(1, rounds * _PERIOD_US)}us")
        )
    if verb.name == "partition":
        mixed = [f"host{number}" for number in random.sample(range(1, hosts + 1), hosts)]
        order |= {"groups": [mixed[:1], mixed[1 : random.randint(2, hosts)]]}
        order |= {"one_way": True} if random.random() < 0.5 else {}
    else:
        order |= _struck(random, hosts, verb)
    order |= _particulars(random, verb.name)
    if (verb.undo or verb.name == "node_restart") and "for" not in order and random.random() < 0.8:
        order["for"] = random.choice(_TIMES)
    return order


def _particulars(random: Random, verb: str) -> dict[str, Any]:
    """What only some verbs need."""
    order: dict[str, Any] = {}
    if verb == "nic_half":
        order["direction"] = random.choice(("rx", "tx"))
    if verb == "node_restart":
        order["state"] = random.choice(list(State)).value
    if verb == "clock_step":
        order["by"] = random.choice(("3us", "-3us", "-90us", "400us"))
    if verb == "node_slow":
        order["by"] = random.choice(("100ns", "3us", "40us"))
    if verb == "clock_drift":
        order["drift"] = random.choice(("50ppm", "-2000ppm"))
    if verb in ("nic_deaf", "nic_hear"):
        order["to"] = random.choice(("*", ["host1", "host2"]))
    if verb in ("flap", "rolling_restart"):
        order |= {"every": "400us", "for": random.choice(("100us", "390us"))}
    if verb == "flap":
        order["times"] = random.randint(1, 3)
    return order


def _lie(random: Random, hosts: int, rounds: int) -> dict[str, Any]:
    """Any kind, to some or all, for all of the run or a part of it."""
    kind = random.choice(list(LieKind))
    liar, *some = (
        f"host{number}" for number in random.sample(range(1, hosts + 1), random.choice((2, 2, min(3, hosts))))
    )
    lie: dict[str, Any] = {"kind": kind.value, "on": liar}
    if kind is LieKind.WITHHOLD or (kind is not LieKind.SILENT and random.random() < 0.5):
        lie["to"] = some
    if kind is LieKind.DELAY:
        lie["by"] = random.choice(_TIMES)
    if random.random() < 0.5:
        lie["when"] = {"node": liar, "round": random.randrange(rounds), "after_sends": random.randint(1, 3)}
    else:
        lie["from"] = f"round {random.randrange(rounds)}"
    if random.random() < 0.5:
        lie["for"] = random.choice(_TIMES)
    return lie


def _struck(random: Random, hosts: int, verb: Verb) -> dict[str, Any]:
    """Whom or what a fault strikes, and how much of it where it has to be said."""
    if verb.strikes == "fabric" or verb.name == "unimpair":
        return {}
    if verb.strikes == "links":
        needed = {name: {"rate": "1gbit"}.get(name, "1%") for name in verb.needs[:1]}
        return {**needed, "delay": "30us", "jitter": random.choice(("0us", "1us"))}
    if verb.strikes in ("node", "nic"):
        return {"on": [f"host{number}" for number in random.sample(range(1, hosts + 1), random.choice((1, 1, 2)))]}
    found: dict[str, Any] = {"on": ["*1"]} if verb.strikes == "switch" else {"links": ["host1<->*"]}
    if random.random() < 0.7:
        found["reroute"] = random.choice(_TIMES)
    return found


def _moment(random: Random, hosts: int, rounds: int, swaps: bool) -> dict[str, Any]:
    moment: dict[str, Any] = {"node": f"host{random.randint(1, hosts)}", "round": random.randrange(1, rounds)}
    if random.random() < 0.3:
        return {"node": moment["node"], "after_writes": random.randint(1, 6 * rounds)}
    if not swaps or random.random() < 0.5:
        moment["after_sends"] = random.randint(1, 2)
    else:
        moment["enters"] = "REFLECTING"
    if random.random() < 0.3:
        moment["after"] = random.choice(("1ns", "5us"))
    return moment
