"""Builds an exported containerlab or Kathara lab from its text alone, with ``ip netns``, and pings across it.

Run inside namespaces of its own (testbed.engines.live.isolation): a directory, and two hosts. Everything that makes the
lab forward comes from the files; this script does what those tools do: it makes namespaces, wires, and runs commands.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

Lab = tuple[dict[str, list[str]], list[tuple[tuple[str, str], ...]]]


def containerlab(file: Path) -> Lab:
    """Node -> commands, and the links."""
    topology = yaml.safe_load(file.read_text())["topology"]
    ends = [tuple(tuple(end.split(":")) for end in link["endpoints"]) for link in topology["links"]]
    return {name: node.get("exec", []) for name, node in topology["nodes"].items()}, ends


def kathara(folder: Path) -> Lab:
    """The same of a lab.conf."""
    domains: dict[str, list[tuple[str, str]]] = {}
    devices = {}
    for device, arg, value in re.findall(r'^(\w+)\[(\w+)\]="(.*)"$', (folder / "lab.conf").read_text(), re.MULTILINE):
        devices[device] = (folder / f"{device}.startup").read_text().splitlines()
        if arg.isdecimal():
            domains.setdefault(value, []).append((device, f"eth{arg}"))
    return devices, [tuple(ends) for ends in domains.values()]


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def main(folder: Path, one: str, other: str, ip: str) -> None:
    """Exits with what ping says."""
    (file,) = [*folder.glob("*.clab.yml"), *folder.glob("lab.conf")]
    nodes, links = containerlab(file) if file.suffix == ".yml" else kathara(folder)
    for node in nodes:
        run(f"ip netns add {node}")
    for (a, nic_a), (b, nic_b) in links:
        run(f"ip link add {nic_a} netns {a} type veth peer name {nic_b} netns {b}")
    for node, commands in nodes.items():
        for command in commands:
            run(f"ip netns exec {node} {command}")
    run(f"ip netns exec {one} ping -q -c 3 -i 0.01 -W 5 {ip}")
    print(f"{one} reaches {other}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
