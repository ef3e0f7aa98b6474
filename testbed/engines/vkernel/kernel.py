"""Finds and builds the virtual-time kernel: User Mode Linux with a clock grain of one nanosecond.

The kernel comes from a source package of the distribution (or from a tarball that the user names), the patches
and the configuration that lie beside this file, and is kept in a cache outside the tree:

    ${OAE_CACHE:-${XDG_CACHE_HOME:-~/.cache}}/oae-testbed/vkernel/<key>/linux

where <key> names source, configuration and patches, so that a change of any of them builds anew. What is there
is complete: a build is installed by one rename, and what an interrupted one left is removed by the next.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from testbed.engines.base import EngineUnavailable

HERE = Path(__file__).resolve().parent
FRAGMENT = HERE / "config.fragment"
PATCHES = HERE / "patches"

SOURCE_FOLDER = Path("/usr/src")
SOURCE_NAMES = ("linux-source-6.12",)
"""Source packages that our patches fit, best first."""

OBJECTS = 920
"""About how many files a build compiles; only the progress display uses it."""

ADVICE_SOURCE = "apt-get install linux-source-6.12, or name a tarball of 6.12 in OAE_KERNEL_SOURCE"

TOOLS: Mapping[str, str] = {
    "gcc": "gcc",
    "make": "make",
    "ld": "binutils",
    "strip": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "patch": "patch",
    "tar": "tar",
    "xz": "xz-utils",
}
"""Programs a build calls, and the Debian packages that hold them."""

UNUSED = (
    "*/Documentation/*.rst",
    "*/Documentation/*.yaml",
    "*/Documentation/*.txt",
    "*/drivers/gpu/*.[ch]",
    "*/drivers/media/*.[ch]",
    "*/drivers/net/ethernet/*.[ch]",
    "*/drivers/net/wireless/*.[ch]",
)
"""Files that no build of ours reads, not worth unpacking (wildcards of `tar --exclude`)."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the whole that is done, 0.0 to 1.0."""


class VKernelUnavailable(EngineUnavailable):
    """The kernel cannot be had. Says what is missing, why, and what the user can do about it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A kernel source tarball."""

    archive: Path

    @property
    def version(self) -> str:
        """The name of the tarball without its endings, fit for a folder's name."""
        stem = re.sub(r"\.(tar(\.\w+)?|tgz|txz)$", "", self.archive.name)
        return re.sub(r"[^A-Za-z0-9.+-]", "_", stem)


# ---------------------------------------------------------------------------- where things are


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds built kernels, one folder each. It need not exist yet."""
    base = environ.get("OAE_CACHE") or environ.get("XDG_CACHE_HOME")
    root = Path(base).expanduser() if base else Path("~/.cache").expanduser()
    return root / "oae-testbed" / "vkernel"


def recipe_hash() -> str:
    """Twelve hexadecimal digits that change with the configuration or any patch."""
    digest = hashlib.sha256(FRAGMENT.read_bytes())
    for patch in patches():
        digest.update(patch.name.encode() + b"\0" + patch.read_bytes())
    return digest.hexdigest()[:12]


def patches() -> list[Path]:
    """The patches, in the order in which they are applied."""
    return sorted(PATCHES.glob("*.patch"))


def kernel_key(source: Source) -> str:
    """The name of the cache folder for a kernel built from `source`: version, its content, our recipe."""
    with source.archive.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{source.version}-{content[:8]}-{recipe_hash()}"


def find_kernel(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The kernel to boot, or None if none has been built with the present recipe.

    `OAE_KERNEL` names a binary that somebody else has built, for instance one shared by several users.
    """
    named = environ.get("OAE_KERNEL")
    if named:
        return _usable(Path(named))
    folder = cache_folder(environ)
    built = [path for path in folder.glob(f"*-{recipe_hash()}/linux") if _usable(path)]
    return max(built, key=lambda path: path.stat().st_mtime, default=None)


def _usable(path: Path) -> Path | None:
    return path if path.is_file() and os.access(path, os.R_OK | os.X_OK) else None


def find_source(named: Path | None = None, environ: Mapping[str, str] = os.environ) -> Source:
    """The source to build from: the one named, that of `OAE_KERNEL_SOURCE`, or the distribution's."""
    wish = named or (Path(environ["OAE_KERNEL_SOURCE"]) if environ.get("OAE_KERNEL_SOURCE") else None)
    if wish is not None:
        if not wish.is_file():
            raise VKernelUnavailable("kernel source", f"{wish} is not a file", ADVICE_SOURCE)
        return Source(wish.resolve())
    for name in SOURCE_NAMES:
        for archive in sorted(SOURCE_FOLDER.glob(f"{name}.tar*")):
            return Source(archive)
    raise VKernelUnavailable("kernel source", "no kernel source package is installed", ADVICE_SOURCE)


def missing_build_tools() -> list[str]:
    """Debian packages that a build still needs, sorted; empty when everything is there."""
    lacking = {package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if not Path("/usr/include/stdio.h").exists():
        lacking.add("libc6-dev")
    return sorted(lacking)


def check_host() -> None:
    """Refuses hosts on which User Mode Linux does not exist."""
    machine = os.uname().machine
    if machine != "x86_64" or sys.platform != "linux":
        raise VKernelUnavailable(
            "virtual-time kernel",
            f"User Mode Linux needs a Linux host with an x86-64 processor, this is {sys.platform} on {machine}",
            "Use the engine `sim` here",
        )


# ---------------------------------------------------------------------------- building


def build_kernel(named: Path | None = None, progress: Progress | None = None, jobs: int | None = None) -> Path:
    """The path of a kernel built from `named` (or the source found), building it when it is not in the cache.

    Takes some six minutes on two processors. A second caller waits for the first and gets its kernel.
    `jobs` is the number of compilers at once, by default one per processor.
    """
    tell = progress or _silent
    check_host()
    source = find_source(named)
    folder = cache_folder()
    key = kernel_key(source)
    target = folder / key / "linux"
    if _usable(target):
        return target
    _require_tools()
    _make_folder(folder)
    with _locked(folder, tell):
        if not _usable(target):
            _build_in(folder, source, key, tell, jobs or len(os.sched_getaffinity(0)))
    return target


def _silent(_stage: str, _share: float) -> None:
    """Stands in for a progress display."""


def _require_tools() -> None:
    lacking = missing_build_tools()
    if lacking:
        raise VKernelUnavailable(
            "build tools", f"missing: {', '.join(lacking)}", f"apt-get install {' '.join(lacking)}"
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VKernelUnavailable(
            "kernel cache", f"{folder}: {error.strerror}", "Name a folder you may write in OAE_CACHE"
        ) from error


@contextlib.contextmanager
def _locked(folder: Path, tell: Progress) -> Iterator[None]:
    """Holds the cache's lock; it goes with the process, whatever ends it."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another build", 0.0)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_in(folder: Path, source: Source, key: str, tell: Progress, jobs: int) -> None:
    """Builds in a temporary folder inside the cache (same file system, for the rename) and installs."""
    for left in folder.glob(".build-*"):  # we hold the lock, so nobody is at work in there
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
    try:
        with (folder / "build.log").open("w") as log:
            _unpack(source, work, log, tell)
            tree = _only_folder(work, source)
            _patch(tree, log, tell)
            _configure(tree, log, tell)
            _compile(tree, log, tell, jobs)
        _install(tree / "linux", folder / key, tell)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpack(source: Source, work: Path, log: IO[str], tell: Progress) -> None:
    tell(f"unpacking {source.archive.name}", 0.0)
    excludes = [f"--exclude={pattern}" for pattern in UNUSED]
    _run(["tar", "-xf", str(source.archive), *excludes], work, log)


def _only_folder(work: Path, source: Source) -> Path:
    folders = [path for path in work.iterdir() if (path / "arch/um/Makefile").is_file()]
    if len(folders) != 1:
        raise VKernelUnavailable("kernel source", f"{source.archive} holds no kernel tree", ADVICE_SOURCE)
    return folders[0]


def _patch(tree: Path, log: IO[str], tell: Progress) -> None:
    tell("patching", 0.06)
    for patch in patches():
        with patch.open("rb") as text:
            _run(["patch", "-p1", "-N", "-F3", "--no-backup-if-mismatch"], tree, log, stdin=text)


def _configure(tree: Path, log: IO[str], tell: Progress) -> None:
    tell("configuring", 0.07)
    _run(["make", "ARCH=um", "tinyconfig"], tree, log)
    with (tree / ".config").open("a") as config:
        config.write(FRAGMENT.read_text())
    _run(["make", "ARCH=um", "olddefconfig"], tree, log)


def _compile(tree: Path, log: IO[str], tell: Progress, jobs: int) -> None:
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if line.startswith("  CC "):
            done += 1
            tell("compiling", 0.1 + 0.87 * min(done / OBJECTS, 1.0))

    _run(["make", "ARCH=um", f"-j{jobs}", "linux"], tree, log, each_line=count)


def _install(binary: Path, target: Path, tell: Progress) -> None:
    """Strips the kernel and puts its folder in place with one rename."""
    tell("installing", 0.98)
    stage = binary.parent.parent / "stage"
    stage.mkdir()
    subprocess.run(["strip", "-o", str(stage / "linux"), str(binary)], check=True)
    (stage / "linux").chmod(0o755)
    shutil.copy(binary.parent / ".config", stage / "config")
    stage.chmod(0o755)
    shutil.rmtree(target, ignore_errors=True)  # only ever a folder without a usable kernel
    stage.rename(target)
    tell("built", 1.0)


def _environment() -> dict[str, str]:
    """What a build may see: nothing of the user's that could change its outcome."""
    passed = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    fixed = {
        "LC_ALL": "C",
        "KBUILD_BUILD_TIMESTAMP": "2000-01-01",
        "KBUILD_BUILD_USER": "oae",
        "KBUILD_BUILD_HOST": "testbed",
    }
    return passed | fixed


def _run(
    command: Sequence[str],
    folder: Path,
    log: IO[str],
    stdin: IO[bytes] | None = None,
    each_line: Callable[[str], None] = lambda _line: None,
) -> None:
    """Runs one step, its output into the log; no step outlives us, and a failing one becomes our error."""
    last: deque[str] = deque(maxlen=8)
    process = subprocess.Popen(
        ["sh", "-c", _GROUP_DIES_WITH_US, "sh", *command],
        cwd=folder,
        env=_environment(),
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 (calls nothing but prctl)
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            last.append(line.rstrip())
            each_line(line)
        status = process.wait()
    finally:
        _kill_group(process)
    if status:
        raise VKernelUnavailable(
            "kernel build",
            f"`{' '.join(command[:4])}` ended with status {status}: {' | '.join(last)}",
            f"The whole log is in {log.name}",
        )


_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


# A step is a tree of processes (make, shells, compilers). When we die, even by SIGKILL, the host tells the shell on
# top, and that ends its whole process group.
_GROUP_DIES_WITH_US = 'trap "kill -KILL 0" TERM; exec 3<&0; "$@" <&3 3<&- & wait $!'


def _die_with_parent() -> None:
    """Asks the host to tell this process when its parent dies, even by SIGKILL."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


# ---------------------------------------------------------------------------- command line


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m testbed.engines.vkernel.kernel build|path`: prints the path of the kernel on stdout."""
    parser = argparse.ArgumentParser(prog="testbed.engines.vkernel.kernel", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser("build", help="build the kernel unless it is in the cache; print its path")
    build.add_argument("--source", type=Path, metavar="TARBALL", help="kernel source to build from")
    build.add_argument("--jobs", type=int, metavar="N", help="compilers at once (default: one per processor)")
    verbs.add_parser("path", help="print the path of the kernel that would be booted")
    options = parser.parse_args(arguments)
    try:
        return _path() if options.verb == "path" else _build(options.source, options.jobs)
    except VKernelUnavailable as error:
        print(f"{error.what}: {error.why}\n{error.advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; nothing half-built was kept", file=sys.stderr)
        return 130


def _path() -> int:
    kernel = find_kernel()
    print(kernel or "no kernel has been built yet")
    return 0 if kernel else 1


def _build(source: Path | None, jobs: int | None) -> int:
    print(build_kernel(source, _show, jobs))
    return 0


def _show(stage: str, share: float) -> None:
    """A progress line on stderr: rewritten in place on a terminal, one line per ten percent elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{share:4.0%} {stage}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)
    elif stage != "compiling" or int(share * 1000) % 100 == 0:
        print(f"{share:4.0%} {stage}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
