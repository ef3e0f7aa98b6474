"""Hosts by name to every command in a fabric (``ping host2``): an /etc/hosts of the fabric's own.

It stands in a file system in memory, bound over that of the host in the mount namespace of the fabric: nothing lies on
a disk, nobody outside sees it, and it goes with the last process in there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from testbed.engines.live import syscalls
from testbed.engines.live.syscalls import MNT_DETACH, MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID
from testbed.topologies.fabric import Fabric

HOSTS = "/etc/hosts"
_PLACE = "/run/netns"  # the fabric's own, see isolation.py; where the memory is mounted until it is bound
_MODE = 0o644


def names(fabric: Fabric) -> dict[str, str]:
    """Host -> what its name stands for."""
    return {host: address.partition("/")[0] for host, address in fabric.addresses.items()}


def name_hosts(addresses: Mapping[str, str]) -> None:
    """From now on, in this mount namespace and those that are made of it. To be called where mounts are private alone.

    What the machine knows by name is known all the same, behind these. A machine without an /etc/hosts stays so.
    """
    if not os.path.exists(HOSTS):
        return
    own = "".join(f"{address}\t{name}\n" for name, address in addresses.items())
    text = own + Path(HOSTS).read_text(encoding="utf-8", errors="surrogateescape")
    syscalls.mount("tmpfs", _PLACE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755")
    try:
        file = Path(_PLACE, "hosts")
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
        file.chmod(_MODE)
        syscalls.mount(str(file), HOSTS, None, MS_BIND)
    finally:
        syscalls.unmount(_PLACE, MNT_DETACH)
