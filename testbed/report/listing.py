"""Pages that list: the runs and studies of a folder, how far a study is, the files of a directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from testbed.report.pages import environment


class Item(NamedTuple):
    """A run or a study. told: what came of it, or what it is about. state: ended, goes on, interrupted. ended: when it
    was last written to, UTC. report: whether there is one."""

    name: str
    kind: str
    told: str
    state: str
    ended: str
    report: bool


class Progress(NamedTuple):
    """How far one thing is that a study compares, on one engine. values: of the sweep, at which there are trials; of:
    how many there are (0: nobody knows). broken, disagree: counted so far, at all values together. seconds: of
    computing."""

    name: str
    engine: str
    values: int
    of: int
    trials: int
    broken: str
    disagree: str
    seconds: float


def listing_page(folder: str, items: Sequence[Item]) -> str:
    """What is in a folder of runs; a browser keeps it fresh."""
    return environment().get_template("listing.html.j2").render(folder=folder, items=items, made="", commands=())


def progress_page(item: Item, progress: Sequence[Progress]) -> str:
    """How far a study is; a browser keeps it fresh."""
    template = environment().get_template("progress.html.j2")
    return template.render(item=item, progress=progress, made="", commands=())


def folder_page(path: str, names: Sequence[tuple[str, str]]) -> str:
    """What is in a directory. names: (link, size)."""
    return environment().get_template("folder.html.j2").render(path=path, names=names, made="", commands=())
