"""Guests: what a job sees, how its end is reported, and that nothing of it outlives its parent."""

import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from vkernel_helpers import REPO, open_folder, open_kernel, processes_in, wait_gone

from testbed.engines.vkernel import boot as boots
from testbed.engines.vkernel.boot import Guest, GuestFailed, GuestInterrupted, GuestResult, boot, boot_many

pytestmark = [pytest.mark.slow, pytest.mark.kernel]


@pytest.fixture
def guest(kernel: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    def make(script: str, name: str = "job", **rest: object) -> Guest:
        settings = {"cwd": REPO, "kernel": kernel, "limit_s": 120.0} | rest
        return Guest(argv=("sh", "-c", script), job_dir=tmp_path / name, **settings)  # type: ignore[arg-type]

    return make


def test_status_output_and_files_come_back(guest) -> None:  # type: ignore[no-untyped-def]
    result = boot(guest("echo hello; echo data > $OAE_JOB/out; exit 7"))
    assert result.status == 7
    assert "hello" in result.console.read_text()
    assert (result.job_dir / "out").read_text() == "data\n"
    assert sorted(path.name for path in result.job_dir.iterdir()) == ["console.log", "out"]


def test_time_starts_at_the_epoch_and_sleeping_is_free(guest) -> None:  # type: ignore[no-untyped-def]
    result = boot(guest("date +%s > $OAE_JOB/a; sleep 3600; date +%s > $OAE_JOB/b"))
    before, after = (int((result.job_dir / name).read_text()) for name in "ab")
    assert before == boots.EPOCH_S
    assert after == boots.EPOCH_S + 3600
    assert result.real_s < 60


def test_the_job_sees_the_project_and_nothing_of_the_hosts_state(guest, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("OAE_SECRET", "x")
    script = "pwd; id -u; ls -A /tmp /run /var/log; env; cat /proc/cmdline; ls /sys/fs/cgroup; ip -o link"
    result = boot(guest(f"({script}) > $OAE_JOB/out"))
    out = (result.job_dir / "out").read_text()
    assert out.splitlines()[:2] == [str(REPO), "0"]
    assert "OAE_SECRET" not in out
    assert str(result.job_dir) not in out
    assert "cpuset" in out
    assert "LOOPBACK,UP" in out


def test_projects_below_hidden_folders_stay_visible(kernel: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"  # below /tmp, as pytest has it
    project.mkdir()
    (project / "answer.py").write_text("print(42)\n")
    work = Guest(argv=(sys.executable, "-m", "answer"), job_dir=tmp_path / "job", cwd=project, kernel=kernel)
    result = boot(work)
    assert result.status == 0
    assert "42" in result.console.read_text()


def test_timers_fire_at_the_nanosecond_from_the_start(guest) -> None:  # type: ignore[no-untyped-def]
    code = "import time; a = time.monotonic_ns(); time.sleep(5e-5); print(time.monotonic_ns() - a)"
    result = boot(guest(f"/usr/bin/env python3 -c '{code}' > $OAE_JOB/out"))
    assert 50_000 <= int((result.job_dir / "out").read_text()) < 50_010


def test_the_network_is_silent(guest) -> None:  # type: ignore[no-untyped-def]
    script = """
        ip netns add n; ip link add va type veth peer name vb netns n; ip link set va up
        ip -n n link set vb up; sleep 60; cat /sys/class/net/va/statistics/?x_packets > $OAE_JOB/out
    """
    assert (boot(guest(script)).job_dir / "out").read_text() == "0\n0\n"


def test_the_time_limit_kills_and_shows_the_console(guest, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GuestFailed, match="not done after 3 s") as caught:
        boot(guest("echo last words; while :; do :; done", limit_s=3))
    assert "last words" in caught.value.tail
    assert wait_gone(tmp_path / "job") == []


def test_a_panic_ends_at_once_and_shows_the_console(guest, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GuestFailed, match="before the job did") as caught:
        boot(guest("echo c > /proc/sysrq-trigger; sleep 5"))
    assert "panic" in caught.value.tail
    assert wait_gone(tmp_path / "job") == []


def test_a_reboot_in_the_guest_does_not_run_the_job_again(guest) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GuestFailed):
        boot(guest("echo once >> $OAE_JOB/runs; sync; echo b > /proc/sysrq-trigger; sleep 5"))
    assert (guest("").job_dir / "runs").read_text() == "once\n"


def test_without_a_kernel_the_advice_is_to_build_one(guest, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("OAE_KERNEL", "/nowhere")
    with pytest.raises(boots.VKernelUnavailable, match="testbed kernel build"):
        boot(guest("true", kernel=None))


def test_a_guest_without_memory_ends_at_once_and_says_so(guest) -> None:  # type: ignore[no-untyped-def]
    """Going on without the process that the kernel chose to kill would measure something else, or never end."""
    with pytest.raises(GuestFailed, match="64 MiB of memory were not enough"):
        boot(guest("tail /dev/zero; exit 0", memory_mib=64))


def test_a_guest_may_open_more_files_than_its_caller_is_used_to(guest) -> None:  # type: ignore[no-untyped-def]
    """Each file of the host's that the guest holds open is one of the kernel's own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = 'import glob; held = [open(name) for name in glob.glob("/usr/bin/*")[:200]]; print(len(held))'
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        result = boot(guest(f"python3 -c '{code}' > $OAE_JOB/held"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (result.status, (result.job_dir / "held").read_text()) == (0, "200\n")


def test_stopping_on_request(guest, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    with pytest.raises(GuestInterrupted):
        boot(guest("while :; do :; done"), stop)
    assert processes_in(tmp_path / "job") == []


def test_many_guests_in_order_and_one_failure_alone(guest) -> None:  # type: ignore[no-untyped-def]
    guests = [guest(f"exit {n}", f"job{n}") for n in range(4)]
    guests.append(guest("echo c > /proc/sysrq-trigger; sleep 5", "bad"))
    seen: list[int] = []
    outcomes = boot_many(guests, jobs=2, progress=lambda place, _outcome: seen.append(place))
    assert [outcome.status for outcome in outcomes[:4] if isinstance(outcome, GuestResult)] == [0, 1, 2, 3]
    assert isinstance(outcomes[4], GuestFailed)
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_an_exception_among_many_ends_them_all(guest, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def interrupt(place: int, _outcome: object) -> None:
        raise KeyboardInterrupt

    guests = [guest("true", "quick"), *(guest("while :; do :; done", f"slow{n}") for n in range(3))]
    with pytest.raises(KeyboardInterrupt):
        boot_many(guests, jobs=2, progress=interrupt)
    assert [processes_in(work.job_dir) for work in guests] == [[], [], [], []]


def test_sigkill_of_the_parent_at_any_moment_leaves_nothing(python: list[str], kernel: Path, tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    script = "for i in 1 2 3 4 5; do sleep 1 & done; while :; do ls / > /dev/null; done"
    code = (
        "import sys; from pathlib import Path; from testbed.engines.vkernel.boot import *;"
        f"boot(Guest(('sh', '-c', {script!r}), Path(sys.argv[1]), Path({str(REPO)!r}), kernel=Path(sys.argv[2])))"
    )
    draws = random.Random(1)
    for n in range(20):
        job = folder / str(n)
        parent = subprocess.Popen(
            [*python, "-c", code, str(job), str(open_kernel(kernel, folder))],
            cwd=REPO,
            start_new_session=True,
        )
        time.sleep(draws.uniform(0.0, 1.5))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert wait_gone(job) == []
    shutil.rmtree(folder)
