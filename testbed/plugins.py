"""What installed packages add: engines of consensus, topologies and verbs of faults, by entry points of their own.

A package says in its ``pyproject.toml`` what it brings, and nothing of it is imported before somebody asks for it:

    [project.entry-points."oae_testbed.engines"]
    dictator = "oae_dictator.engine:Dictator"
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENGINES, TOPOLOGIES, FAULTS = "oae_testbed.engines", "oae_testbed.topologies", "oae_testbed.faults"


class PluginError(UserError):
    """Something is wrong with what a package brings: one line that names it."""


@cache
def installed(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """What packages bring, by name; of one name usually one."""
    from importlib.metadata import entry_points  # takes longer than the rest of `testbed --help`

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, package(point))):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def called(group: str, name: str, shipped: Collection[str]) -> EntryPoint | None:
    """What a package brings under this name; None: nothing. Raises PluginError for a name that means two things, of
    which one may be what ships."""
    points = installed(group).get(name, ())
    owners = [package(point) for point in points] + ["the testbed itself"] * (name in shipped)
    if points and len(owners) > 1:
        what = group.rpartition(".")[2]
        raise PluginError(
            f"{name!r} is brought by {' and by '.join(owners)} ({what}); uninstall one of them, or rename it"
        )
    return points[0] if points else None


def names(group: str, shipped: Collection[str]) -> list[str]:
    """What packages bring. Raises PluginError as called does."""
    return [name for name in installed(group) if called(group, name, shipped) is not None]


def brought_by(group: str, name: str) -> str:
    """Which package brings it."""
    return package(installed(group)[name][0])


def package(point: EntryPoint) -> str:
    """Which package an entry point is of."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def loaded(point: EntryPoint) -> object:
    """What an entry point means. Raises PluginError for whatever goes wrong in the package."""
    try:
        return point.load()
    except Exception as error:  # the package's code may raise anything
        raise PluginError(
            f"{point.name} of {package(point)} can't be loaded: {type(error).__name__}: {error}"
        ) from None


def source(point: EntryPoint) -> tuple[Path, str, str]:
    """Where what it means is written, without its being run: the folder of the package's folder, the file's place in
    that, and what in it is meant. Raises PluginError."""
    from importlib.util import find_spec

    top, *inside = point.module.split(".")
    spec = find_spec(top)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(place, *inside)
        for path in (file.with_suffix(".py"), file / "__init__.py"):
            if path.is_file():
                return Path(place).parent, path.relative_to(Path(place).parent).as_posix(), point.attr
    if spec is not None and spec.origin and not inside and spec.origin.endswith(".py"):
        return Path(spec.origin).parent, Path(spec.origin).name, point.attr
    raise PluginError(f"{point.name} of {package(point)}: there is no Python file {point.module}; is it whole?")
