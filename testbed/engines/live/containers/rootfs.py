"""What images are made of: files of this machine's own packages in a root file system, and the archive of one.

Reproducible: files in order, owned by root, dated 1970; the same inputs give the same digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from testbed.errors import UserError

SYSTEM_FOLDERS = "/usr/bin:/bin:/usr/sbin:/sbin"
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


def lay_foundation(root: Path) -> None:
    """Folders, the links between them, who there is."""
    for name in (*_EMPTY_FOLDERS, *_LINKS.values()):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, leads_to in _LINKS.items():
        (root / name).symlink_to(leads_to)
    for name, text in _FILES.items():
        (root / name).write_text(text, encoding="ascii")


def finish(root: Path) -> None:
    """Rights that owe nothing to our mask."""
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def compile_sources(python: Path, folder: Path, root: Path) -> None:
    """Bytecode beside the sources, without stamps, so that it holds whatever the files' dates become."""
    run([str(python), "-I", "-c", _COMPILE, str(folder), str(root)], "compiling it")


def find_programs(wanted: Mapping[str, str], needed: Collection[str], folders: str) -> dict[Path, str]:
    """Where these programs are, and what each is called inside."""
    found = {}
    for program, name in wanted.items():
        path = shutil.which(program, path=folders)
        if path is not None:
            found[Path(path).resolve()] = name
        elif program in needed:
            package = {"ip": "iproute2"}.get(program, program)
            raise ImageUnavailable("the image", f"there is no {program}", f"apt-get install {package}")
    return found


def copy_tree(source: Path, target: Path, unused: re.Pattern[str]) -> None:
    """The files below ``source``, but for those whose names there match ``unused``."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_file() and not unused.search(name):
            copy(path, target / name)


def copy(source: Path, target: Path) -> None:
    """The file itself where ``source`` is a link to it; of its rights only that it can be run."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)


def libraries(programs: Iterable[Path]) -> dict[Path, str]:
    """The shared libraries that these need, and where the loader looks for each."""
    found: dict[Path, str] = {}
    for program in programs:
        for _, path in _LIBRARY.findall(run(["ldd", str(program)], f"looking for what {program.name} needs")):
            folder = Path(path).parent.resolve()
            found[Path(path).resolve()] = str(folder / Path(path).name)
    return found


def run(command: list[str], what: str) -> str:
    """What a command says. Raises ImageUnavailable where it fails; ``what``: what it is done for."""
    environment = {"PATH": SYSTEM_FOLDERS, "LC_ALL": "C", "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ImageUnavailable("the image", f"{what}: {command[0]}: {error.strerror}", "Install it") from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise ImageUnavailable("the image", f"{what} failed: {reason[0]}", "Is the distribution's Python whole?")
    return done.stdout


def archive(rootfs: Path, target: Path, name: str, settings: Mapping[str, object]) -> str:
    """One layer and what engines want to know of it, as one file. Returns the image's identity."""
    layer = target.with_suffix(".layer")
    with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(rootfs.rglob("*")):
            tar.add(path, path.relative_to(rootfs).as_posix(), recursive=False, filter=_as_of_nobody)
    with layer.open("rb") as file:
        layer_digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(_config(layer_digest, settings), sort_keys=True).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{digest}.json", "RepoTags": [name], "Layers": [f"{layer_digest}/layer.tar"]}]
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for member, data in ((f"{digest}.json", config), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(member)
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


def _config(layer_digest: str, settings: Mapping[str, object]) -> dict[str, object]:
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": dict(settings),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "testbed image build"}],
    }
