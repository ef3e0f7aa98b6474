"""How many files and processes a fabric takes, against what this process may have."""

from __future__ import annotations

import resource

from testbed.engines.base import EngineUnavailable

_FILES_BESIDES = 64
_FILES_PER_HOST = 7  # journal, kept state, agent's channel; namespace, netlink, both ends of the holder's channel


FILES_PER_CONTAINER = 16  # beside those: its namespace, its socket and the agent's, two that tell, the engine's


def allow_files(hosts: int, per_host: int = 0) -> None:
    """Raises this process's limit of open files to what the hosts take, ``per_host`` of them beside the usual ones.

    Raises EngineUnavailable when it may not.
    """
    needed = _FILES_BESIDES + (_FILES_PER_HOST + per_host) * hosts
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard < needed and hard != resource.RLIM_INFINITY:
        raise EngineUnavailable(
            f"a fabric of {hosts} hosts",
            f"it takes some {needed} open files, and this process may have {hard} (ulimit -Hn)",
            "Raise that limit, or use fewer hosts",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
