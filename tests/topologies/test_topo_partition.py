"""Fabrics divided over machines: how many links are cut, against the least that any division would cut."""

from __future__ import annotations

from itertools import product
from math import ceil

import pytest

from testbed.topologies.build import make_fabric
from testbed.topologies.fabric import Fabric
from testbed.topologies.partition import cut_links, partition

SMALL = [
    ("leaf_spine", {"spines": 1, "leaves": 4, "hosts_per_leaf": 2}, 2),
    ("leaf_spine", {"spines": 2, "leaves": 4, "hosts_per_leaf": 1}, 2),
    ("leaf_spine", {"spines": 2, "leaves": 3, "hosts_per_leaf": 2}, 3),
    ("leaf_spine", {"spines": 3, "leaves": 4, "hosts_per_leaf": 1}, 3),
]


def hosts_of(fabric: Fabric, parts: dict[str, int], count: int) -> list[int]:
    return [sum(parts[host] == part for host in fabric.hosts) for part in range(count)]


def least_cut(fabric: Fabric, count: int) -> int:
    """Of all divisions that keep hosts with their switch and give no machine more than its even share."""
    leaf = {link.a.node: link.b.node for link in fabric.links if link.a.node in fabric.hosts}
    leaf |= {link.b.node: link.a.node for link in fabric.links if link.b.node in fabric.hosts}
    share, best = ceil(len(fabric.hosts) / count), len(fabric.links)
    for where in product(range(count), repeat=len(fabric.switches)):
        parts = dict(zip(fabric.switches, where, strict=True))
        parts |= {host: parts[leaf[host]] for host in fabric.hosts}
        loads = hosts_of(fabric, parts, count)
        if min(loads) and max(loads) <= share:
            best = min(best, len(cut_links(fabric, parts)))
    return best


@pytest.mark.parametrize(("kind", "parameters", "count"), SMALL)
def test_no_division_cuts_fewer_links(kind: str, parameters: dict[str, int], count: int) -> None:
    fabric = make_fabric(kind, parameters)
    parts = partition(fabric, count)
    assert max(hosts_of(fabric, parts, count)) <= ceil(len(fabric.hosts) / count)
    assert len(cut_links(fabric, parts)) == least_cut(fabric, count)


def test_a_fat_tree_is_cut_between_its_pods() -> None:
    """Four pods over two machines: of the sixteen links to the core, each core switch keeps those of two pods."""
    fabric = make_fabric("fat_tree", {"k": 4})
    parts = partition(fabric, 2)
    assert hosts_of(fabric, parts, 2) == [8, 8]
    assert len(cut_links(fabric, parts)) == 8


def test_hosts_stay_with_their_switch_and_with_whom_they_are_tied_to() -> None:
    fabric = make_fabric("leaf_spine", {"spines": 2, "leaves": 4, "hosts_per_leaf": 2})
    parts = partition(fabric, 2, [{"host1", "host8"}])
    assert parts["host1"] == parts["host8"] == parts["leaf1"] == parts["leaf4"]
    assert hosts_of(fabric, parts, 2) == [4, 4]


def test_a_large_fabric_is_divided_evenly() -> None:
    fabric = make_fabric("leaf_spine", {"spines": 4, "leaves": 32, "hosts_per_leaf": 32})
    parts = partition(fabric, 3)
    assert max(hosts_of(fabric, parts, 3)) <= ceil(1024 / 3) + 31  # leaves are whole
    assert len(cut_links(fabric, parts)) <= 4 * 32 * 2 / 3 + 4


def test_one_switch_is_on_one_machine_only() -> None:
    with pytest.raises(ValueError, match="can't be divided over 2 machines"):
        partition(make_fabric("star", {"hosts": 4}), 2)
