"""A fabric as Graphviz dot, as Mermaid, and as plain text."""

from __future__ import annotations

from topologies.fabric import Fabric, Link
from topologies.impairment import Impairment


def draw_dot(fabric: Fabric) -> str:
    """Graphviz: ``dot -Tsvg``. Impaired links carry what each direction does."""
    font = '[fontname="sans-serif"];'
    lines = [f'graph "{fabric.name}" {{', "  rankdir=BT;", f"  node {font}", f"  edge {font}"]
    lines += [f'  "{host}" [shape=ellipse];' for host in fabric.hosts]
    lines += [f'  "{switch}" [shape=box];' for switch in fabric.switches]
    for link in fabric.links:
        label = _label(link)
        lines.append(f'  "{link.a.node}" -- "{link.b.node}"' + (f' [label="{label}"];' if label else ";"))
    return "\n".join([*lines, "}", ""])


def draw_mermaid(fabric: Fabric) -> str:
    """Mermaid, as code hosts render it in Markdown."""
    lines = ["graph BT"]
    lines += [f"  {_id(host)}(({host}))" for host in fabric.hosts]
    lines += [f"  {_id(switch)}[{switch}]" for switch in fabric.switches]
    for link in fabric.links:
        label = _label(link)
        bar = f'---|"{label}"|' if label else "---"
        lines.append(f"  {_id(link.a.node)} {bar} {_id(link.b.node)}")
    return "\n".join([*lines, ""])


def draw_text(fabric: Fabric) -> str:
    """One line per node with its NICs and what is behind each."""
    lines = [f"{fabric.name}: {len(fabric.hosts)} hosts, {len(fabric.switches)} switches, {len(fabric.links)} links"]
    behind: dict[str, list[str]] = {node: [] for node in (*fabric.switches, *fabric.hosts)}
    for link in fabric.links:
        for end, far in ((link.a, link.b), (link.b, link.a)):
            behind[end.node].append(f"{end.nic.removeprefix(end.node + '-')}={far.node}")
    width = max(map(len, behind))
    lines += [f"  {node:<{width}}  {' '.join(nics)}" for node, nics in behind.items()]
    return "\n".join([*lines, ""])


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


def _label(link: Link) -> str:
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


def _id(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")
