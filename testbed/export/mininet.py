"""A Python script for Mininet as it comes: ``sudo python3 NAME.py`` opens its command line on the fabric.

The script needs Mininet and nothing of this project. Its switches are Mininet's LinuxBridge, told to forward on the
same static entries; its links are TCLink, which knows delay, uniform jitter, loss, a queue's length and up to 1 Gbit/s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pprint import pformat
from typing import Any

from testbed.export.common import Exported
from testbed.topologies.fabric import Fabric, LinkEnd
from testbed.topologies.impairment import CLEAN, Impairment

MOST_MEGABITS = 1000  # TCIntf.bwParamMax
EXPRESSED = ("delay_ns", "jitter_ns", "loss", "limit", "rate_bps")

_SCRIPT = '''#!/usr/bin/env python3
"""{head}"""

import sys

from mininet.cli import CLI
from mininet.link import TCLink
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo

HOSTS = {hosts}

SWITCHES = {switches}

# First node, its port, address and options; second node, its port, address and options.
LINKS = {links}

# Switch -> destination address -> interface. Nothing is flooded: several paths are no loops.
FORWARDING = {forwarding}


class StaticBridge(LinuxBridge):
    """A bridge that forwards on static entries only."""

    def start(self, controllers):
        super().start(controllers)
        for intf in self.intfList():
            if self.name in intf.name:
                self.cmd("bridge link set dev", intf, "learning off flood off mcast_flood off bcast_flood off")
        for mac, intf in FORWARDING[self.name].items():
            self.cmd("bridge fdb replace", mac, "dev", intf, "master static")


class Fabric(Topo):
    """{title}"""

    def build(self):
        for name, options in HOSTS.items():
            self.addHost(name, **options)
        for number, name in enumerate(SWITCHES, 1):
            self.addSwitch(name, dpid="%016x" % number)
        for one, port1, addr1, params1, two, port2, addr2, params2 in LINKS:
            ends = dict(port1=port1, port2=port2, addr1=addr1, addr2=addr2)
            self.addLink(one, two, params1=params1, params2=params2, **ends)


topos = {{"fabric": Fabric}}


def main():
    setLogLevel("info")
    net = Mininet(topo=Fabric(), switch=StaticBridge, link=TCLink, controller=None)
    net.start()
    net.staticArp()
    try:
        CLI(net, script=sys.argv[1] if len(sys.argv) > 1 else None)
    finally:
        net.stop()


if __name__ == "__main__":
    main()
'''


def _options(fabric: Fabric, host: str, mac: str) -> dict[str, str]:
    return {"mac": mac, "ip": fabric.ips[host]} if host in fabric.ips else {"mac": mac}


def mininet(fabric: Fabric, name: str) -> Exported:
    """The script, and what it leaves out."""
    remarks = tuple(dict.fromkeys(_remarks(fabric)))
    first: dict[str, str] = {}
    for link in fabric.links:
        for end in (link.a, link.b):
            if end.node not in fabric.forwarding and (end.node not in first or end.nic.endswith("-eth0")):
                first[end.node] = end.mac
    links = [(*_end(link.a, link.ab), *_end(link.b, link.ba)) for link in fabric.links]
    file = (re.sub(r"[^A-Za-z0-9_]", "_", name) or "fabric") + ".py"
    title = f"{fabric.name}: {len(fabric.hosts)} hosts, {len(fabric.switches)} switches, {len(fabric.links)} links."
    head = "\n".join([f"{title} Written by `testbed export mininet`.", "", *remarks, f"\n    sudo python3 {file}", ""])
    script = _SCRIPT.format(
        head=_quoted(head),
        title=_quoted(title),
        hosts=_spelt({host: _options(fabric, host, first[host]) for host in fabric.hosts if host in first}),
        switches=_spelt(list(fabric.switches)),
        links=_spelt(links),
        forwarding=_spelt({switch: fabric.forwarding[switch] for switch in fabric.switches}),
    )
    return Exported({file: script}, remarks)


def expressed(impairment: Impairment) -> Impairment:
    """What of a direction TCLink can say."""
    kept = {name: getattr(impairment, name) for name in EXPRESSED}
    if kept["rate_bps"] > MOST_MEGABITS * 10**6:
        kept["rate_bps"] = 0
    return replace(CLEAN, **kept)


def _end(end: LinkEnd, impairment: Impairment) -> tuple[str, int, str, dict[str, Any]]:
    said = expressed(impairment)
    options: dict[str, Any] = {}
    if said.delay_ns or said.jitter_ns:
        options["delay"] = f"{said.delay_ns}ns"
    if said.jitter_ns:
        options["jitter"] = f"{said.jitter_ns}ns"
    if said.loss:
        options["loss"] = said.loss * 100
    if said.rate_bps:
        options["bw"] = said.rate_bps / 10**6
    if said.limit:
        options["max_queue_size"] = said.limit
    return end.node, int(end.nic.rpartition("-eth")[2]), end.mac, options


def _remarks(fabric: Fabric) -> Iterator[str]:
    for link in fabric.links:
        for impairment in (link.ab, link.ba):
            if impairment.is_clean:
                continue
            yield "Delays and losses are drawn anew each time: the seeds of the links are left out."
            if impairment.jitter_ns and impairment.distribution != "uniform":
                yield f"TCLink knows uniform jitter only: {impairment.distribution} is left out."
            if impairment.rate_bps > MOST_MEGABITS * 10**6:
                yield f"TCLink knows rates up to {MOST_MEGABITS} Mbit/s only: {impairment.rate_bps} bit/s is left out."
            for field in fields(Impairment):
                value = getattr(impairment, field.name)
                if field.name not in (*EXPRESSED, "seed", "distribution", "table") and value != field.default:
                    yield f"TCLink does not know {field.name}: {value} is left out."
            if impairment.rate_bps:
                yield "bw is a token bucket (HTB): 15 kB pass at once, and preamble, FCS and gap do not count."


def _quoted(text: str) -> str:
    """Inside a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _spelt(value: Any) -> str:
    return pformat(value, width=118, sort_dicts=False)
