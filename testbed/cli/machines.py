"""Which machines a run goes over: those of an Ansible inventory, as the playbooks know them."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.cli.output import existing
from testbed.errors import UserError, installing
from testbed.shipped import shipped

if TYPE_CHECKING:
    from testbed.engines.live.machines.several import Address

_GROUP = "testbed"
_PROJECT = ".oae-testbed"  # where provision.yml puts it, in the user's home
_END = "testbed.engines.live.machines.remote"


def read_machines(inventory: str) -> list[Address]:
    """The machines of the group ``testbed`` of an inventory, in its order. Raises UserError."""
    if "," not in inventory:
        existing(Path(inventory), "inventory")
    data = _listed(inventory)
    names = data.get(_GROUP, {}).get("hosts") or data.get("ungrouped", {}).get("hosts") or []
    if len(names) < 2:
        raise UserError(
            f"--inventory {inventory}: its group {_GROUP} has {len(names)} machines; at least two are wanted"
        )
    variables = data["_meta"]["hostvars"]
    return [_address(name, {key: _plain(value) for key, value in variables.get(name, {}).items()}) for name in names]


def _listed(inventory: str) -> dict[str, Any]:
    program = Path(sys.executable).with_name("ansible-inventory")
    if not program.exists():
        raise UserError(f"--inventory: Ansible is not installed; {installing('ansible')}")
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(shipped("ansible.cfg")),
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
    }
    told = subprocess.run(
        [str(program), "-i", inventory, "--list"], capture_output=True, text=True, check=False, env=environment
    )
    if told.returncode != 0:
        words = [line for line in told.stderr.splitlines() if line.strip()]
        raise UserError(f"--inventory {inventory}: {words[-1] if words else 'ansible-inventory refused it'}")
    data: dict[str, Any] = json.loads(told.stdout)
    return data


def _plain(value: Any) -> Any:
    """Some versions wrap what may hold templates."""
    return value.get("__ansible_unsafe", value) if isinstance(value, dict) else value


def _address(name: str, variables: dict[str, Any]) -> Address:
    from testbed.engines.live.machines.several import Address

    host = str(variables.get("ansible_host", name))
    local = variables.get("ansible_connection") == "local"
    ip = variables.get("testbed_address") or (None if local else _resolved(name, host))
    if ip is None:
        raise UserError(f"{name}: say how other machines reach it: testbed_address=<IPv4 address> in the inventory")
    if local:
        return Address(name, (sys.executable, "-m", _END), str(ip))
    project = shlex.quote(str(variables.get("testbed_project", _PROJECT)))
    there = f"cd {project} && exec .venv/bin/python -m {_END}"
    return Address(name, (*_ssh(host, variables), there), str(ip))


def _ssh(host: str, variables: dict[str, Any]) -> list[str]:
    """The command line that reaches it, from what Ansible's own ssh connection goes by."""
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
    for variable in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        command += shlex.split(str(variables.get(variable, "")))
    for variable, option in (
        ("ansible_port", "-p"),
        ("ansible_user", "-l"),
        ("ansible_ssh_private_key_file", "-i"),
    ):
        if variable in variables:
            command += [option, str(variables[variable])]
    return [*command, host]


def _resolved(name: str, host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise UserError(
            f"{name}: {host} has no IPv4 address here ({error.strerror}); set testbed_address= in the inventory"
        ) from None
