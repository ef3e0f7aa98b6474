"""The same code, compiled: mypyc's build of the simulator's loop and of the machines, used where it fits the sources.

    python -m testbed.compiled      (``make compiled``; ``make setup`` starts it in the background, once)

Optional, and never in the way: builds lie in the user's cache, each in a folder named by a hash of the sources that
went into it, so that after any change of one of them nothing is found and the sources themselves run. What is compiled
gives the same results, byte for byte (tests/testbed/sim/test_sim_compiled.py). The command line and a study's workers
use it (testbed/cli/__init__.py), and so do the agents in a guest of ``vkernel``; those of ``live`` do not.
``OAE_COMPILED=0`` goes without.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from testbed.errors import UserError, installing

MODULES = (
    "testbed.nodes.agent.loop",
    "testbed.nodes.agent.nic",
    "testbed.nodes.agent.timers",
    "testbed.nodes.core.driver",
    "testbed.nodes.core.inputs",
    "testbed.nodes.oae.link",
    "testbed.nodes.oae.rounds",
    "testbed.engines.sim.fabric",
    "testbed.engines.sim.native",
    "testbed.engines.sim.netem",
    "testbed.engines.sim.node",
    "testbed.engines.sim.prng",
    "testbed.engines.sim.queue",
    "testbed.engines.sim.run",
)
"""What is compiled. Left out: how agents wait (testbed.nodes.agent.process), since Python looks for signals between two
of its steps, which compiled code has not, and a node that is continued must know it before it handles what waits;
numpy's work (random32, the recorders), which compiling slows down; and the kinds of effects and frames, whose
annotations are read at run time and do not survive it: their classes are hastened instead."""

HASTENED = ("testbed.nodes.frames", "testbed.nodes.core")
"""Whose NamedTuples are made in C (named_tuples.c)."""

_GROUP = "oae"  # the library that all these modules share is oae__mypyc
_HASTE = "oae_named_tuples"
_ROOT = Path(__file__).resolve().parent.parent
_IN_C = {
    _HASTE: _ROOT / "testbed" / "named_tuples.c",
    "oae_columns": _ROOT / "testbed" / "columns.c",
    "oae_frames": _ROOT / "testbed" / "nodes" / "frames" / "frames.c",
    "oae_journal": _ROOT / "testbed" / "nodes" / "agent" / "journal.c",
    "oae_ring": _ROOT / "testbed" / "nodes" / "agent" / "ring.c",
}
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
_SCRATCH = "building-"
_MOST_BUILDS = 8


def sources() -> list[Path]:
    """The files that are compiled."""
    return [*(_ROOT / (name.replace(".", "/") + ".py") for name in MODULES), *_IN_C.values()]


def folder() -> Path:
    """Where the build of the sources as they are now belongs; it need not exist."""
    digest = hashlib.sha256(f"{sys.version} {_SUFFIX} {MODULES}".encode())
    for path in sources():
        digest.update(path.read_bytes() + b"\0")
    base = os.environ.get("OAE_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "oae-testbed" / "compiled" / digest.hexdigest()[:16]


class _Finder(MetaPathFinder):
    """Finds the compiled modules, and leaves all others to those who come after."""

    def __init__(self, place: Path) -> None:
        self._files = {name: place / f"{name}{_SUFFIX}" for name in (*MODULES, f"{_GROUP}__mypyc", *_IN_C)}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The place of a compiled module."""
        file = self._files.get(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, str(file)))


def use() -> bool:
    """Let what is imported from now on be the compiled code, if it was built from the sources as they are; whether so.

    All of it or nothing: where one of the modules has been imported before, the sources stay in use.
    """
    if os.environ.get("OAE_COMPILED") == "0" or any(name in sys.modules for name in MODULES):
        return False
    place = folder()
    if not place.is_dir():
        return False
    sys.meta_path.insert(0, _Finder(place))
    _hasten()
    return True


def forgo() -> None:
    """Let the sources be what is imported from now on: for those who copy machines, which compiled ones can't be.

    Raises ImportError where one of the compiled modules is in use already.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    used = [name for name in MODULES if name in sys.modules and (sys.modules[name].__file__ or "").endswith(".so")]
    if used:
        raise ImportError(f"{used[0]} is compiled already")


def _hasten() -> None:
    hasten = import_module(_HASTE).hasten
    for name in HASTENED:
        for found in vars(import_module(name)).values():
            if isinstance(found, type) and found.__base__ is tuple:
                hasten(found)


def build() -> Path:
    """Compile, unless that has been done, and return the folder. Raises UserError when it can't be done."""
    place = folder()
    if place.is_dir():
        return place
    try:
        from mypyc.build import mypycify
        from setuptools import Distribution, Extension  # type: ignore[import-untyped]
        from setuptools.errors import BaseError  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(f"compiled: {error}; {installing('dev')}") from None
    with _alone(place.parent), tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=place.parent) as scratch:
        if place.is_dir():  # while we waited
            return place
        here = Path.cwd()
        os.chdir(_ROOT)  # mypy takes module names from paths
        try:
            extensions = mypycify(
                [str(path.relative_to(_ROOT)) for path in sources() if path.suffix == ".py"],
                opt_level="2",
                debug_level="0",
                group_name=_GROUP,
                target_dir=f"{scratch}/c",
            )
            extensions += [Extension(name, [str(source)]) for name, source in _IN_C.items()]
            distribution = Distribution({"name": _GROUP, "ext_modules": extensions, "packages": []})
            distribution.script_args = [
                "-q", "build_ext", "--build-temp", f"{scratch}/o", "--build-lib", f"{scratch}/lib",
            ]  # fmt: skip
            distribution.parse_command_line()
            distribution.run_commands()
        except BaseError as error:
            raise UserError(f"compiled: {error}; all works without it, or install gcc and try again") from None
        finally:
            os.chdir(here)
        if folder() != place:
            raise UserError("compiled: the sources changed meanwhile; try again")
        built = Path(scratch) / "whole"
        built.mkdir()
        for file in Path(scratch, "lib").rglob(f"*{_SUFFIX}"):
            name = ".".join(file.relative_to(Path(scratch, "lib")).with_name(file.name.removesuffix(_SUFFIX)).parts)
            shutil.copy(file, built / f"{name}{_SUFFIX}")
        built.rename(place)
        _forget_old(place)
    return place


@contextmanager
def _alone(builds: Path) -> Iterator[None]:
    """One build at a time: who comes second waits, and will find what it came for. What lies there half done is then of
    builds that were killed."""
    builds.mkdir(parents=True, exist_ok=True)
    with (builds / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel unlocks it when we end, however that happens
        for left in builds.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _forget_old(kept: Path) -> None:
    """Builds of sources that are gone would pile up."""
    builds = [path for path in kept.parent.iterdir() if path.is_dir() and not path.name.startswith(_SCRATCH)]
    others = sorted((path for path in builds if path != kept), key=lambda path: path.stat().st_mtime)
    for path in others[: -_MOST_BUILDS + 1]:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    try:
        print(build())
    except UserError as trouble:
        sys.exit(str(trouble))
