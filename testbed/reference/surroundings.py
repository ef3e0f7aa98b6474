"""What the testbed takes from its surroundings."""

from __future__ import annotations

from testbed.reference.markdown import table

ENVIRONMENT = {
    "OAE_CACHE": "the folder of what is built once (the virtual-time kernel, the compiled simulator, images of "
    "nodes), in place of `XDG_CACHE_HOME` or `~/.cache`",
    "OAE_COMPILED": "`0`: the simulator runs as plain Python, whether or not a compiled build is there",
    "OAE_KERNEL": "a virtual-time kernel to boot, in place of the one in the cache",
    "OAE_KERNEL_SOURCE": "the kernel's source (a tarball) to build from, in place of the distribution's package",
    "DOCKER_HOST": "the container engine's socket, in place of the usual ones",
    "COLUMNS": "how wide tables are printed; else as wide as the terminal, and in a pipe as wide as they are",
    "XDG_RUNTIME_DIR": "where running fabrics are written down",
}
"""What users may set. Engines tell their own processes more, by names that begin with OAE_ as well (INTERNAL)."""

INTERNAL = frozenset({"OAE_GUEST", "OAE_JOB", "OAE_NODE", "OAE_STARTED_IN", "OAE_TESTBED_FABRIC"})
"""Told by the testbed to processes of its own."""

_HEAD = """# Environment

Variables that the testbed looks at. No run depends on any of them: they say where things are, and how fast they go.
"""


def environment_page() -> str:
    """reference/environment.md."""
    return _HEAD + "\n" + table(("variable", "meaning"), [(f"`{name}`", told) for name, told in ENVIRONMENT.items()])
