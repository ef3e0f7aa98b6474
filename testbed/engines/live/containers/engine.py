"""The container engine of this host, through the Docker SDK for Python; Podman answers to the same API.

Only over a socket of this host: the fabric moves NICs into containers, which takes the same kernel.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from testbed.engines.base import EngineUnavailable
from testbed.errors import installing

if TYPE_CHECKING:
    from docker import APIClient

RUN, NODE, OWNER = "oae-testbed.run", "oae-testbed.node", "oae-testbed.owner"
"""Labels of each container: the run, the host that it is, and the process that it belongs to."""

WHAT = "nodes in containers"
_TIMEOUT_S = 60
_GONE_OR_GOING = (404, 409)
_START_IT = "Start it: systemctl start docker (or, as root: dockerd &)"


class Found(NamedTuple):
    """A container of ours. state: created, running, paused, exited, ..."""

    id: str
    name: str
    run: str
    owner: str
    state: str


class ContainerEngine:
    """An engine behind a socket. Each thread gets a connection of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._own = threading.local()
        self._version = ""

    @classmethod
    def find(cls) -> ContainerEngine:
        """The one that answers: DOCKER_HOST's, else Docker's or Podman's usual socket. Raises EngineUnavailable."""
        address = find_socket()
        engine = cls(address)
        with in_words(address):
            engine.api.ping()
        return engine

    @property
    def api(self) -> APIClient:
        """This thread's client."""
        client = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = _client(self.address, self._version or "auto")
            self._version = client.api_version
        return client

    def about(self) -> str:
        """Its name and version, for people."""
        version = self.api.version()
        names = [part["Name"] for part in version.get("Components", ())]
        name = "Podman" if any("podman" in name.lower() for name in names) else "Docker"
        return f"{name} {version['Version']}, {self.address}"

    def command_line(self) -> list[str]:
        """The command that people speak with it. Raises EngineUnavailable when it is not installed."""
        if (docker := shutil.which("docker")) is not None:
            return [docker, "-H", self.address]
        if (podman := shutil.which("podman")) is not None:
            return [podman, "--url", self.address]
        raise EngineUnavailable("commands in containers", "there is no docker command", "apt-get install docker.io")

    def filters_calls(self) -> bool:
        """Whether it withholds system calls from containers (seccomp)."""
        return any("seccomp" in option for option in self.api.info().get("SecurityOptions") or ())

    def has_image(self, name: str) -> bool:
        """Whether it can start containers of this image without asking anybody."""
        return bool(self.api.images(name=name, quiet=True))

    def load_image(self, archive: Path) -> None:
        """Gives it an image that testbed.engines.live.containers.image has made."""
        with archive.open("rb") as file, in_words(self.address):
            for _ in self.api.load_image(file):
                pass

    def images(self) -> list[str]:
        """Names of the node's images, of whatever sources."""
        listed = self.api.images(filters={"label": ["oae-testbed.image"]})
        return sorted(name for image in listed for name in image.get("RepoTags") or [image["Id"]])

    def remove_image(self, name: str) -> None:
        """Takes one away."""
        with in_words(self.address):
            self.api.remove_image(name, force=True)

    def containers(self) -> list[Found]:
        """All containers that carry a label of ours, of whatever run."""
        with in_words(self.address):
            listed = self.api.containers(all=True, filters={"label": [RUN]})
        return [
            Found(
                found["Id"],
                (found.get("Names") or [found["Id"][:12]])[0].lstrip("/"),
                found["Labels"][RUN],
                found["Labels"].get(OWNER, ""),
                found.get("State", ""),
            )
            for found in listed
        ]

    def remove(self, container: str) -> None:
        """Kills and removes a container; one that is gone, or going, is fine."""
        from docker.errors import APIError

        with in_words(self.address):
            try:
                self.api.remove_container(container, force=True, v=True)
            except APIError as error:
                if error.status_code not in _GONE_OR_GOING:
                    raise


def find_socket(environ: Mapping[str, str] = os.environ) -> str:
    """The address of the engine's socket, ``unix://<path>``. Raises EngineUnavailable, with how to get one."""
    named = environ.get("DOCKER_HOST", "")
    if named and not named.startswith("unix://"):
        raise EngineUnavailable(
            WHAT, f"DOCKER_HOST={named} is not a socket of this host", "NICs are moved into containers: use unix://..."
        )
    own = environ.get("XDG_RUNTIME_DIR", "")
    usual = ["/var/run/docker.sock", "/run/podman/podman.sock", *([f"{own}/podman/podman.sock"] if own else [])]
    paths = [named.removeprefix("unix://")] if named else usual
    failed: list[tuple[str, OSError]] = []
    for path in paths:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(path)
            return f"unix://{path}"
        except OSError as error:
            failed.append((path, error))
    path, why = min(failed, key=lambda pair: pair[1].errno == errno.ENOENT)
    raise EngineUnavailable(WHAT, *_no_engine(path, why))


def _no_engine(path: str, error: OSError) -> tuple[str, str]:
    """Why, and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"no rights to the engine's socket {path}",
            "Run as root: NICs are moved into containers, which takes root",
        )
    if error.errno == errno.ECONNREFUSED:
        return f"nobody answers at {path}: the engine is not running", _START_IT
    if error.errno == errno.ENOENT:
        return f"there is no container engine at {path}", f"Install one: apt-get install docker.io. {_START_IT}"
    return f"{path}: {error.strerror}", _START_IT


def _client(address: str, version: str) -> APIClient:
    try:
        from docker import APIClient
    except ImportError as error:
        why = f"the Docker SDK for Python is missing ({error})"
        raise EngineUnavailable(WHAT, why, f"Install it: {installing('containers')}") from None
    with in_words(address):
        return APIClient(base_url=address, version=version, timeout=_TIMEOUT_S)


@contextmanager
def in_words(address: str) -> Iterator[None]:
    """What the SDK raises, as one line for people."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise EngineUnavailable(
            WHAT, f"the engine at {address} refuses: {error.explanation}", "Its log says more"
        ) from None
    except (DockerException, RequestException) as error:
        reason = str(error).splitlines()[0]
        raise EngineUnavailable(WHAT, f"the engine at {address} does not answer: {reason}", _START_IT) from None
