"""``testbed capture``: the frames of a running fabric, as lines of text and as pcapng, while they come."""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import completion
from testbed.cli.output import JsonFlag, print_json, verb
from testbed.errors import UserError

if TYPE_CHECKING:
    from testbed.plan import Nic
    from testbed.topologies.fabric import Fabric

_STDOUT = "-"


@verb
def capture(
    fabric: Annotated[
        str, typer.Argument(help="A running fabric, as `testbed ps` calls it.", autocompletion=completion.fabrics)
    ],
    where: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHERE]...",
            help="Nodes (host1, leaf*, role:spine), NICs (leaf1-eth2), links (host1<->leaf1); default: everywhere.",
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="A pcapng file; - is stdout, as in: -o - | wireshark -k -i -")
    ] = None,
    count: Annotated[int | None, typer.Option("--count", "-c", min=1, help="End after so many frames.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", "-s", min=0.001, help="End after so long.")] = None,
    json: JsonFlag = False,
) -> None:
    """Capture on a running fabric (one of `testbed up`): a line for each frame, and with --out a pcapng file.

    It ends with Ctrl-C, after --count frames or --seconds. Frames of the testbed's own are decoded by its decoder,
    others named by Scapy. A frame is shown at each interface that sees it: out where it leaves, in where it arrives.
    """
    from testbed.cli import fabrics

    entry = fabrics.find(fabric)
    if not entry.inside:
        raise UserError(f"{entry.name} is still coming up")
    if json and out == _STDOUT:
        raise UserError("--json does not go with --out -: both would go to stdout")
    shape = fabrics.shape_of(entry)
    nics = chosen_nics(replace(shape, name=entry.name), where or [])
    with _opened(out) as target, os.fdopen(os.memfd_create("report"), "r+") as report:
        job = {
            "fabric": asdict(shape),
            "hosts": entry.hosts,
            "nics": nics,
            "lines": not json and out != _STDOUT,
            "out": target,
            "report": report.fileno(),
            "count": count,
            "seconds": seconds,
        }
        code = _inside(entry.inside, job, [target, report.fileno()])
        report.seek(0)
        text = report.read()
    if code == 128 + signal.SIGPIPE:
        raise typer.Exit(code)
    if not text:
        gone = f"{entry.name} is not up any more: the capture ended with it"
        raise UserError(gone if code == 128 + signal.SIGKILL else "the capture could not be made (its reason is above)")
    told = {**json_module.loads(text), "fabric": entry.name, "file": out}
    if json:
        print_json(told)
    else:
        place = f", in {out}" if out not in (None, _STDOUT) else ""
        print(f"testbed: {told['frames']} frames{place}; {told['lost']} lost for want of room", file=sys.stderr)


def _inside(fabric: int, job: dict[str, object], descriptors: Sequence[int]) -> int:
    """Runs testbed.cli.tapping in the fabric's namespaces; its exit code."""
    from testbed.engines.live.enter import run_in_node

    told = os.memfd_create("capture")
    os.write(told, json_module.dumps(job).encode())
    os.lseek(told, 0, os.SEEK_SET)
    for descriptor in (told, *descriptors):
        if descriptor >= 0:
            os.set_inheritable(descriptor, True)
    try:
        return run_in_node(fabric, "", [sys.executable, "-m", "testbed.cli.tapping", str(told)])
    finally:
        os.close(told)


@contextmanager
def _opened(out: str | None) -> Iterator[int]:
    """The descriptor that pcapng is written to; -1 for none."""
    if out is None:
        yield -1
    elif out == _STDOUT:
        yield sys.stdout.fileno()
    else:
        try:
            descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise UserError(f"{out}: is there already; remove it, or name another file with --out") from None
        try:
            yield descriptor
        finally:
            if os.fstat(descriptor).st_size == 0:  # nothing came of it
                os.unlink(out)
            os.close(descriptor)


def chosen_nics(fabric: Fabric, words: Sequence[str]) -> list[Nic]:
    """The NICs that are meant, link by link; none named: all. Raises UserError for a word that means none."""
    nics = [(end.node, end.nic) for link in fabric.links for end in (link.a, link.b)]
    meant = {nic for word in words for nic in _meant(fabric, nics, word)}
    return [nic for nic in nics if nic in meant] if words else nics


def _meant(fabric: Fabric, nics: Sequence[Nic], word: str) -> list[Nic]:
    from testbed.plan import interface_name
    from testbed.scenario.errors import suggestion
    from testbed.scenario.selectors import matcher, parse_selector, selected

    try:
        if "->" in word or word.startswith("tier:"):
            selector = parse_selector(word)
            if not selector.both_ways:
                raise ValueError(f"{word}: a link is captured in both directions; write <-> in place of ->")
            links = {index for index, _ in selected(fabric, selector)}
            return [nic for index in links for nic in nics[2 * index : 2 * index + 2]]
        own = [nic for nic in nics if interface_name(*nic) == word]
        is_meant = matcher(fabric, word)
    except ValueError as error:
        raise UserError(str(error)) from None
    found = own or [nic for nic in nics if is_meant(nic[0])]
    if not found:
        known = (*fabric.hosts, *fabric.switches, *(interface_name(*nic) for nic in nics))
        raise UserError(f"{word}: {fabric.name} has no such node or NIC; {suggestion(word, known)}")
    return found
