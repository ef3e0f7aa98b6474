"""What a run of containers leaves when it is killed, what `testbed clean` makes of it, and what it never touches."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import ROOT

from testbed.engines.live.containers import hosting
from testbed.engines.live.containers.engine import OWNER, RUN, ContainerEngine
from testbed.engines.live.containers.image import image_name
from testbed.processes import own_mark, state_folder

KILLS, AT_ONCE = int(os.environ.get("OAE_KILLS", "4")), 4
"""A kill takes some two seconds: OAE_KILLS=40 for forty of them."""
MOST_CONTAINERS, SPREAD_S = 4, 1.0
"""A run is killed as soon as it has a random number of its containers (host2 has three), and a random moment later."""

STORY = """\
name: story
topology: {kind: pair}
protocol: {rounds: 1000, window: 100ms}
faults:
  - {at: 10ms, do: node_pause, on: host1}
  - {at: 200ms, do: node_restart, on: host2}
nodes: container
engine: live
capture: false
"""


@pytest.fixture
def at_home(engine: ContainerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder and a ledger of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "story.yaml").write_text(STORY)
    yield tmp_path
    for container in engine.api.containers(all=True):
        engine.remove(container["Id"])


def call(*words: str, within: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*within, sys.executable, "-m", "testbed.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


class Foreign:
    """Things of somebody else's: in the engine, and in a network namespace in which the testbed is run."""

    def __init__(self, engine: ContainerEngine) -> None:
        self.engine, self.api = engine, engine.api
        self.space = f"foreign-{os.getpid()}"
        self.within = ("nsenter", f"--net=/run/netns/{self.space}")
        for words in (
            ("ip", "netns", "add", self.space),
            (*self.within, "ip", "link", "add", "oae-bridge", "type", "bridge"),
            (*self.within, "ip", "link", "add", "host1-eth0", "type", "veth", "peer", "name", "theirs"),
            (*self.within, "tc", "qdisc", "add", "dev", "host1-eth0", "root", "pfifo", "limit", "7"),
        ):
            subprocess.run(words, check=True)
        config = self.api.create_host_config(network_mode="none")
        made = self.api.create_container(
            image_name(), ["86400"], entrypoint="sleep", name="oae-foreign-host1", host_config=config,
            labels={"somebody": "else", "oae-testbed": "not a run's"},
        )  # fmt: skip
        self.container = made["Id"]
        self.api.start(self.container)
        self.api.create_volume("oae-testbed-volume")
        self.api.tag(image_name(), "oae-foreign", "1")

    def seen(self) -> list[object]:
        """All of it, as it is now."""
        found = self.api.inspect_container(self.container)
        here = [
            subprocess.run([*self.within, *words], capture_output=True, text=True, check=True).stdout
            for words in (("ip", "-o", "link"), ("tc", "qdisc"))
        ]
        volumes = [volume["Name"] for volume in self.api.volumes()["Volumes"]]
        images = self.api.images("oae-foreign", quiet=True)
        spaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
        return [found["State"]["Status"], found["State"]["Pid"], here, volumes, images, self.space in spaces]

    def remove(self) -> None:
        self.engine.remove(self.container)
        self.api.remove_volume("oae-testbed-volume")
        self.api.remove_image("oae-foreign:1")
        subprocess.run(["ip", "netns", "delete", self.space], check=True)


@pytest.fixture
def foreign(engine: ContainerEngine) -> Iterator[Foreign]:
    things = Foreign(engine)
    yield things
    things.remove()


def runs_in_ledger() -> dict[str, str]:
    """Process -> run."""
    entries = [json.loads(path.read_text() or "{}") for path in state_folder().glob("containers-*.json")]
    return {entry["owner"].split(":")[2]: entry["run"] for entry in entries if entry}


def kill_each_at_its_moment(
    runs: list[subprocess.Popen[bytes]], chance: random.Random, engine: ContainerEngine, output: Path
) -> int:
    """Returns how many containers there were by then."""
    waits = {process: (chance.randint(0, MOST_CONTAINERS), chance.uniform(0, SPREAD_S)) for process in runs}
    there: dict[str, set[str]] = {}
    due: dict[subprocess.Popen[bytes], float] = {}
    while waits:
        assert all(process.poll() is None for process in waits), output.read_text()
        for container in engine.containers():
            there.setdefault(container.run, set()).add(container.id)
        known = runs_in_ledger()
        for process, (containers, later) in list(waits.items()):
            run = known.get(str(process.pid))
            if run is None or len(there.get(run, ())) < containers:
                continue
            if time.monotonic() > due.setdefault(process, time.monotonic() + later):
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL
                del waits[process]
        time.sleep(0.02)
    return sum(map(len, there.values()))


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_nothing_after_clean_and_what_is_others_stays(
    engine: ContainerEngine, at_home: Path, foreign: Foreign
) -> None:
    chance = random.Random("containers")
    before, left = foreign.seen(), 0
    for batch in range(KILLS // AT_ONCE):
        words = [*foreign.within, sys.executable, "-m", "testbed.cli.main", "run", "story.yaml", "--out"]
        with (at_home / "output").open("wb") as output:
            runs = [
                subprocess.Popen([*words, f"run-{batch}-{number}"], stdout=output, stderr=output)
                for number in range(AT_ONCE)
            ]
        try:
            left += kill_each_at_its_moment(runs, chance, engine, at_home / "output")
        finally:
            for process in runs:
                process.kill()
                process.wait()
        told = call("clean", within=foreign.within)
        assert told.returncode == 0, told.stderr
        assert engine.containers() == []
        assert list(state_folder().glob("containers-*")) == []
    assert left >= KILLS  # there was something to clean
    assert foreign.seen() == before
    time.sleep(1)
    assert engine.containers() == []  # nor does anything come later


def test_clean_leaves_a_run_alone_that_goes_on(engine: ContainerEngine, at_home: Path) -> None:
    """Its process is alive, named with its start time; one with the same number that began later is another."""
    boot, space, pid, started = own_mark().split(":")
    for name, owner in {"own": own_mark(), "dead": f"{boot}:{space}:{pid}:{int(started) - 1}"}.items():
        engine.api.create_container(image_name(), name=f"oae-{name}", labels={RUN: name, OWNER: owner})
    would = call("clean", "--dry-run")
    assert would.stdout == "would remove container oae-dead\n"
    assert len(engine.containers()) == 2
    assert call("clean", "--json").returncode == 0
    assert [container.name for container in engine.containers()] == ["oae-own"]


def test_an_entry_in_the_ledger_whose_engine_is_gone_is_closed(at_home: Path) -> None:
    entry = {"run": "1", "owner": "another boot:1:1:1", "address": f"unix://{at_home}/none"}
    line = state_folder() / "containers-1.json"
    line.write_text(json.dumps(entry))
    assert [path for path, _ in hosting.stale_entries()] == [line]
    told = call("clean")
    assert told.returncode == 0, told.stderr
    assert not line.exists()


def test_images_of_nodes_go_with_the_cache_and_no_others(
    engine: ContainerEngine, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAE_CACHE", str(at_home / "cache"))
    engine.api.import_image_from_data(b"\0" * 1024, repository="oae-foreign", tag="2")
    made = at_home / "cache" / "oae-testbed" / "image" / "0123456789ab"
    made.mkdir(parents=True)
    (made / "digest").touch()
    told = call("clean", "--cache", "--dry-run").stdout
    assert f"would remove image {image_name()}" in told
    assert f"would remove directory {made}\n" in told
    assert "oae-foreign" not in told
    engine.api.remove_image("oae-foreign:2")
