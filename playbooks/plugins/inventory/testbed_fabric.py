"""The nodes of a running fabric as an inventory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: testbed_fabric
short_description: The nodes of a running fabric of the OAE testbed
description:
  - Lists the hosts and switches of a fabric that C(testbed up) has brought up, in the groups C(hosts) and C(switches).
  - Tasks run inside them, through the connection C(testbed_node).
options:
  plugin:
    description: Says that this file is for this plugin.
    required: true
    choices: [testbed_fabric]
  fabric:
    description: Which fabric, as C(testbed ps) calls it. Not needed when only one is up.
    type: str
    env: [{name: OAE_TESTBED_FABRIC}]
  command:
    description: The C(testbed) command.
    type: path
    env: [{name: OAE_TESTBED}]
"""

HERE = Path(__file__).resolve()


class InventoryModule(BaseInventoryPlugin):
    """Asks ``testbed ps``."""

    NAME = "testbed_fabric"

    def verify_file(self, path: str) -> bool:
        """Files called ``*.testbed.yml``."""
        return super().verify_file(path) and path.endswith((".testbed.yml", ".testbed.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fills the inventory."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        command = self.get_option("command") or _command()
        entry = _chosen(_running(command), self.get_option("fabric"))
        for group, names in (("hosts", entry["hosts"]), ("switches", entry["switches"])):
            inventory.add_group(group)
            for name in names:
                inventory.add_host(name, group=group)
                contained = name in entry["commands"]
                for variable, value in {
                    "ansible_connection": "testbed_node",
                    "ansible_pipelining": True,
                    "ansible_python_interpreter": "/usr/bin/python3" if contained else sys.executable,
                    "testbed_fabric": entry["name"],
                    "testbed_command": command,
                }.items():
                    inventory.set_variable(name, variable, value)


def _command() -> str:
    """The one beside the Python that runs Ansible, that of the clone that this file is in, or the one in PATH."""
    places = (Path(sys.executable).parent, HERE.parents[3] / ".venv" / "bin")
    found = [str(place / "testbed") for place in places if os.access(place / "testbed", os.X_OK)]
    return found[0] if found else "testbed"


def _running(command: str) -> list[dict[str, Any]]:
    try:
        told = subprocess.run([command, "ps", "--json"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise AnsibleParserError(f"{command}: {error.strerror}; set OAE_TESTBED to the testbed command") from error
    if told.returncode != 0:
        raise AnsibleParserError(told.stderr.strip())
    found: list[dict[str, Any]] = json.loads(told.stdout)["fabrics"]
    return found


def _chosen(running: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    chosen = [entry for entry in running if entry["inside"] and name in (None, "", entry["name"])]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(entry["name"] for entry in running)
    if not running:
        raise AnsibleParserError("no fabric of yours is up; bring one up with: testbed up --detach leaf_spine")
    if not chosen:
        raise AnsibleParserError(f"fabric {name}: none of yours is called so; up: {names}")
    raise AnsibleParserError(f"several fabrics of yours are up ({names}); set fabric: to one of them")
