"""Fabrics from files: an adjacency list, GraphML, or a topology of containerlab's.

What is a host and what a switch: ``kind: host`` or ``kind: switch`` of a node says so; else its ``role`` (``host`` and
``server`` are hosts, any other a switch); else, in containerlab's files, its kind there (``linux`` is a host, any other
a switch). Where nothing says so, a node with one link is a host and one with more a switch. ``tier`` (a whole number)
and ``group`` (a name) are read as well.

adjacency    a line per node: its name and those that it is joined to, then what it is (``spine1 leaf1 leaf2
             role=spine``); ``#`` begins a comment. A link that stands at both its ends is one link.
graphml      nodes by their id. Attributes of links that Mininet knows (bw, delay, jitter, loss, max_queue_size) count;
             others are left alone. Directions are dropped: a link that stands once each way is one link.
containerlab nodes and links, brief or extended; interfaces are named anew, links to ``host``, ``mgmt-net`` and the like
             are refused. kind, role, tier and group stand in a node's labels ``oae-kind``, ``oae-role`` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from testbed.errors import installing
from testbed.scenario.document import Document, read_document
from testbed.scenario.errors import FieldError, ScenarioError, shown
from testbed.scenario.model import FromFileTopology
from testbed.topologies.base import FabricTopo
from testbed.topologies.build import MOST_CABLES
from testbed.topologies.build import fabric as fabric_of
from testbed.topologies.fabric import Fabric
from testbed.topologies.paths import components

MOST_BYTES = 8_000_000
FORMATS = {
    ".adj": "adjacency",
    ".txt": "adjacency",
    ".graphml": "graphml",
    ".yml": "containerlab",
    ".yaml": "containerlab",
}
_CLAB, _CLAB_ENDING = "containerlab", ".clab"  # lab.clab.yml
HOST_ROLES = ("host", "server")
LINK_OPTIONS: Mapping[str, type] = {"bw": float, "delay": str, "jitter": str, "loss": float, "max_queue_size": int}
CLAB_PREFIX = "oae-"  # of containerlab's labels that are ours


class _FileError(ValueError):
    """What is wrong in which line of the file; 0 for the whole of it."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


@dataclass
class _Node:
    """line: where it stands. said: kind, role, tier and group, as text. host: None where only its links can tell."""

    line: int
    said: dict[str, str] = field(default_factory=dict)
    host: bool | None = None


@dataclass
class _Graph:
    """nodes by name; links: two names, the line, and options as Mininet has them."""

    nodes: dict[str, _Node] = field(default_factory=dict)
    links: list[tuple[str, str, int, dict[str, Any]]] = field(default_factory=list)

    def node(self, name: str, line: int) -> _Node:
        """That of this name, a new one where there is none."""
        return self.nodes.setdefault(name, _Node(line))

    def link(self, one: str, other: str, line: int, options: dict[str, Any] | None = None) -> None:
        """One more."""
        if one == other:
            raise _FileError(line, f"a link of {one} to itself can't be built; take it out")
        if len(self.links) >= MOST_CABLES:
            raise _FileError(line, f"more than {MOST_CABLES} links; this fabric is too large")
        self.links.append((one, other, line, options or {}))


class FileTopo(FabricTopo):
    """The graph of a file. Where hosts stand between hosts only neighbours reach each other."""

    joins_everybody = False

    def build(self, graph: _Graph | None = None, hosts_per_switch: int = 0) -> None:
        """graph: what was read. hosts_per_switch: hosts put on every switch."""
        graph = graph or _Graph()
        for name, node in graph.nodes.items():
            options = _place(node)
            if node.host:
                self.addHost(name, **options)
            else:
                self.add_switch(name, **options)
        for one, other, _, options in graph.links:
            self.join(one, other, **options)
        for name, node in graph.nodes.items():
            if hosts_per_switch and not node.host:
                self.add_hosts(hosts_per_switch, name, node.said.get("group", ""))


def is_fabric(path: Path) -> bool:
    """Whether this file holds a fabric and no scenario, to go by its name, or by what stands in it where that says
    nothing."""
    kind = FORMATS.get(path.suffix.lower(), "")
    if kind != _CLAB or path.stem.lower().endswith(_CLAB_ENDING):
        return bool(kind)
    try:
        return is_clab(read_document(path.read_text(encoding="utf-8-sig"), str(path)).data)
    except (OSError, UnicodeDecodeError, ScenarioError):
        return False  # whoever reads it says what is wrong


def is_clab(data: Any) -> bool:
    """Whether a document is a topology of containerlab's; a scenario has a ``topology:`` as well."""
    topology = data.get("topology") if isinstance(data, dict) else None
    return isinstance(topology, dict) and "nodes" in topology and not {"kind", "custom"} & set(topology)


def _name(path: Path) -> str:
    return path.stem[: -len(_CLAB_ENDING)] if path.stem.lower().endswith(_CLAB_ENDING) else path.stem


def file_fabric(topology: FromFileTopology, base_dir: Path) -> Fabric:
    """The fabric in a file. Raises FieldError, one line with the file's name and line, for whatever is wrong in it."""
    path = base_dir / topology.file
    try:
        kind = topology.format or FORMATS.get(path.suffix.lower(), "")
        if not kind:
            raise _FileError(0, f"its ending tells no format; name one with format: {', '.join(_READERS)}")
        graph = _READERS[kind](_text(path))
        _decide(graph, topology.hosts_per_switch)
        return fabric_of(FileTopo(graph=graph, hosts_per_switch=topology.hosts_per_switch), _name(path))
    except ValueError as error:
        line = error.line if isinstance(error, _FileError) else 0
        where = f"{topology.file}:{line}" if line else topology.file
        raise FieldError(("file",), f"{where}: {' '.join(str(error).split())}") from None


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _FileError(0, f"can't be read: {error.strerror or error}; paths count from the scenario") from None
    if len(raw) > MOST_BYTES:
        raise _FileError(0, f"{len(raw)} bytes are more than a fabric's file can have ({MOST_BYTES})")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _FileError(raw[: error.start].count(b"\n") + 1, "not UTF-8 text; save it as UTF-8") from None


# -- what is what ------------------------------------------------------------------------------------------------


def _decide(graph: _Graph, hosts_per_switch: int) -> None:
    """Hosts and switches, by the rules of this module's text."""
    if not graph.nodes:
        raise _FileError(0, "no node in it; a fabric needs at least one host")
    degree: dict[str, int] = dict.fromkeys(graph.nodes, 0)
    for one, other, _, _ in graph.links:
        degree[one] += 1
        degree[other] += 1
    for name, node in graph.nodes.items():
        node.host = _said(name, node)
        if node.host is None:
            node.host = degree[name] <= 1 and not hosts_per_switch
        if hosts_per_switch and re.fullmatch(r"host[0-9]+", name):
            raise _FileError(node.line, f"{name} is the name of a host put on a switch; rename it")
    if hosts_per_switch == 0 and not any(node.host for node in graph.nodes.values()):
        raise _FileError(0, "no host in it; say kind: host of some nodes, or put some on switches: hosts_per_switch: 1")
    joined: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for one, other, _, _ in graph.links:
        joined[one].append(other)
        joined[other].append(one)
    first, *others = components(joined)
    if others:
        apart = others[0][0]
        what = f"no path of links joins {apart} and {first[0]}; add a link, or take one out"
        raise _FileError(graph.nodes[apart].line, what)


def _said(name: str, node: _Node) -> bool | None:
    kind, role = node.said.get("kind"), node.said.get("role")
    if kind not in (None, "host", "switch"):
        raise _FileError(node.line, f"{name}: kind {shown(kind)} is not known; write host or switch")
    if kind is not None:
        return kind == "host"
    return role in HOST_ROLES if role is not None else node.host


def _place(node: _Node) -> dict[str, Any]:
    """Options of a Mininet node: what was said of its place."""
    options: dict[str, Any] = {name: node.said[name] for name in ("role", "group") if name in node.said}
    tier = node.said.get("tier")
    if tier is not None:
        if not tier.isdecimal() or len(tier) > 3:
            raise _FileError(
                node.line, f"tier {shown(tier)} must be a whole number: 0 for hosts, more for switches above"
            )
        options["tier"] = int(tier)
    return options


# -- the formats -------------------------------------------------------------------------------------------------


def _adjacency(text: str) -> _Graph:
    graph = _Graph()
    stood: set[frozenset[str]] = set()
    for line, written in enumerate(text.splitlines(), 1):
        words = written.partition("#")[0].split()
        if not words:
            continue
        name, *rest = words
        if "=" in name:
            raise _FileError(line, f"{shown(name)} stands before any node; begin with a node's name")
        node = graph.node(name, line)
        for word in rest:
            key, equals, value = word.partition("=")
            if equals:
                _say(node, name, line, key, value)
                continue
            graph.node(word, line)
            if frozenset((name, word)) not in stood:
                stood.add(frozenset((name, word)))
                graph.link(name, word, line)
    return graph


def _say(node: _Node, name: str, line: int, key: str, value: str) -> None:
    if key not in ("kind", "role", "tier", "group"):
        raise _FileError(line, f"{name}: unknown {shown(key)}; there are kind, role, tier, group")
    if not value:
        raise _FileError(line, f"{name}: {key} has no value; write {key}=..., without spaces")
    node.said[key] = value


def _graphml(text: str) -> _Graph:
    try:
        import networkx as nx  # takes a while, and nothing else needs it
    except ImportError as error:
        raise _FileError(0, f"GraphML is read by networkx ({error}): {installing('graphml')}") from None
    try:
        read = nx.parse_graphml(text, node_type=str)
    except ParseError as error:
        raise _FileError(error.position[0], f"this is not XML: {error.msg}") from None
    except (nx.NetworkXError, KeyError, ValueError, TypeError) as error:
        raise _FileError(0, f"this is not GraphML: {error}; it needs <graphml> with a <graph>") from None
    lines = {name: line for line, name in _ids(text)}
    graph = _Graph()
    for name, attributes in read.nodes(data=True):
        node = graph.node(name, lines.get(name, 0))
        for key, value in attributes.items():
            if key in ("kind", "role", "tier", "group"):
                node.said[key] = str(value).removesuffix(".0")
    stood: set[frozenset[str]] = set()
    for one, other, attributes in read.edges(data=True):
        if read.is_directed() and frozenset((one, other)) in stood:
            continue
        stood.add(frozenset((one, other)))
        line = graph.nodes[one].line
        graph.link(one, other, line, dict(_link_options(attributes, f"{one}<->{other}", line)))
    return graph


def _ids(text: str) -> Iterator[tuple[int, str]]:
    """(line, id) of the nodes, for messages."""
    for match in re.finditer(r"<node\b[^>]*\bid\s*=\s*[\"']([^\"']*)[\"']", text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1)


def _link_options(attributes: Mapping[str, Any], where: str, line: int) -> Iterator[tuple[str, Any]]:
    for key, made in LINK_OPTIONS.items():
        if attributes.get(key) is not None:
            try:
                yield key, made(attributes[key])
            except ValueError:
                raise _FileError(line, f"{where}: {key} {shown(attributes[key])} must be a number") from None


def _containerlab(text: str) -> _Graph:
    try:
        document = read_document(text, "file")
    except ScenarioError as error:
        number, _, what = str(error).removeprefix("file:").partition(":")
        raise _FileError(int(number), what.strip()) from None
    topology = _mapping(document, ("topology",))
    defaults = topology.get("defaults")
    graph = _Graph()
    for name, given in _mapping(document, ("topology", "nodes")).items():
        line = document.lines["topology", "nodes", name]
        if given is not None and not isinstance(given, dict):
            raise _FileError(line, f"{name} must be a mapping (kind: linux), not {shown(given)}")
        settings = {**(defaults if isinstance(defaults, dict) else {}), **(given or {})}
        node = graph.node(name, line)
        node.host = settings.get("kind", "linux") == "linux"
        labels = settings.get("labels")
        for key, value in labels.items() if isinstance(labels, dict) else ():
            if key.startswith(CLAB_PREFIX):
                _say(node, name, line, key.removeprefix(CLAB_PREFIX), str(value))
    links = topology.get("links") or []
    if not isinstance(links, list):
        raise _FileError(document.lines["topology", "links"], f"links must be a list, not {shown(links)}")
    for place, given in enumerate(links):
        line = document.lines["topology", "links", place]
        one, other = _endpoints(given, line)
        for end in (one, other):
            if end not in graph.nodes:
                what = f"no node {shown(end)} under nodes:; add it (links to host or mgmt-net can't be built)"
                raise _FileError(line, what)
        graph.link(one, other, line)
    return graph


def _mapping(document: Document, path: tuple[str, ...]) -> dict[str, Any]:
    found: Any = document.data
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        spelt = ".".join(path)
        raise _FileError(document.lines.get(path, 1), f"no mapping {spelt}: in it, as containerlab's files have it")
    return found


def _endpoints(link: Any, line: int) -> tuple[str, str]:
    ends = link.get("endpoints") if isinstance(link, dict) else None
    if not isinstance(ends, list) or len(ends) != 2 or link.get("type", "veth") != "veth":
        raise _FileError(line, 'a link is endpoints: ["node1:eth1", "node2:eth1"]; other kinds can\'t be built')
    one, other = (str(end.get("node", "") if isinstance(end, dict) else end).partition(":")[0] for end in ends)
    if not one or not other:
        raise _FileError(line, f"{shown(ends)} names no two nodes; write node:interface")
    return one, other


_READERS = {"adjacency": _adjacency, "graphml": _graphml, "containerlab": _containerlab}
