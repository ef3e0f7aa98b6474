"""One fabric over several machines: hosts of a fabric of our own, a real sshd in each, links carried by VXLAN."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from needs import MOOT, as_nobody, lacking, needs

from testbed.engines.base import EngineUnavailable
from testbed.engines.live.engine import asked_of_netem
from testbed.engines.live.machines.several import Address, Machine, divide
from testbed.engines.live.netlink.requests import netem_add
from testbed.engines.live.netlink.rtnl import missing_in_kernel
from testbed.nodes.core.record import Struck
from testbed.plan import Plan
from testbed.runs import read_run
from testbed.scenario import compile_plan, load
from testbed.topologies.netem import NetemParams
from testbed.verdicts.model import Trust

ROOT = Path(__file__).resolve().parents[3]
TESTBED = str(Path(sys.executable).with_name("testbed"))
SSHD = shutil.which("sshd", path="/usr/sbin:/sbin")
SETUP = "testbed/setup.sh"
MACHINES = ("host1", "host2", "host3")
KILLS, SPREAD_S = int(os.environ.get("OAE_KILLS", "2")), 2.0
"""A kill takes some four seconds: OAE_KILLS=40 for forty of them. Each comes so long, at most, after a random number of
supervisors was there."""
SCENARIO = """\
name: over-machines
topology: {kind: leaf_spine, spines: 1, leaves: 3, hosts_per_leaf: 1}
protocol: {consensus: none, depth: 2, window: 100ms, rounds: 10}
faults:
  - {at: 150ms, do: nic_mute, on: host1, for: 100ms}
  - {at: 250ms, do: node_kill, on: host3}
  - {at: 110ms, do: link_down, links: leaf2<->spine1}
seed: 3
engine: live
"""
SSHD_CONFIG = """\
Port 2222
HostKey {here}/host
AuthorizedKeysFile {here}/user.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
"""
COUNT = """\
import os, sys
from pathlib import Path
def of(pid):
    try:
        return sys.argv[1] in Path("/proc", pid, "cmdline").read_text()
    except OSError:
        return False
print(sum(of(pid) for pid in os.listdir("/proc") if pid.isdigit() and pid != str(os.getpid())))
"""
INVENTORY = """\
[testbed]
{lines}
[testbed:vars]
ansible_user=root
ansible_port=2222
ansible_ssh_private_key_file={here}/user
ansible_ssh_common_args=-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
testbed_project={project}
"""


class Machines(NamedTuple):
    """here: a folder with an inventory for two and one for three machines."""

    here: Path

    def run(self, inventory: str, *more: str) -> subprocess.CompletedProcess[str]:
        """`testbed run` at the host that starts it."""
        argv = ["exec", "host4", TESTBED, "run", "scenario.yaml", "--inventory", inventory, "--out", "run", *more]
        return call(self.here, *argv)

    def look(self) -> list[str]:
        """What there is of interfaces on each machine, and of folders that all have in common."""
        seen = [call(self.here, "exec", host, "ip", "-o", "-br", "link").stdout for host in MACHINES]
        return [*seen, *sorted(path.name for path in (self.here / "tmp").iterdir())]

    def await_processes(self, module: str, enough: Callable[[int], bool]) -> None:
        """Until enough processes run this module on the machines, which have one process namespace in common."""
        deadline = time.monotonic() + 300
        while True:
            counted = call(self.here, "exec", "host1", sys.executable, "count.py", module)
            assert counted.returncode == 0, counted.stderr
            if enough(int(counted.stdout)):
                return
            assert time.monotonic() < deadline, f"{counted.stdout} processes of {module}"
            time.sleep(0.5)


def call(here: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TESTBED, *argv], cwd=here, capture_output=True, text=True, timeout=300, check=False)


def planned(folder: Path, text: str) -> Plan:
    (folder / "planned.yaml").write_text(text)
    return compile_plan(load(folder / "planned.yaml"))


def inventory(here: Path, *lines: str, project: Path = ROOT) -> str:
    return INVENTORY.format(lines="\n".join(lines), here=here, project=project)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """host1 to host3 are machines with an sshd, host4 is where runs are started."""
    if os.geteuid() != 0:
        lacking("user", "sshd lets others in only when root runs it")
    if SSHD is None or not Path(sys.executable).with_name("ansible-inventory").exists():
        lacking("sshd", "sshd or Ansible is not installed (Debian: openssh-server)")
    here = tmp_path_factory.mktemp("machines")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(here / key)], check=True)
    (here / "sshd_config").write_text(SSHD_CONFIG.format(here=here))
    (here / "scenario.yaml").write_text(SCENARIO)
    (here / "count.py").write_text(COUNT)
    lines = [f"machine{number} ansible_host=10.0.0.{number}" for number in (1, 2, 3)]
    (here / "two.ini").write_text(inventory(here, *lines[:2]))
    (here / "three.ini").write_text(inventory(here, *lines))
    (here / "gone.ini").write_text(inventory(here, lines[0], "machine9 ansible_host=10.0.0.9"))
    (here / "bare.ini").write_text(inventory(here, *lines[:2], project=here / "nowhere"))
    Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself up; Debian makes it when the service starts
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_RUNTIME_DIR", str(here))
    (here / "tmp").mkdir()
    patch.setenv("TMPDIR", str(here / "tmp"))
    up = call(here, "up", "--detach", "star", "--set", "hosts=4")
    if up.returncode != 0:
        lacking("namespaces", up.stderr)
    daemons = []
    try:
        for host in MACHINES:
            command = [TESTBED, "exec", host, SSHD, "-D", "-f", str(here / "sshd_config"), "-E", str(here / host)]
            daemons.append(subprocess.Popen(command))
        for host in MACHINES:
            _await_sshd(here / host)
        yield Machines(here)
    finally:
        call(here, "down")
        for daemon in daemons:
            daemon.kill()
            daemon.wait()
        patch.undo()


def _await_sshd(log: Path) -> None:
    deadline = time.monotonic() + 300
    while not log.exists() or "listening" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_fabric_over_three_machines_leaves_one_run(machines: Machines) -> None:
    """host1 and host3 are struck on different machines; every frame between hosts crosses a carried link."""
    done = machines.run("three.ini", "--json")
    assert done.returncode == 0, done.stderr
    _, plan, history, verdicts = read_run(machines.here / "run")
    assert history.complete, history.why
    struck = sorted(event.what.verb for event in history.events if isinstance(event.what, Struck))
    assert struck == ["link_down", "nic_mute", "nic_unmute", "node_kill"]  # each told by one machine
    carried = {hop.round for hop in history.hops if hop.nic in ("leaf2-eth2", "spine1-eth2") and hop.what == "in"}
    assert 0 in carried
    assert 3 not in carried  # it went down two rounds before
    by_machine = {machine["name"]: machine["nodes"] for machine in history.meta["machines"]}
    assert sorted(node for nodes in by_machine.values() for node in nodes) == sorted(
        (*plan.fabric.hosts, *plan.fabric.switches)
    )
    assert [sum(node in plan.fabric.hosts for node in nodes) for nodes in by_machine.values()] == [1, 1, 1]
    assert len(history.meta["carried_links"]) == 2
    leaving = {(hop.nic, hop.key) for hop in history.hops if hop.what == "out"}
    coming = {(hop.nic, hop.key) for hop in history.hops if hop.what == "in"}
    for index in history.meta["carried_links"]:
        link = plan.fabric.links[index]
        assert {key for nic, key in coming if nic == link.b.nic} <= {key for nic, key in leaving if nic == link.a.nic}
        assert any(nic == link.b.nic for nic, _ in coming)
    assert verdicts.fidelity.answer is not Trust.TRUSTED
    assert any("VXLAN carries it between machines" in sentence for sentence in verdicts.fidelity.unchecked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("gone.ini", "machine9 can't be reached"),
        ("bare.ini", "If the testbed is not there yet, run playbooks/provision.yml"),
    ],
)
def test_a_machine_that_is_not_ready_is_told_in_one_line(machines: Machines, named: str, words: str) -> None:
    done = machines.run(named)
    assert done.returncode == 2
    assert words in done.stderr
    assert [line.startswith("testbed: error: machine") for line in done.stderr.splitlines()] == [True]


@pytest.mark.slow
@needs("tools", (ROOT / ".git").exists() and shutil.which("git"), "this is no clone, or git is not installed")
def test_a_machine_is_provisioned_over_ssh(machines: Machines) -> None:
    """It gets the project as it is committed. Its environment is there already: making one takes the world's network,
    which these machines don't have."""
    project = machines.here / "provisioned"
    want = hashlib.sha256(b"".join(committed(name) for name in ("pyproject.toml", "requirements.lock", SETUP)))
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "testbed").symlink_to(TESTBED)
    (project / ".venv" / ".set-up-for").write_text(f"{want.hexdigest()} {project}")
    line = f"machine1 ansible_host=10.0.0.1 ansible_python_interpreter={sys.executable}"
    (machines.here / "new.ini").write_text(inventory(machines.here, line, project=project))
    argv = ["exec", "host4", TESTBED, "play", "provision", "--inventory", "new.ini", "-e", "kernel=false"]
    done = call(machines.here, *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / SETUP).read_bytes() == committed(SETUP)
    assert "machine1: " in done.stdout  # with what its doctor says


def committed(name: str) -> bytes:
    """A file of the project as it is committed here."""
    return subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True, check=True).stdout


@pytest.mark.slow
def test_runs_that_are_killed_at_any_moment_leave_nothing_on_any_machine(machines: Machines) -> None:
    """The connections end, and all that waits at their other ends; what was on the machines before stays."""
    before, chance = machines.look(), random.Random(5)
    argv = ["exec", "host4", TESTBED, "run", "scenario.yaml", "--inventory", "two.ini"]
    more = ["--set", "protocol.rounds=600"]
    for number in range(KILLS):
        run = subprocess.Popen(
            [TESTBED, *argv, *more, "--out", f"killed-{number}"], cwd=machines.here, stderr=subprocess.DEVNULL
        )
        try:
            supervisors = chance.choice((0, 1, 2, 2))
            machines.await_processes("testbed.engines.live.supervisor", lambda count, least=supervisors: count >= least)
            time.sleep(chance.uniform(0, SPREAD_S))
            assert run.poll() is None, "it ended before it was killed"
        finally:
            run.kill()
            run.wait()
    for module in ("testbed.engines.live.supervisor", "testbed.engines.live.machines.remote"):
        machines.await_processes(module, lambda count: count == 0)
    assert machines.look() == before
    for host in MACHINES:
        cleaned = call(machines.here, "exec", host, TESTBED, "clean", "--json")
        assert json.loads(cleaned.stdout)["removed"] == [], cleaned.stderr


def test_who_is_not_root_cannot_carry_links(tmp_path: Path) -> None:
    address = Address("one", (*as_nobody(), "-m", "testbed.engines.live.machines.remote"), "127.0.0.1")
    plan = planned(tmp_path, SCENARIO)
    part = divide(plan, [address, address])[0]
    with (
        Machine(address) as machine,
        pytest.raises(EngineUnavailable, match=r"machine one: .*not root.*ansible_user=root"),
    ):
        machine.ask("start", plan=plan.to_json(), part=part.to_json(), netem="")


def test_a_machine_whose_kernel_has_no_netem_says_so(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        lacking("user", "links between machines take root")
    if not missing_in_kernel(netem_add(1, NetemParams())):
        lacking(MOOT, "this kernel has netem")
    address = Address("one", (sys.executable, "-m", "testbed.engines.live.machines.remote"), "127.0.0.1")
    plan = planned(tmp_path, SCENARIO + "links: {default: {jitter: 1us}}\n")
    part = divide(plan, [address, address])[0]
    with Machine(address) as machine, pytest.raises(EngineUnavailable) as refused:
        machine.ask("start", plan=plan.to_json(), part=part.to_json(), netem=asked_of_netem(plan))
    said = str(refused.value)
    assert said.startswith("machine one: engine live with jitter: this kernel has no netem")
    assert "Use `--engine vkernel`" in said
    assert "\n" not in said


def test_what_faults_tie_together_is_on_one_machine(tmp_path: Path) -> None:
    """A moment at host1 strikes host3: nothing could tell another machine in time."""
    tied = "  - {when: {node: host1, enters: REFLECTING, round: 1}, do: nic_mute, on: host3}\n"
    plan = planned(tmp_path, SCENARIO.replace("seed:", tied + "seed:"))
    parts = divide(plan, [Address(name, (), f"10.0.0.{name}") for name in "12"])
    assert any({"host1", "host3"} <= part.nodes for part in parts)
    assert sorted(fault for part in parts for fault in part.faults) == list(range(len(plan.faults)))


def test_an_inventory_needs_two_machines(tmp_path: Path) -> None:
    (tmp_path / "one.ini").write_text("[testbed]\nalone ansible_host=127.0.0.1\n")
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    if not Path(sys.executable).with_name("ansible-inventory").exists():
        lacking("ansible", "it is not installed (pip install ansible-core ansible-runner)")
    for argv, words in (
        (["-e", "live", "-i", "one.ini"], "has 1 machines; at least two are wanted"),
        (["-e", "sim", "-i", "one.ini"], "goes with --engine live only"),
        (["-e", "live", "-i", "nowhere.ini"], "nowhere.ini: there is no such inventory"),
    ):
        done = call(tmp_path, "run", "scenario.yaml", *argv)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
