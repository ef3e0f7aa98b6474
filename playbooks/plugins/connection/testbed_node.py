"""Into a node of a running fabric, through ``testbed exec``."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = r"""
name: testbed_node
short_description: Runs tasks in a node of a running fabric of the OAE testbed
description: Enters the node's namespaces, or its container, with C(testbed exec).
extends_documentation_fragment: [connection_pipelining]
options:
  node:
    description: The node.
    default: inventory_hostname
    vars: [{name: inventory_hostname}, {name: testbed_node}]
  fabric:
    description: The fabric that it is a node of.
    required: true
    vars: [{name: testbed_fabric}]
  command:
    description: The C(testbed) command.
    default: testbed
    vars: [{name: testbed_command}]
"""


class Connection(ConnectionBase):
    """Each command is a process of its own in the node; nothing stays open between two."""

    transport = "testbed_node"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Exit code, output, errors."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        return self._run(["/bin/sh", "-c", cmd], in_data)

    def put_file(self, in_path: str, out_path: str) -> None:
        """To the node."""
        super().put_file(in_path, out_path)
        try:
            data = Path(in_path).read_bytes()
        except FileNotFoundError as error:
            raise AnsibleFileNotFound(f"{in_path}: there is no such file") from error
        self._copy(f"cat > {shlex.quote(out_path)}", data, out_path)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """From the node."""
        super().fetch_file(in_path, out_path)
        Path(out_path).write_bytes(self._copy(f"cat < {shlex.quote(in_path)}", None, in_path))

    def close(self) -> None:
        """Nothing is open."""
        self._connected = False

    def _copy(self, command: str, data: bytes | None, path: str) -> bytes:
        code, out, errors = self._run(["/bin/sh", "-c", command], data)
        if code != 0:
            raise AnsibleConnectionFailure(f"{path}: {errors.decode(errors='replace').strip()}")
        return out

    def _run(self, argv: list[str], data: bytes | None) -> tuple[int, bytes, bytes]:
        node, fabric = self.get_option("node"), self.get_option("fabric")
        command: list[str] = [self.get_option("command"), "exec", "--fabric", fabric, node, *argv]
        try:
            done: subprocess.CompletedProcess[Any] = subprocess.run(
                command, input=data or b"", capture_output=True, check=False
            )
        except OSError as error:
            raise AnsibleConnectionFailure(f"{command[0]}: {error.strerror}") from error
        if done.returncode == 2 and done.stderr.startswith(b"testbed: error: "):
            raise AnsibleConnectionFailure(done.stderr.decode(errors="replace").strip())
        return done.returncode, done.stdout, done.stderr
