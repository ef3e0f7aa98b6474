"""Runs jobs inside guests: `boot(Guest(...))` boots the virtual-time kernel, runs one command, powers off.

The guest's root is the host's file system, read-only; the job folder appears in it, writable, at `JOB` whatever its
name on the host, so that paths are the same in every run. Time in the guest starts at `EPOCH_S` and passes only
when the guest waits for something. One guest keeps at most one core busy.

What could make two boots of one guest differ is fixed here or in the kernel's patches: addresses, environment,
entropy, start of time. The guest's console is a file and its input is empty, so nothing of the host's time gets in.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from testbed.engines.vkernel.kernel import VKernelUnavailable, find_kernel
from testbed.errors import UserError

HERE = Path(__file__).resolve().parent

JOB = Path("/run/job")
"""Where the job folder is inside every guest."""

EPOCH_S = 2_000_000_000
"""The guest's wall clock at boot, in seconds since 1970; fixed, so that stamps are equal between boots."""

SPEC = ".guest"
"""The folder inside the job folder that holds what boot() and the guest tell each other."""

CONSOLE = "console.log"
"""The file in the job folder that gets the kernel's messages and the job's stdout and stderr."""

GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

HIDDEN = ("/tmp", "/var/tmp", "/run", "/var/log", "/dev/shm")
"""Folders of the host that the guest sees empty and writable, so that the host's state does not get in."""

CGROUPS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids", "net_cls", "net_prio")

POLL_S = 0.02
"""How often a waiting boot() looks whether to stop, in seconds of real time."""


class GuestFailed(UserError):  # noqa: N818 (an outcome, not only an error)
    """A guest ended without reporting its job's status: panic, time limit, or interruption from outside."""

    def __init__(self, what: str, why: str, advice: str, tail: str = "") -> None:
        text = f"{what}: {why}. {advice}"
        super().__init__(f"{text}\n--- end of the console ---\n{tail}" if tail else text)
        self.what = what
        self.why = why
        self.advice = advice
        self.tail = tail


class GuestInterrupted(GuestFailed):
    """The guest was stopped because the caller no longer wants it."""


@dataclass(frozen=True, slots=True)
class Guest:
    """One boot: what to run, with which files, within which bounds."""

    argv: tuple[str, ...]
    """The job's command line; argv[0] is a path that exists on the host, or a name in `GUEST_PATH`."""

    job_dir: Path
    """A folder of the host, created if missing, that the job may write to; in the guest it is `JOB`."""

    cwd: Path = field(default_factory=Path.cwd)
    """The job's working directory, a path of the host (read-only in the guest); also put on PYTHONPATH."""

    env: tuple[tuple[str, str], ...] = ()
    """Further environment of the job; the host's own environment is never passed on."""

    visible: tuple[Path, ...] = ()
    """Further folders of the host that the job reads, needed only for those below one of `HIDDEN`."""

    memory_mib: int = 1024
    """The guest's memory in MiB. The host pays only for what is used."""

    limit_s: float = 600.0
    """Seconds of real time after which the guest is killed."""

    seed: int = 1
    """Where the guest's entropy starts: /dev/urandom, hash seeds, MAC addresses of interfaces."""

    kernel: Path | None = None
    """The kernel to boot; by default the one `find_kernel` finds."""


@dataclass(frozen=True, slots=True)
class GuestResult:
    """How a job in a guest ended."""

    status: int
    """The job's exit status as a shell reports it: 128 + n for death by signal n."""

    job_dir: Path
    console: Path
    real_s: float
    """Seconds of real time from before the boot to after the power-off."""


# ---------------------------------------------------------------------------- one guest


def boot(guest: Guest, stop: threading.Event | None = None, cpu: int = -1) -> GuestResult:
    """Boots a guest, runs its job, and returns when the guest is gone.

    `cpu` is the processor of the host that the guest stays on; -1 lets the host choose one as it starts.

    Raises `VKernelUnavailable` without a kernel, `GuestFailed` when the job's status is unknown, and
    `GuestInterrupted` once `stop` is set. However it ends, no process of the guest is left.
    """
    kernel = guest.kernel or find_kernel()
    if kernel is None:
        raise VKernelUnavailable("virtual-time kernel", "none has been built", "Build it: testbed kernel build")
    job_dir = guest.job_dir.resolve()
    console = job_dir / CONSOLE
    _write_spec(guest, job_dir)
    begin = time.monotonic()
    try:
        status = _supervise(guest, kernel.resolve(), job_dir, stop or threading.Event(), cpu)
        return GuestResult(_job_status(guest, job_dir, status), job_dir, console, time.monotonic() - begin)
    finally:
        shutil.rmtree(job_dir / SPEC, ignore_errors=True)


def _supervise(guest: Guest, kernel: Path, job_dir: Path, stop: threading.Event, cpu: int) -> int:
    """Starts the launcher and waits for it. Returns the kernel's exit status."""
    command = [sys.executable, "-I", "-S", str(HERE / "launch.py"), str(os.getpid()), str(cpu), str(kernel)]
    with (job_dir / CONSOLE).open("wb") as console:
        process = subprocess.Popen(
            [*command, *kernel_arguments(guest)],
            cwd=job_dir,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the guest
        )
    try:
        return _await(process, guest, job_dir, stop)
    finally:
        _end(process)


def _await(process: subprocess.Popen[bytes], guest: Guest, job_dir: Path, stop: threading.Event) -> int:
    deadline = time.monotonic() + guest.limit_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=POLL_S)
        if stop.is_set():
            raise GuestInterrupted("guest", "stopped on request", "Nothing of it is left running")
        if time.monotonic() > deadline:
            raise GuestFailed(
                "guest",
                f"not done after {guest.limit_s:g} s of real time, so it was killed",
                "Raise the limit, or look for a loop that waits for the clock without sleeping: "
                "in virtual time it reads the clock once per nanosecond",
                console_tail(job_dir / CONSOLE),
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the guest if it still runs; returns when all its processes are gone."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
    process.wait()


def _job_status(guest: Guest, job_dir: Path, kernel_status: int) -> int:
    try:
        return int((job_dir / SPEC / "status").read_text())
    except (OSError, ValueError):
        console = job_dir / CONSOLE
        if "panic - not syncing: Out of memory" in console_tail(console, lines=200):
            why = f"its {guest.memory_mib} MiB of memory were not enough"
            raise GuestFailed("guest", why, "Give it fewer hosts or fewer rounds at a time") from None
        why = f"the kernel ended with status {kernel_status} before the job did"
        raise GuestFailed("guest", why, "Its last messages follow", console_tail(console)) from None


def console_tail(console: Path, lines: int = 25) -> str:
    """The last lines of a console log."""
    try:
        text = console.read_bytes()[-20_000:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.replace("\r", "").splitlines()[-lines:])


# ---------------------------------------------------------------------------- what the guest is told


def kernel_arguments(guest: Guest) -> list[str]:
    """The kernel's command line, the same for every job folder: that one is the kernel's working directory."""
    first = "mkdir /dev/job; mount -n -t hostfs -o /proc/self/cwd job /dev/job && exec sh /dev/job/.guest/init"
    return [
        f"mem={guest.memory_mib}M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "time-travel=inf-cpu",
        f"time-travel-start={EPOCH_S * 1_000_000_000}",
        f"guest-seed={guest.seed}",
        "norandmaps",
        "con=null",
        "con0=null,fd:1",
        "loglevel=4",
        "panic=-1",
        "sysctl.vm.panic_on_oom=1",  # else it goes on without whatever it kills, or thrashes for good
        "ipv6.disable_ipv6=1",  # until switched on per interface: neighbour discovery draws from netem's seeds
        "ipv6.autoconf=0",
        f"uml_dir={SPEC}/",
        "umid=guest",
        "init=/bin/sh",
        "--",
        "-c",
        f'"{first}"',
    ]


def _write_spec(guest: Guest, job_dir: Path) -> None:
    """Lays out what the guest's first process reads."""
    spec = job_dir / SPEC
    job_dir.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(spec, ignore_errors=True)
    spec.mkdir()
    keep = kept_folders(guest)
    (spec / "keep").write_text("".join(f"{n} {path}\n" for n, path in enumerate(keep)))
    (spec / "fstab").write_text(fstab(hidden_folders(keep)))
    (spec / "run").write_text(job_script(guest))
    shutil.copyfile(HERE / "init.sh", spec / "init")


def kept_folders(guest: Guest) -> list[Path]:
    """Folders below one of `HIDDEN` that the job needs all the same, topmost only, sorted."""
    program = Path(guest.argv[0])
    wanted = {guest.cwd, *guest.visible, Path(sys.prefix), Path(sys.base_prefix)}
    if program.is_absolute():
        wanted |= {program.parent, program.resolve().parent}
    wanted |= {path.resolve() for path in wanted}
    below = {path.absolute() for path in wanted if any(path.absolute().is_relative_to(top) for top in HIDDEN)}
    return sorted(path for path in below if not any(other in path.parents for other in below))


def hidden_folders(keep: Sequence[Path]) -> list[str]:
    """Those of `HIDDEN` that exist here as folders and are not themselves what the job needs."""
    made_by_us = "/dev/shm"
    return [
        top
        for top in HIDDEN
        if Path(top) not in keep and (top == made_by_us or (Path(top).is_dir() and not Path(top).is_symlink()))
    ]


def fstab(hidden: Sequence[str]) -> str:
    """The guest's mounts in the order in which `mount -a` makes them."""
    rows = ["sys /sys sysfs defaults", "devpts /dev/pts devpts X-mount.mkdir,mode=620,ptmxmode=666"]
    rows += [f"tmpfs {top} tmpfs X-mount.mkdir,mode=1777" for top in hidden]
    rows.append("cgroup /sys/fs/cgroup tmpfs mode=755")
    rows += [f"{name} /sys/fs/cgroup/{name} cgroup X-mount.mkdir,{name}" for name in CGROUPS]
    return "".join(f"{row} 0 0\n" for row in rows)


def job_script(guest: Guest) -> str:
    """The shell line that becomes the job, with an environment that owes nothing to the host's."""
    environment = {
        "PATH": GUEST_PATH,
        "HOME": "/tmp",
        "USER": "root",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(guest.cwd),
        "OAE_GUEST": "1",
        "OAE_JOB": str(JOB),
    } | dict(guest.env)
    pairs = [f"{name}={value}" for name, value in environment.items()]
    words = ["env", "-i", *pairs, *guest.argv]
    return f"cd {shlex.quote(str(guest.cwd))} && exec {shlex.join(words)}\n"


# ---------------------------------------------------------------------------- many guests

Outcome = GuestResult | GuestFailed
"""A guest's result, or why there is none."""


def boot_many(
    guests: Sequence[Guest],
    jobs: int | None = None,
    progress: Callable[[int, Outcome], None] | None = None,
) -> list[Outcome]:
    """Boots several guests, `jobs` at a time (by default one per core), and returns their outcomes in order.

    A guest that fails does not stop the others. `progress` is called in this thread, with the guest's place and its
    outcome, as each ends. Any exception here, Ctrl-C included, ends all guests before it goes on.
    """
    stop = threading.Event()
    cpus = _cpus_in_turn()
    outcomes: list[Outcome | None] = [None] * len(guests)
    with ThreadPoolExecutor(max_workers=jobs or len(os.sched_getaffinity(0))) as pool:
        places = {pool.submit(_outcome, guest, stop, cpus): place for place, guest in enumerate(guests)}
        try:
            for future in as_completed(places):
                place, outcome = places[future], future.result()
                outcomes[place] = outcome
                if progress is not None:
                    progress(place, outcome)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [outcome for outcome in outcomes if outcome is not None]


def _cpus_in_turn() -> queue.SimpleQueue[int]:
    """The processors we may use, to be taken by a starting guest and given back by an ended one."""
    cpus: queue.SimpleQueue[int] = queue.SimpleQueue()
    for cpu in sorted(os.sched_getaffinity(0)):
        cpus.put(cpu)
    return cpus


def _outcome(guest: Guest, stop: threading.Event, cpus: queue.SimpleQueue[int]) -> Outcome:
    """Boots a guest on a processor of its own, or on one the host chooses when there are more guests."""
    try:
        cpu = cpus.get_nowait()
    except queue.Empty:
        cpu = -1
    try:
        return boot(guest, stop, cpu)
    except GuestFailed as failure:
        return failure
    finally:
        if cpu >= 0:
            cpus.put(cpu)
