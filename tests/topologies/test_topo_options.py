"""What a user's Mininet class says of its hosts and links is honoured as Mininet means it, or refused by name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from mininet.link import Intf, Link, TCIntf, TCLink
from mininet.node import CPULimitedHost, Host, Node, OVSSwitch, Switch, UserSwitch
from mininet.topo import Topo

from testbed.topologies.build import fabric
from testbed.topologies.fabric import fabric_from_json
from testbed.topologies.impairment import CLEAN, Impairment

MS = 1_000_000


def joined(**options: Any) -> Topo:
    """Two hosts on one link with these options."""
    topo = Topo()
    topo.addHost("h1")
    topo.addHost("h2")
    topo.addLink("h1", "h2", **options)
    return topo


def directions(**options: Any) -> tuple[Impairment, Impairment]:
    (link,) = fabric(joined(**options)).links
    return link.ab, link.ba


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"bw": 10}, Impairment(rate_bps=10_000_000)),
        ({"bw": 0.5, "use_htb": True}, Impairment(rate_bps=500_000)),
        ({"delay": "5ms"}, Impairment(delay_ns=5 * MS)),
        ({"delay": "1.5usecs", "jitter": "250ns"}, Impairment(delay_ns=1500, jitter_ns=250)),
        ({"loss": 2}, Impairment(loss=0.02)),
        ({"max_queue_size": 1000}, Impairment(limit=1000)),
        (
            {"cls": TCLink, "bw": 10, "delay": "5ms", "jitter": "1ms", "loss": 10, "max_queue_size": 50},
            Impairment(rate_bps=10_000_000, delay_ns=5 * MS, jitter_ns=MS, loss=0.1, limit=50),
        ),
        ({"intf": TCIntf, "delay": None, "bw": None, "use_hfsc": False, "txo": True, "speedup": 0}, CLEAN),
        ({"delay_ns": 700, "order": "fifo", "duplicate": 0.25}, Impairment(700, order="fifo", duplicate=0.25)),
    ],
)
def test_both_ends_of_a_link_do_what_mininets_tclink_would(options: dict[str, Any], meant: Impairment) -> None:
    assert directions(**options) == (meant, meant)


def test_each_end_may_have_its_own_and_what_is_said_of_the_link_comes_first() -> None:
    assert directions(params1={"delay": "1ms"}, params2={"delay": "2ms", "loss": 1}, loss=5) == (
        Impairment(delay_ns=MS, loss=0.05),
        Impairment(delay_ns=2 * MS, loss=0.05),
    )
    own = Impairment(delay_ns=3)
    assert directions(ab=own) == (own, CLEAN)


def test_defaults_of_a_whole_topology_count_too() -> None:
    topo = Topo(lopts={"delay": "1ms"})
    topo.addHost("h1")
    topo.addHost("h2")
    topo.addLink("h1", "h2")
    assert fabric(topo).links[0].ba == Impairment(delay_ns=MS)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"delay": "5"}, r"h1<->h2: delay='5' is no time; write .*, such as 5ms"),
        ({"delay": "0.3ns"}, r"h1<->h2: delay='0.3ns' is no whole number of nanoseconds"),
        ({"jitter": "1ms"}, r"h1<->h2: jitter='1ms' needs a delay beside it"),
        ({"loss": 101}, r"h1<->h2: loss=101 .* percent, 0 to 100"),
        ({"loss": "1%"}, r"h1<->h2: loss='1%' .* percent, 0 to 100"),
        ({"bw": 0}, r"h1<->h2: bw=0 .* Mbit/s, more than 0"),
        ({"max_queue_size": 0}, r"h1<->h2: max_queue_size=0 .* 1 or more"),
        ({"ab": "5us"}, r"h1<->h2: ab='5us' .* Impairment"),
        ({"ab": CLEAN, "delay": "5ms"}, r"h1<->h2: ab= and delay= .* the same direction"),
        ({"bw": 10, "use_tbf": True}, r"h1<->h2: use_tbf=True can't be honoured"),
        ({"bw": 10, "enable_red": True}, r"h1<->h2: enable_red=True can't be honoured"),
        ({"dealy": "5ms"}, r"h1<->h2: dealy='5ms' can't be honoured: .*delay, jitter, loss"),
        ({"params1": {"ip": "10.0.0.1/24"}}, r"h1<->h2: ip='10.0.0.1/24' can't be honoured"),
        ({"intfName1": "up0"}, r"h1<->h2: intfName1='up0' can't be honoured"),
        ({"cls": type("MyLink", (Link,), {})}, r"h1<->h2: cls=MyLink can't be honoured"),
    ],
)
def test_what_a_link_can_not_do_is_refused_by_name(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told) as refusal:
        fabric(joined(**options))
    assert "\n" not in str(refusal.value)


def test_a_hosts_address_is_honoured() -> None:
    topo = Topo()
    topo.addHost("h1", mac="02:AA:00:00:00:01")
    topo.addHost("h2")
    topo.addSwitch("s1", dpid="0000000000000007")
    topo.addLink("h1", "s1")
    topo.addLink("h2", "s1", addr1="02:bb:00:00:00:02")
    built = fabric(topo)
    assert [link.a.mac for link in built.links] == ["02:aa:00:00:00:01", "02:bb:00:00:00:02"]
    assert set(built.forwarding["s1"]) == {"02:aa:00:00:00:01", "02:bb:00:00:00:02"}


@pytest.mark.parametrize(
    ("mac", "told"),
    [
        ("02:00:00:00:00:02", r"h1 and h2 have one address, 02:00:00:00:00:02"),
        ("03:00:00:00:00:01", r"h1: the address 03:00:00:00:00:01 is one of a group"),
        ("00:00:00:00:00:00", r"h1: the address 00:00:00:00:00:00 is nobody's"),
        ("2", r"h1: '2' is no address"),
    ],
)
def test_an_address_that_no_host_can_have_is_refused(mac: str, told: str) -> None:
    topo = joined()
    topo.setNodeInfo("h1", {"mac": mac})
    with pytest.raises(ValueError, match=told):
        fabric(topo)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ip": "10.0.0"}, r"host h3: ip='10\.0\.0' is no address; write one as 10\.0\.0\.5 or 10\.0\.0\.5/8"),
        ({"cls": CPULimitedHost, "cpu": 0.1}, r"host h3: cls=CPULimitedHost can't be honoured"),
        ({"defaultRoute": "via 10.0.0.1"}, r"host h3: defaultRoute='via 10\.0\.0\.1' can't be honoured"),
    ],
)
def test_what_a_host_can_not_have_is_refused_by_name(options: dict[str, Any], told: str) -> None:
    topo = joined()
    topo.addHost("h3", **options)
    topo.addLink("h3", "h1")
    with pytest.raises(ValueError, match=told):
        fabric(topo)


def test_a_host_has_the_address_in_ip_that_was_asked_for_and_the_others_have_theirs() -> None:
    topo = Topo()
    topo.addSwitch("s1")
    for name, ip in (("h1", None), ("h2", None), ("h3", "192.168.1.5/24"), ("h4", "10.0.9.9")):
        topo.addLink(topo.addHost(name, ip=ip), "s1")
    built = fabric(topo)
    assert built.addresses == {"h1": "10.0.0.1/8", "h2": "10.0.0.2/8", "h3": "192.168.1.5/24", "h4": "10.0.9.9/8"}
    assert fabric_from_json(json.loads(json.dumps(asdict(built)))) == built
    topo.setNodeInfo("h3", {"ip": "10.0.0.2"})
    with pytest.raises(ValueError, match=r"h2 and h3 have one address, 10\.0\.0\.2; give each host its own with ip="):
        fabric(topo)


def test_what_a_switch_can_not_do_is_refused_by_name() -> None:
    topo = joined()
    topo.addSwitch("s1", cls=OVSSwitch)
    topo.addLink("s1", "h1")
    with pytest.raises(ValueError, match=r"switch s1: cls=OVSSwitch can't be honoured"):
        fabric(topo)


# -- every option that Mininet 2.3 has ---------------------------------------------------------------------------------

HONOURED, AS_IT_IS = "honoured", "as it is anyway"
OF_LINKS: dict[str, dict[Any, str]] = {
    "bw": {10: HONOURED},
    "delay": {"1ms": HONOURED},
    "loss": {1: HONOURED},
    "max_queue_size": {10: HONOURED},
    "addr1": {"02:bb:00:00:00:02": HONOURED},
    "addr2": {"02:bb:00:00:00:02": HONOURED},
    "port1": {7: HONOURED},
    "port2": {7: HONOURED},
    "params1": {"{'loss': 1}": HONOURED},
    "params2": {"{'loss': 1}": HONOURED},
    "jitter": {"1ms": "needs a delay beside it"},
    "use_htb": {True: AS_IT_IS, False: AS_IT_IS},
    "use_hfsc": {False: AS_IT_IS, True: "bw alone is the rate"},
    "use_tbf": {False: AS_IT_IS, True: "bw alone is the rate"},
    "latency_ms": {10: "max_queue_size=100 bounds the queue"},
    "enable_red": {False: AS_IT_IS, True: "a full queue drops what comes last"},
    "enable_ecn": {False: AS_IT_IS, True: "a full queue drops what comes last"},
    "gro": {False: AS_IT_IS, True: "frames are handled one by one"},
    "txo": {True: AS_IT_IS, False: AS_IT_IS},
    "rxo": {True: AS_IT_IS, False: AS_IT_IS},
    "speedup": {0: AS_IT_IS, 10: "bw is that of both ends"},
    "fast": {True: AS_IT_IS},
    "up": {True: AS_IT_IS, False: "faults: [at 0s link_down links h1<->s1]"},
    "intfName1": {"up0": "an interface is called after its node"},
    "intfName2": {"up0": "an interface is called after its node"},
    "mac": {"02:bb:00:00:00:02": "addr1= and addr2="},
    "ip": {"10.0.0.9/8": "no protocol here uses IP"},
    "ifconfig": {"mtu 1400": "links take"},
    "cls": {TCLink: AS_IT_IS, OVSSwitch: "links take"},
    "cls1": {TCIntf: AS_IT_IS},
    "cls2": {TCIntf: AS_IT_IS},
    "intf": {Intf: AS_IT_IS},
}
OF_HOSTS: dict[str, dict[Any, str]] = {
    "mac": {"02:bb:00:00:00:02": HONOURED},
    "cls": {Host: AS_IT_IS, CPULimitedHost: "hosts are all alike"},
    "inNamespace": {True: AS_IT_IS, False: "in a namespace of its own"},
    "lo": {"up": AS_IT_IS, "down": "hosts are all alike"},
    "ip": {"10.0.0.9/8": HONOURED},
    "defaultRoute": {"via 10.0.0.1": "no protocol here uses IP"},
    "cpu": {0.5: "nodes: {kind: container, cpus: 0.5}"},
    "cores": {1: "nodes: {kind: container, cpus: 0.5}"},
    "sched": {"rt": "nodes: {kind: container, cpus: 0.5}"},
    "privateDirs": {"['/tmp']": "every container has files of its own"},
}
OF_SWITCHES: dict[str, dict[Any, str]] = {
    "dpid": {"1": HONOURED},
    **{
        name: {"x": "switches here forward on static shortest paths"}
        for name in (
            *("cls", "ip", "mac", "opts", "dpopts", "listenPort", "failMode", "datapath", "inband", "protocols"),
            *("reconnectms", "stp", "batch", "defaultRoute"),
        )
    },
    "lo": {"up": AS_IT_IS},
    "inNamespace": {True: AS_IT_IS},
    "privateDirs": {"['/tmp']": "switches here forward"},
}
EVERY = [
    pytest.param(what, name, value, told, id=f"{what} {name}={value}")
    for what, table in (("link", OF_LINKS), ("host", OF_HOSTS), ("switch", OF_SWITCHES))
    for name, values in table.items()
    for value, told in values.items()
]


def with_option(what: str, name: str, value: Any) -> Topo:
    """A host on a switch, of which the host, the switch or the link has this option; of a list or mapping its text."""
    option = {name: eval(value) if isinstance(value, str) and value[:1] in "[{" else value}
    topo = Topo()
    topo.addHost("h1", **(option if what == "host" else {}))
    topo.addHost("h2")
    topo.addSwitch("s1", **(option if what == "switch" else {}))
    topo.addLink("h1", "s1", **(option if what == "link" else {}))
    topo.addLink("h2", "s1")
    return topo


@pytest.mark.parametrize(("what", "name", "value", "told"), EVERY)
def test_every_option_of_mininets_is_honoured_or_refused_with_the_way_to_say_it(
    what: str, name: str, value: Any, told: str
) -> None:
    without = fabric(with_option("nothing", name, value))
    if told in (HONOURED, AS_IT_IS):
        built = fabric(with_option(what, name, value))
        changes = told == HONOURED and name != "dpid"  # which only controllers would see
        assert (built != without) == changes
        return
    with pytest.raises(ValueError, match=name) as refusal:
        fabric(with_option(what, name, value))
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("table", "functions"),
    [
        (OF_LINKS, (Link.__init__, Intf.config, TCIntf.config)),
        (OF_HOSTS, (Node.__init__, Node.config, CPULimitedHost.__init__, CPULimitedHost.config)),
        (OF_SWITCHES, (Switch.__init__, OVSSwitch.__init__, UserSwitch.__init__, Node.config)),
    ],
)
def test_no_option_of_mininets_is_left_out(
    table: dict[str, dict[Any, str]], functions: tuple[Callable[..., Any], ...]
) -> None:
    """Asked of the Mininet that is installed."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = {
        name
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in variable
    }
    assert known - {"self", "name", "node1", "node2"} - set(table) == set()
