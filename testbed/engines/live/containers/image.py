"""The image of a node: Python, its shared libraries, a shell, ``ip``, and ``nodes``; made without any registry.

    built = build()                   # in the user's cache: a root file system and an image as `docker load` takes it

What it takes is what this machine's distribution has installed: its own Python (not that of a virtual environment),
some programs, and whatever shared libraries these need. ``nodes/Dockerfile`` gives the same layout from a registry's
Debian.

Reproducible: files in order, owned by root, dated 1970, compiled without stamps; the same inputs give the same digest.
An image is named for the ``nodes`` that is in it, so that one of other sources is never run by mistake.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import testbed
from testbed.engines.live.containers import rootfs
from testbed.engines.live.containers.rootfs import (
    SYSTEM_FOLDERS,
    ImageUnavailable,
    archive,
    compile_sources,
    copy,
    copy_tree,
    find_programs,
    finish,
    lay_foundation,
    libraries,
    run,
)
from testbed.engines.vkernel.kernel import cache_folder

PYTHON = "/usr/bin/python3"
LEAST_PYTHON = (3, 11)
PROGRAMS = {"dash": "sh"} | {name: name for name in ("ip", "ls", "cat", "env", "sleep", "stty", "ps", "ping")}
"""Programs beside Python, for people's shells, and what each is called inside."""
NEEDED = ("dash", "ip")

REPOSITORY = "oae-node"
HOME = "/opt/oae"
"""Where the package ``testbed`` lies in the image: ``testbed.nodes``, and nothing else of it."""
SOCKET_FOLDER = "/run/oae"
SOCKET = f"{SOCKET_FOLDER}/agent.sock"
"""Where the agent finds its fabric: a folder that each container is given."""
ENTRYPOINT = ("/usr/bin/python3", "-B", "-m", "testbed.nodes.agent", SOCKET)
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    "PYTHONPATH": HOME,
    "PYTHONHASHSEED": "0",
    "LANG": "C.UTF-8",
}
LABELS = {"org.opencontainers.image.title": REPOSITORY, "oae-testbed.image": "node"}
_SETTINGS = {
    "Entrypoint": list(ENTRYPOINT),
    "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
    "WorkingDir": "/",
    "Labels": LABELS,
}

_UNUSED = re.compile(
    r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|venv|pydoc_data|config-[^/]*)(/|$)"
    r"|^(curses|dbm|distutils|sqlite3|unittest|wsgiref|xmlrpc)/"
    r"|^(site-packages|dist-packages|turtle\.py|pydoc\.py|LICENSE\.txt|EXTERNALLY-MANAGED)"
    r"|^lib-dynload/(_ssl|_sqlite3|_curses|_curses_panel|_dbm|_gdbm|_tkinter|nis|ossaudiodev|readline|_?test\w*|xx\w*"
    r"|_ctypes_test|_xx\w*)\."
)


@dataclass(frozen=True, slots=True)
class Image:
    """A built image. name: repository and tag. digest: its identity for engines. archive: as `docker load` takes it.

    rootfs: the same as a folder, for a runtime.
    """

    name: str
    digest: str
    archive: Path
    rootfs: Path


@cache
def image_name() -> str:
    """The image that belongs to the present sources of ``nodes``, and to this recipe."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(rootfs.__file__).read_bytes())
    for name, path in _sources().items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def image_folder() -> Path:
    """Where the present sources' image is, or would be, in the user's cache."""
    return cache_folder().parent / "image" / image_name().partition(":")[2]


def find_image() -> Image | None:
    """The present sources' image, when it has been built."""
    folder = image_folder()
    try:
        digest = (folder / "digest").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return Image(image_name(), digest, folder / "image.tar", folder / "rootfs")


def build() -> Image:
    """Makes the image anew in the user's cache, in some seconds. Raises ImageUnavailable."""
    folder = image_folder()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageUnavailable(
            "image cache", f"{folder.parent}: {error.strerror}", "Name a folder you may write in OAE_CACHE"
        ) from error
    with _locked(folder.parent):
        for left in folder.parent.glob(".build-*"):  # we hold the lock, so nobody is at work in there
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=".build-", dir=folder.parent))
        try:
            work.chmod(0o755)
            _lay_out(work / "rootfs")
            digest = archive(work / "rootfs", work / "image.tar", image_name(), _SETTINGS)
            (work / "digest").write_text(digest + "\n", encoding="ascii")
            if folder.exists():
                folder.rename(work / "old")
            work_done = folder.with_name(f".done-{folder.name}")
            shutil.rmtree(work_done, ignore_errors=True)
            work_done.mkdir()
            for name in ("rootfs", "image.tar", "digest"):
                (work / name).rename(work_done / name)
            work_done.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Image(image_name(), digest, folder / "image.tar", folder / "rootfs")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One build at a time; the lock goes with the process, whatever ends it."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# -- the root file system ---------------------------------------------------------------------------------------------


def _lay_out(root: Path) -> None:
    """Everything in its place."""
    lay_foundation(root)
    python, library = _python()
    inside = root / "usr/lib" / library.name
    copy_tree(library, inside, _UNUSED)
    programs = {python: root / "usr/bin/python3"} | {
        path: root / "usr/bin" / name for path, name in find_programs(PROGRAMS, NEEDED, SYSTEM_FOLDERS).items()
    }
    for path, target in programs.items():
        copy(path, target)
    extensions = sorted((inside / "lib-dynload").glob("*.so"))
    for path, name in libraries([*programs, *extensions]).items():
        copy(path, root / name.lstrip("/"))
    for name, path in _sources().items():
        copy(path, root / HOME.lstrip("/") / name)
    for folder in (inside, root / HOME.lstrip("/")):
        compile_sources(python, folder, root)
    finish(root)


def _sources() -> dict[str, Path]:
    """What nodes run, by its name in the image's HOME."""
    package = Path(str(testbed.__file__)).parent
    files = [package / "__init__.py", *sorted((package / "nodes").rglob("*.py"))]
    return {path.relative_to(package.parent).as_posix(): path for path in files}


def _python() -> tuple[Path, Path]:
    """The distribution's Python and the folder of its library."""
    if not os.access(PYTHON, os.X_OK):
        raise ImageUnavailable("the node's image", f"there is no {PYTHON}", "Install it: apt-get install python3")
    ask = "import os, sys; print(*sys.version_info[:2], sys.flags.isolated and os.path.dirname(os.__file__))"
    major, minor, library = run([PYTHON, "-I", "-c", ask], "asking the distribution's Python").split()
    if (int(major), int(minor)) < LEAST_PYTHON:
        raise ImageUnavailable(
            "the node's image",
            f"{PYTHON} is Python {major}.{minor}, and nodes need {'.'.join(map(str, LEAST_PYTHON))} or newer",
            "Build it from nodes/Dockerfile, with a registry",
        )
    return Path(PYTHON).resolve(), Path(library)
