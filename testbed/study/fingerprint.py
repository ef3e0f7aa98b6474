"""The identity of a trial: all that its result depends on, in one hash.

It covers every file of ``testbed`` (machines, fabrics, both engines, patches, the guest's init, verdicts, this package)
but what only hands results on or tells of the code (``actions``, ``api``, ``cli``, ``reference``, ``report``,
``.md``) and what plans are made of (``shipped``); the versions of Python and of the libraries that compute; and for
vkernel the kernel that was built. It does not cover the host's own programs that a guest borrows (its shell,
``mount``), which set no time and draw no number.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FORMAT = 3
_LIBRARIES = ("numpy", "scipy", "mininet")
_LEFT_OUT = (
    "testbed/actions/",
    "testbed/api/",
    "testbed/cli/",
    "testbed/reference/",
    "testbed/report/",
    "testbed/serve/",
    "testbed/setup.sh",
    "testbed/shipped/",
)
_ONLY_A_REAL_KERNELS = ("testbed/engines/live/", "testbed/engines/vkernel/")


@cache
def code_fingerprint(engine: str) -> str:
    """A hash of what every trial on ``engine`` depends on beside its plan and seeds."""
    digest = hashlib.blake2b(digest_size=8)
    for name, path in covered_files(engine).items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(json.dumps(computed_with()).encode())
    if engine == "vkernel":
        digest.update(_kernel().encode())
    return digest.hexdigest()


def computed_with() -> dict[str, str]:
    """The versions of Python and of the libraries that compute; "" where one is not there."""
    return {"Python": sys.version, **{name: _version(name) for name in _LIBRARIES}}


def trial_key(plan_json: str, engine: str, seeds: tuple[int, ...], crashes: str, asked: tuple[bool, ...]) -> str:
    """The identity of a trial: the plan of its first run, the seeds of all, what was asked, and the code."""
    inputs = json.dumps([FORMAT, code_fingerprint(engine), engine, plan_json, list(seeds), crashes, asked])
    return hashlib.blake2b(inputs.encode(), digest_size=16).hexdigest()


def covered_files(engine: str) -> dict[str, Path]:
    """The files that a result on ``engine`` may depend on, by name; sim's on none of those that run a real kernel."""
    import testbed

    left_out = _LEFT_OUT + (_ONLY_A_REAL_KERNELS if engine == "sim" else ())
    root = Path(str(testbed.__file__)).parent
    files = {}
    # In a clone some folders of the package are links; names are the same whether they are.
    for folder, _, names in os.walk(root, followlinks=True):
        for path in (Path(folder, name) for name in names):
            name = path.relative_to(root.parent).as_posix()
            if path.suffix not in (".md", ".pyc") and not name.startswith(left_out):
                files[name] = path
    return dict(sorted(files.items()))


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _kernel() -> str:
    """The kernel that would boot: its cache folder is named for source and recipe; a binary of the user's own counts
    by its content."""
    from testbed.engines.vkernel.kernel import find_kernel, recipe_hash

    path = find_kernel()
    if path is None:
        return ""
    if path.parent.name.endswith(recipe_hash()):
        return path.parent.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
