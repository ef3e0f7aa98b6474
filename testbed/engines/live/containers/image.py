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
import io
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import testbed
from testbed.engines.vkernel.kernel import cache_folder
from testbed.errors import UserError

PYTHON = "/usr/bin/python3"
LEAST_PYTHON = (3, 11)
PROGRAMS = {"dash": "sh"} | {name: name for name in ("ip", "ls", "cat", "env", "sleep", "stty", "ps", "ping")}
"""Programs beside Python, for people's shells, and what each is called inside."""
NEEDED = ("dash", "ip")
SYSTEM_FOLDERS = "/usr/bin:/bin:/usr/sbin:/sbin"

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

_UNUSED = re.compile(
    r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|venv|pydoc_data|config-[^/]*)(/|$)"
    r"|^(curses|dbm|distutils|sqlite3|unittest|wsgiref|xmlrpc)/"
    r"|^(site-packages|dist-packages|turtle\.py|pydoc\.py|LICENSE\.txt|EXTERNALLY-MANAGED)"
    r"|^lib-dynload/(_ssl|_sqlite3|_curses|_curses_panel|_dbm|_gdbm|_tkinter|nis|ossaudiodev|readline|_?test\w*|xx\w*"
    r"|_ctypes_test|_xx\w*)\."
)
_EMPTY_FOLDERS = ("dev", "etc", "opt", "proc", "root", "run", "run/oae", "sys", "tmp", "var", "usr/sbin")
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_LIBRARY = re.compile(r"(?:(\S+) => )?(/\S+) \(0x")
_COMPILE = """
import compileall, py_compile, sys
folder, root = sys.argv[1:]
options = {"stripdir": root, "prependdir": "/", "quiet": 1, "force": True}
unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
sys.exit(not compileall.compile_dir(folder, **options, invalidation_mode=unchecked))
"""


class ImageUnavailable(UserError):  # noqa: N818 (says what it means)
    """The image can't be made, or is not there. what, why, and what to do about it."""

    def __init__(self, what: str, why: str, advice: str) -> None:
        super().__init__(f"{what}: {why}. {advice}")
        self.what, self.why, self.advice = what, why, advice


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
    digest = hashlib.sha256(Path(__file__).read_bytes())
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
            digest = _archive(work / "rootfs", work / "image.tar")
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
    for name in (*_EMPTY_FOLDERS, *_LINKS.values()):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, leads_to in _LINKS.items():
        (root / name).symlink_to(leads_to)
    for name, text in _FILES.items():
        (root / name).write_text(text, encoding="ascii")
    python, library = _python()
    inside = root / "usr/lib" / library.name
    _copy_tree(library, inside)
    programs = {python: root / "usr/bin/python3"} | {
        path: root / "usr/bin" / name for path, name in _programs().items()
    }
    for path, target in programs.items():
        _copy(path, target)
    extensions = sorted((inside / "lib-dynload").glob("*.so"))
    for path, name in _libraries([*programs, *extensions]).items():
        _copy(path, root / name.lstrip("/"))
    for name, path in _sources().items():
        _copy(path, root / HOME.lstrip("/") / name)
    for folder in (inside, root / HOME.lstrip("/")):
        _run([str(python), "-I", "-c", _COMPILE, str(folder), str(root)], "compiling it")
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)  # whatever our mask is


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
    major, minor, library = _run([PYTHON, "-I", "-c", ask], "asking the distribution's Python").split()
    if (int(major), int(minor)) < LEAST_PYTHON:
        raise ImageUnavailable(
            "the node's image",
            f"{PYTHON} is Python {major}.{minor}, and nodes need {'.'.join(map(str, LEAST_PYTHON))} or newer",
            "Build it from nodes/Dockerfile, with a registry",
        )
    return Path(PYTHON).resolve(), Path(library)


def _programs() -> dict[Path, str]:
    found = {}
    for program, name in PROGRAMS.items():
        path = shutil.which(program, path=SYSTEM_FOLDERS)
        if path is not None:
            found[Path(path).resolve()] = name
        elif program in NEEDED:
            package = {"ip": "iproute2"}.get(program, program)
            raise ImageUnavailable("the node's image", f"there is no {program}", f"apt-get install {package}")
    return found


def _copy_tree(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_file() and not _UNUSED.search(name):
            _copy(path, target / name)


def _copy(source: Path, target: Path) -> None:
    """The file itself where ``source`` is a link to it; of its rights only that it can be run."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)


def _libraries(programs: Iterable[Path]) -> dict[Path, str]:
    """The shared libraries that these need, and where the loader looks for each."""
    found: dict[Path, str] = {}
    for program in programs:
        for _, path in _LIBRARY.findall(_run(["ldd", str(program)], f"looking for what {program.name} needs")):
            folder = Path(path).parent.resolve()
            found[Path(path).resolve()] = str(folder / Path(path).name)
    return found


def _run(command: list[str], what: str) -> str:
    environment = {"PATH": SYSTEM_FOLDERS, "LC_ALL": "C", "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ImageUnavailable("the node's image", f"{what}: {command[0]}: {error.strerror}", "Install it") from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise ImageUnavailable("the node's image", f"{what} failed: {reason[0]}", "Is the distribution's Python whole?")
    return done.stdout


# -- the image --------------------------------------------------------------------------------------------------------


def _archive(rootfs: Path, target: Path) -> str:
    """One layer and what engines want to know of it, as one file. Returns the image's identity."""
    layer = target.with_suffix(".layer")
    with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(rootfs.rglob("*")):
            tar.add(path, path.relative_to(rootfs).as_posix(), recursive=False, filter=_as_of_nobody)
    with layer.open("rb") as file:
        layer_digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(_config(layer_digest), sort_keys=True).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{digest}.json", "RepoTags": [image_name()], "Layers": [f"{layer_digest}/layer.tar"]}]
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in ((f"{digest}.json", config), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        tar.add(layer, f"{layer_digest}/layer.tar", filter=_as_of_nobody)
    layer.unlink()
    return f"sha256:{digest}"


def _as_of_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing of who made it, and when."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = 0
    if entry.isdir():
        entry.mode = 0o1777 if entry.name == "tmp" else 0o755
    elif entry.isfile():
        entry.mode = 0o755 if entry.mode & stat.S_IXUSR else 0o644
    return entry


def _config(layer_digest: str) -> dict[str, object]:
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": list(ENTRYPOINT),
            "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
            "WorkingDir": "/",
            "Labels": LABELS,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "testbed image build"}],
    }
