"""A fabric as Graphviz dot, as Mermaid, and as plain text; as a picture in topologies/svg.py.

Mermaid and text draw large fabrics as groups (topologies/layout.py), so that people can read them; dot has it all.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.topologies.fabric import Fabric, Link
from testbed.topologies.impairment import Impairment
from testbed.topologies.layout import Box, collapsed, joined


def draw_dot(fabric: Fabric) -> str:
    """Graphviz: ``dot -Tsvg``. Impaired links carry what each direction does."""
    font = '[fontname="sans-serif"];'
    lines = [f'graph "{fabric.name}" {{', "  rankdir=BT;", f"  node {font}", f"  edge {font}"]
    lines += [f'  "{host}" [shape=ellipse];' for host in fabric.hosts]
    lines += [f'  "{switch}" [shape=box];' for switch in fabric.switches]
    for link in fabric.links:
        label = link_label(link)
        lines.append(f'  "{link.a.node}" -- "{link.b.node}"' + (f' [label="{label}"];' if label else ";"))
    return "\n".join([*lines, "}", ""])


def draw_mermaid(fabric: Fabric) -> str:
    """Mermaid, as code hosts render it in Markdown."""
    boxes = collapsed(fabric)
    lines = ["graph BT"]
    for number, box in sorted(enumerate(boxes), key=lambda entry: not entry[1].is_host):
        opening, closing = ("((", "))") if box.is_host else ("[", "]")
        text = f'"{box.title}<br/>{box.subtitle}"' if box.subtitle else box.title
        lines.append(f"  {_id(boxes, number)}{opening}{text}{closing}")
    for one, other, links in joined(boxes, fabric):
        label = link_label(links[0]) if len(links) == 1 else f"{len(links)} links"
        bar = f'---|"{label}"|' if label else "---"
        lines.append(f"  {_id(boxes, one)} {bar} {_id(boxes, other)}")
    return "\n".join([*lines, ""])


def draw_text(fabric: Fabric) -> str:
    """One line per node, or group of nodes, with its NICs and what is behind each."""
    counts = f"{fabric.name}: {len(fabric.hosts)} hosts, {len(fabric.switches)} switches, {len(fabric.links)} links"
    boxes = collapsed(fabric)
    rows = _nics(fabric) if all(len(box.nodes) == 1 for box in boxes) else _groups(boxes, fabric)
    width = max(map(len, rows))
    lines = [f"  {name:<{width}}  {' '.join(behind)}" for name, behind in rows.items()]
    return "\n".join([counts, *lines, ""])


def _nics(fabric: Fabric) -> dict[str, list[str]]:
    behind: dict[str, list[str]] = {node: [] for node in (*fabric.switches, *fabric.hosts)}
    for link in fabric.links:
        for end, far in ((link.a, link.b), (link.b, link.a)):
            behind[end.node].append(f"{end.nic.removeprefix(end.node + '-')}={far.node}")
    return behind


def _groups(boxes: Sequence[Box], fabric: Fabric) -> dict[str, list[str]]:
    """By group: the others, with how many links lead there."""
    names = [f"{box.title} ({box.subtitle})" if box.subtitle else box.title for box in boxes]
    behind: dict[int, list[str]] = {number: [] for number in range(len(boxes))}
    for one, other, links in joined(boxes, fabric):
        for near, far in ((one, other), (other, one)):
            behind[near].append(boxes[far].title.replace(" ", "") + (f"*{len(links)}" if len(links) > 1 else ""))
    return {names[number]: behind[number] for number in sorted(behind, key=lambda number: -boxes[number].tier)}


def describe(impairment: Impairment) -> str:
    """A direction in a few words, for people: ``20us +- 2us normal, loss 1%``; ``clean`` when it does nothing."""
    if impairment.is_clean:
        return "clean"
    words = [spell_time(impairment.delay_ns)]
    if impairment.jitter_ns:
        words[0] += f" +- {spell_time(impairment.jitter_ns)} {impairment.distribution}"
    if impairment.burst_loss:
        burst = impairment.burst_loss
        words.append(f"bursty loss p={burst.p:g} r={burst.r:g} bad={burst.loss_bad:g} good={burst.loss_good:g}")
    elif impairment.loss:
        words.append(f"loss {impairment.loss * 100:g}%")
    if impairment.duplicate:
        words.append(f"duplicate {impairment.duplicate * 100:g}%")
    if impairment.corrupt:
        words.append(f"corrupt {impairment.corrupt * 100:g}%")
    if impairment.rate_bps:
        words.append(f"{impairment.rate_bps / 1e9:g} Gbit/s")
    if impairment.order == "fifo":
        words.append("fifo")
    return ", ".join(words)


def link_label(link: Link) -> str:
    """What a link does, both ways; empty where it is clean."""
    there, back = describe(link.ab), describe(link.ba)
    if there == back:
        return "" if there == "clean" else there
    return f"{there} / {back}"


def spell_time(ns: int) -> str:
    """A time for people: ``12.5us``."""
    for size, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")):
        if ns >= size:
            return f"{ns / size:.6g}{unit}"
    return f"{ns}ns"


def _id(boxes: Sequence[Box], number: int) -> str:
    """A name that Mermaid takes: a node's own, or a number for a group."""
    box = boxes[number]
    return f"group{number + 1}_" if box.subtitle else box.title.replace("-", "_").replace(".", "_")
