"""The image in which the testbed itself runs, with its kernel inside; made without any registry.

    digest = build(Path("oae-testbed.tar"))      # for `docker load`; then: docker run --rm oae-testbed:0.1.0 run ...

What it takes is what is here: the Python that runs this, the packages that the testbed needs (none of those that only
some uses need), the virtual-time kernel, and the programs that a guest borrows. Whatever runs in it needs no rights
that a container has not got anyway.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import testbed
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
)
from testbed.engines.vkernel.kernel import find_kernel

PROJECT = "oae-testbed"
_HOME = "opt/oae"
_PYTHON, _PACKAGES, _KERNEL = f"{_HOME}/python", f"{_HOME}/packages", f"{_HOME}/linux"
_WORK = "work"
"""Where the command runs: for a folder of the host's, or of the container's own."""
_PROGRAMS = {"dash": "sh"} | {
    name: name
    for name in (
        "cat",
        "env",
        "ip",
        "ls",
        "mkdir",
        "mount",
        "ping",
        "ps",
        "rm",
        "sleep",
        "stty",
        "sync",
        "tc",
        "umount",
    )
}
_NEEDED = ("dash", "env", "ip", "mkdir", "mount", "sleep", "sync", "tc")
_UNUSED = re.compile(
    r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|config-[^/]*)(/|$)"
    r"|^(site-packages|dist-packages)(/|$)|^lib-dynload/(_tkinter|_?test\w*|_ctypes_test|xx\w*|_xx\w*)\."
)
_COMMAND = f"#!/{_PYTHON}/bin/python3\nfrom testbed.cli.main import main\n\nmain()\n"

Report = Callable[[str, float], None]
"""Is told what comes now, and the share of the work that is done."""


def build(target: Path, report: Report) -> str:
    """Writes the archive ``target``, in some minutes; returns the image's identity. Raises ImageUnavailable."""
    kernel = find_kernel()
    if kernel is None:
        raise ImageUnavailable(
            "the testbed's image", "the kernel that goes into it is not built", "testbed kernel build"
        )
    try:
        with tempfile.TemporaryDirectory(prefix=f".{PROJECT}-image-", dir=target.absolute().parent) as scratch:
            root, made = Path(scratch) / "rootfs", Path(scratch) / "image.tar"
            _lay_out(root, kernel, report)
            report("packing", 0.9)
            digest = archive(root, made, image_name(), _settings())
            made.rename(target)
    except OSError as error:
        raise ImageUnavailable(
            "the testbed's image",
            f"{error.filename or target}: {error.strerror}",
            "It takes 2 GB; name a file elsewhere",
        ) from error
    return digest


def image_name() -> str:
    """Repository and tag."""
    return f"{PROJECT}:{_project().version}"


def _settings() -> dict[str, object]:
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": f"/{_PACKAGES}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",
        "OAE_KERNEL": f"/{_KERNEL}",
    }
    return {
        "Entrypoint": ["/usr/bin/testbed"],
        "Cmd": ["--help"],
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "WorkingDir": f"/{_WORK}",
        "Labels": {"org.opencontainers.image.title": PROJECT},
    }


def _lay_out(root: Path, kernel: Path, report: Report) -> None:
    """Everything in its place."""
    report("copying", 0.0)
    lay_foundation(root)
    (root / _WORK).mkdir()
    python, library = Path(sys.executable).resolve(), Path(os.__file__).parent
    copy_tree(library, root / _PYTHON / "lib" / library.name, _UNUSED)
    programs = {
        path: root / "usr/bin" / name for path, name in find_programs(_PROGRAMS, _NEEDED, SYSTEM_FOLDERS).items()
    }
    for path, target in (programs | {python: root / _PYTHON / "bin/python3", kernel: root / _KERNEL}).items():
        copy(path, target)
    packages = dict(_packages())
    for name, path in packages.items():
        copy(path, root / _PACKAGES / name)
    extensions = [path for path in (*library.glob("lib-dynload/*.so"), *packages.values()) if ".so" in path.suffixes]
    for path, place in libraries([*programs, python, *extensions]).items():
        if path not in packages.values():  # those that wheels bring along are found from where they lie
            copy(path, root / place.lstrip("/"))
    command = root / "usr/bin" / "testbed"
    command.write_text(_COMMAND, encoding="ascii")
    command.chmod(0o755)
    for folder, share in ((root / _PYTHON, 0.1), (root / _PACKAGES, 0.2)):
        report("compiling", share)
        compile_sources(python, folder, root)
    finish(root)


def _project() -> Distribution:
    try:
        return distribution(PROJECT)
    except PackageNotFoundError:
        raise ImageUnavailable(
            "the testbed's image", "this testbed is not installed, so what it needs is not known", "pip install it"
        ) from None


def _packages() -> Iterator[tuple[str, Path]]:
    """The files of the testbed and of all that it needs, with their names below a folder of packages."""
    here = Path(str(testbed.__file__)).parent
    for folder, _, names in os.walk(here, followlinks=True):
        for path in (Path(folder, name) for name in names if not folder.endswith("__pycache__")):
            yield path.relative_to(here.parent).as_posix(), path
    for needed in _needed(_project()):
        ours = needed.name == PROJECT  # its code may lie elsewhere; here is what it says about itself
        for file in needed.files or ():
            name, path = file.as_posix(), Path(str(needed.locate_file(file)))
            wanted = name.endswith(".dist-info/METADATA") if ours else not name.startswith("..")
            if wanted and not _UNUSED.search(name) and path.is_file():
                yield name, path


def _needed(project: Distribution) -> list[Distribution]:
    """The project and all that it needs, without what its extras ask for."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[tuple[str, str], Distribution] = {}
    wanted = [(project.name, "")]
    while wanted:
        name, extra = wanted.pop()
        if (canonicalize_name(name), extra) in found:
            continue
        known = found[canonicalize_name(name), extra] = distribution(name)
        for asked in map(Requirement, known.requires or ()):
            if asked.marker is None or asked.marker.evaluate({"extra": extra}):
                wanted += [(asked.name, more) for more in ("", *asked.extras)]
    return list({name: known for (name, _), known in found.items()}.values())
