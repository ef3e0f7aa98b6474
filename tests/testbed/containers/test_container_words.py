"""What a user reads where something that containers need is missing: one line, and the way out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_stories import plan_of
from needs import ROOT, as_nobody, lacking
from typer.testing import CliRunner

from testbed.cli.doctor import examine
from testbed.cli.main import app
from testbed.engines.base import EngineUnavailable
from testbed.engines.live.containers import engine as engines
from testbed.engines.live.containers import hosting
from testbed.engines.live.containers.engine import ContainerEngine, find_socket
from testbed.engines.live.containers.image import Image, image_name
from testbed.engines.vkernel.engine import VKernelEngine

PAIR = {"topology": {"kind": "pair"}, "protocol": {"rounds": 2}}


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    """A socket at which somebody waits who never answers."""
    path = tmp_path / "there.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


@pytest.fixture
def deserted(tmp_path: Path) -> Path:
    """A socket that an engine has left behind."""
    path = tmp_path / "deserted.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def refusal(address: str) -> str:
    with pytest.raises(EngineUnavailable) as caught:
        find_socket({"DOCKER_HOST": address})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_engine(tmp_path: Path) -> None:
    assert refusal(f"unix://{tmp_path}/none") == (
        f"nodes in containers: there is no container engine at {tmp_path}/none. "
        "Install one: apt-get install docker.io. Start it: systemctl start docker (or, as root: dockerd &)"
    )


def test_no_words_to_speak_to_an_engine(listening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(
        EngineUnavailable, match=r"^nodes in containers: the Docker SDK for Python is missing"
    ) as caught:
        ContainerEngine(f"unix://{listening}").about()
    assert str(caught.value).endswith("Install it: pip install 'oae-testbed[containers]'; in a clone: make setup")


def test_an_engine_that_is_not_running(deserted: Path) -> None:
    assert f"nobody answers at {deserted}: the engine is not running. Start it: " in refusal(f"unix://{deserted}")


def test_an_engine_of_another_machine() -> None:
    assert "DOCKER_HOST=tcp://there:2375 is not a socket of this host" in refusal("tcp://there:2375")


def test_no_rights_to_the_socket(listening: Path) -> None:
    if os.geteuid() != 0:
        lacking("user", "root is asked to shut somebody out")
    listening.chmod(0o600)
    for folder in listening.parents:
        if folder != Path("/tmp") and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    code = (
        "import sys; from testbed.engines.live.containers.engine import find_socket\n"
        "try: find_socket({'DOCKER_HOST': 'unix://' + sys.argv[1]})\n"
        "except Exception as error: print(error)"
    )
    told = subprocess.run(
        [*as_nobody(), "-c", code, str(listening)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == (
        f"nodes in containers: no rights to the engine's socket {listening}. Run as root: NICs are moved into "
        "containers, which takes root\n"
    )


def test_an_ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EngineUnavailable, match=r"takes root\. Run as root \(`testbed run` can do without: `--"):
        hosting.check_engine()


def test_an_engine_that_does_not_speak_its_language(tmp_path: Path, listening: Path, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{listening}")
    monkeypatch.setattr(engines, "_TIMEOUT_S", 0.2)
    with pytest.raises(
        EngineUnavailable, match=f"the engine at unix://{listening} does not answer: .*Start it"
    ) as caught:
        ContainerEngine.find()
    assert "\n" not in str(caught.value)


def test_no_image(engine: ContainerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hosting, "image_name", lambda: "oae-node:000000000000")
    words = ["run", "clean-live", "--set", "nodes=container", "--out", str(tmp_path / "run")]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 2
    assert told.stderr == (
        f"testbed: error: nodes in containers: the engine at {engine.address} has no image oae-node:000000000000 "
        "(it is named for this version of nodes/). Make it: testbed image build\n"
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("find_runtime", "", "no OCI runtime is installed (crun or runc). apt-get install crun"),
        (
            "find_image",
            None,
            f"the image {image_name()} has not been made (it is named for this version of nodes/). Make",
        ),
    ],
)
def test_what_a_guest_needs(
    kernel: Path, runtime: str, node_image: Image, monkeypatch: pytest.MonkeyPatch, name: str, value: object, said: str
) -> None:
    monkeypatch.setattr(f"testbed.engines.vkernel.engine.{name}", lambda: value)
    with pytest.raises(EngineUnavailable) as caught:
        VKernelEngine().check(plan_of(PAIR))
    assert said in str(caught.value)


def test_doctor_tells_all_of_it(engine: ContainerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> dict[str, str]:
        return {check.name: check.state for check in examine()}

    three = ("container engine", "node image", "OCI runtime")
    assert {name: state()[name] for name in three[:2]} == dict.fromkeys(three[:2], "ok")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    monkeypatch.setenv("OAE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("testbed.engines.live.containers.runtime.RUNTIMES", ("no-runtime",))
    checks = {check.name: check for check in examine()}
    assert {checks[name].state for name in three} == {"missing"}
    assert "apt-get install docker.io" in checks["container engine"].advice
    assert checks["node image"].advice == "Make it, in some seconds: testbed image build"
    assert checks["OCI runtime"].advice == "apt-get install crun"


@pytest.mark.parametrize("command", [["image", "status"], ["image", "build"]])
def test_the_image_verbs_say_where_it_is(
    engine: ContainerEngine, node_image: Image, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.engines.live.containers.image.build", lambda: node_image)  # made once is enough
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.stderr
    for what in (node_image.name, node_image.digest, engine.address):
        assert what in told.stdout.replace("\n", "")


def test_up_with_containers_is_mininets_command_line_in_them(engine: ContainerEngine, tmp_path: Path) -> None:
    commands = (
        "host1 cat /etc/hosts",
        "host1 ip -br link",
        "host1 ping -c1 -W5 host2",
        "pingall",
        "host2 ls /opt/oae/testbed",
    )
    words = [word for command in commands for word in ("--exec", command)]
    told = subprocess.run(
        [sys.executable, "-m", "testbed.cli.main", "up", "pair", "--nodes", "container", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "host1-eth0" in told.stdout
    assert "host2-eth0" not in told.stdout.split("PING")[0]
    assert "10.0.0.2\thost2" in told.stdout, "what a command in there finds a host by"
    assert "Results: 0% dropped (2/2 received)" in told.stdout
    assert told.stdout.endswith("nodes\n")
    assert "as in: docker exec -it oae-" in told.stderr
    assert engine.containers() == []
