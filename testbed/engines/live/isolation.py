"""Namespaces of a fabric's own, so that nothing of it reaches the host and nothing of it outlives its caller.

``isolated_popen`` starts a command in fresh pid, network, mount, UTS and IPC namespaces (and a user namespace in
which the caller is uid 0, unless it is root already). Three processes stand in a row:

    caller -> launcher -> init (pid 1 of the new pid namespace) -> the command

Launcher and init both die with their parent (PR_SET_PDEATHSIG), each after having checked that the parent was still
there when the signal was armed; the kernel kills every process of a pid namespace when its pid 1 dies, and a network
namespace goes, with all its interfaces, when the last process or file in it goes. So SIGKILL of the caller, at any
moment, leaves nothing. "Parent" means the calling THREAD (prctl(2)): call from a thread that stays.

Inside: private /proc, /sys and mount propagation, an empty /run/netns; /tmp and everything else is the host's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from testbed.engines.live import syscalls
from testbed.engines.live.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
)

MODULE = "testbed.engines.live.isolation"
ROOT = Path(__file__).resolve().parents[3]  # where the package testbed lies
ADVICE = "Use `--engine vkernel`: it needs neither root nor namespaces"
FAILED_TO_START = 125
OK = b"ok\n"
THE_COMMAND = "the command"
BRIDGE_SYSCTLS = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")

_File = None | int | IO[Any]


def isolated_popen(
    argv: Sequence[str],
    *,
    already_isolated: bool = False,
    stdin: _File = None,
    stdout: _File = None,
    stderr: _File = None,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> subprocess.Popen[bytes]:
    """Starts ``argv`` in namespaces of its own; returns when they stand. Raises EngineUnavailable when they can't, and
    FileNotFoundError when there is no such command.

    The Popen's return code is the command's; a command ended by signal n gives 128 + n. SIGTERM and SIGHUP are handed
    on to the command, SIGINT reaches it from the terminal, kill() ends everything. already_isolated: in the guest of
    the virtual-time kernel only the death with the parent is arranged.
    """
    _open_standard_streams()
    environment = dict(os.environ if env is None else env)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH", "")]))
    status_read, status_write = os.pipe()
    try:
        with_status = [str(os.getpid()), str(status_write), "inside" if already_isolated else "fresh"]
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-S", "-m", MODULE, *with_status, *argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(*pass_fds, status_write),
            env=environment,
            cwd=cwd,
        )
    except BaseException:
        os.close(status_read)
        raise
    finally:
        os.close(status_write)
    with os.fdopen(status_read, "rb") as status:
        message = status.read()
    if message != OK:
        process.kill()
        process.wait()
        _raise_unavailable(message.replace(OK, b""))
    return process


def _open_standard_streams() -> None:
    """Of the descriptors 0 to 2, those that are not open lead to nowhere, before a pipe of ours becomes one of them."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free, so this one


def run_isolated(argv: Sequence[str], **options: Any) -> int:
    """As isolated_popen, and waits; ends the command when the wait is interrupted. Returns its exit code."""
    process = isolated_popen(argv, **options)
    try:
        return process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def check_isolation() -> None:
    """Raises EngineUnavailable when this user can't have namespaces here. Leaves nothing."""
    run_isolated([sys.executable, "-S", "-c", ""])


def silence_network() -> None:
    """In the current network namespace: no IPv6, no bridged frame handed to netfilter. Missing files are fine."""
    silence_ipv6()
    for name in BRIDGE_SYSCTLS:
        # Left at 1, a FORWARD policy of DROP (Docker sets it) silently eats every bridged frame.
        _write_if_there(Path("/proc/sys/net/bridge") / name, "0")


def silence_ipv6() -> None:
    """No router solicitations, no neighbour discovery: they would take draws from a link's seed."""
    _write_if_there(Path("/proc/sys/net/ipv6/conf/all/disable_ipv6"), "1")  # also sets it for interfaces to come


def _raise_unavailable(message: bytes) -> NoReturn:
    from testbed.engines.base import EngineUnavailable

    try:
        what, why = json.loads(message)
    except ValueError:
        what, why = "the namespaces of the fabric", "their launcher ended before they stood (its message is above)"
    if what == THE_COMMAND:
        raise FileNotFoundError(why)
    raise EngineUnavailable(f"engine live cannot set up {what}", why, ADVICE)


def _write_if_there(path: Path, text: str) -> None:
    try:
        with path.open("w") as file:
            file.write(text)
    except OSError:
        return


# --- what runs in the launcher and in init ---------------------------------------------


class _SetUpError(Exception):
    """what could not be set up, and why, for the caller."""


def _launcher(argv: list[str]) -> int:
    """``<caller's pid> <status descriptor> fresh|inside command...``: sets the stage, returns the command's code."""
    caller, status, mode, command = int(argv[0]), int(argv[1]), argv[2], argv[3:]
    _die_with(caller)
    try:
        if mode == "fresh":
            _unshare_all()
            _die_with(caller)  # a new user namespace is a change of credentials, which forgets it
        init = _fork_init(status, command, mode == "fresh")
    except _SetUpError as failure:
        os.write(status, json.dumps(failure.args).encode())
        return FAILED_TO_START
    os.close(status)
    return stay_for(init)


def _die_with(parent: int) -> None:
    syscalls.die_with_parent()
    if os.getppid() != parent:
        os._exit(FAILED_TO_START)


def _unshare_all() -> None:
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        _attempt("a user namespace", lambda: syscalls.unshare(CLONE_NEWUSER), _why_no_user_namespace())
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        except OSError as error:
            raise _SetUpError("a user namespace", f"its id maps were refused: {error}") from error
    kinds = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
    hint = "root lacks CAP_SYS_ADMIN here, as in a container without --privileged" if user == 0 else ""
    hint = hint or "the user namespace gives no privileges (AppArmor restricts them on Ubuntu 24.04 and later)"
    _attempt("pid, network and mount namespaces", lambda: syscalls.unshare(kinds), hint)


def _why_no_user_namespace() -> str:
    limits = {
        "/proc/sys/kernel/unprivileged_userns_clone": "kernel.unprivileged_userns_clone is 0",
        "/proc/sys/user/max_user_namespaces": "user.max_user_namespaces is 0",
    }
    for path, reason in limits.items():
        try:
            if Path(path).read_text().strip() == "0":
                return f"{reason}; as root: sysctl -w {reason.replace(' is 0', '=16384')}"
        except OSError:
            continue
    return "not root, and this kernel or its security policy lets no ordinary user make one"


def _attempt(what: str, action: Callable[[], None], hint: str) -> None:
    try:
        action()
    except OSError as error:
        raise _SetUpError(what, f"{error.strerror} ({hint})") from error


def _fork_init(status: int, command: list[str], fresh: bool) -> int:
    alive_read, alive_write = os.pipe()  # its write end stays with the launcher alone: end of file means it is gone
    init = os.fork()
    if init != 0:
        os.close(alive_read)
        os.set_inheritable(alive_write, False)
        return init
    try:
        os.close(alive_write)
        syscalls.die_with_parent()
        if select.select([alive_read], [], [], 0)[0]:
            os._exit(FAILED_TO_START)
        os.close(alive_read)
        os._exit(_init(status, command, fresh))
    except _SetUpError as failure:
        os.write(status, json.dumps(failure.args).encode())
    except BaseException:
        import traceback  # not at the top: no fabric that comes up needs it

        traceback.print_exc()
    finally:
        os._exit(FAILED_TO_START)


def _init(status: int, command: list[str], fresh: bool) -> int:
    """Pid 1: mounts, brings lo up, runs the command, reaps whoever is left behind, and ends with the command."""
    if fresh:
        _mount_private()
        _bring_up_lo()
        silence_network()
    worker = os.fork()
    if worker == 0:
        try:
            syscalls.die_with_parent()
            os.set_inheritable(status, False)
            os.execvp(command[0], command)
        except OSError as error:
            os.write(status, json.dumps([THE_COMMAND, f"{command[0]}: {error.strerror}"]).encode())
        finally:
            os._exit(FAILED_TO_START)
    _hand_signals_to(worker)
    # The caller reads up to the end of file, which comes when the worker has become the command.
    os.write(status, OK)
    os.close(status)
    return _reap_until(worker)


def stay_for(child: int) -> int:
    """Hands signals on to a child and waits for it; its exit code, 128 + n when signal n ended it."""
    _hand_signals_to(child)
    return _reap_until(child)


def _hand_signals_to(child: int) -> None:
    def forward(number: int, _frame: object) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            return

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the command as well
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)


def _reap_until(child: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _mount_private() -> None:
    _attempt("private mounts", lambda: syscalls.mount("none", "/", None, MS_REC | MS_PRIVATE), "mount was refused")
    hardened = MS_NOSUID | MS_NODEV | MS_NOEXEC
    hint = "a container that masks /proc forbids it; run it with --security-opt systempaths=unconfined"
    _attempt("a /proc of its own", lambda: syscalls.mount("proc", "/proc", "proc", hardened), hint)
    with contextlib.suppress(OSError):  # a container that masks /sys: only people looking into /sys/class/net notice
        syscalls.mount("sysfs", "/sys", "sysfs", hardened)
    _mount_run_netns(hardened)


def _mount_run_netns(flags: int) -> None:
    """An empty /run/netns for `ip netns`. Where it does not exist, a new /run that shows the old one's entries."""
    if os.path.isdir("/run/netns"):
        syscalls.mount("tmpfs", "/run/netns", "tmpfs", flags, "mode=755")
        return
    old = os.open("/run", os.O_PATH)
    entries = os.listdir("/run")
    try:
        syscalls.mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        os.mkdir("/run/.host")
        syscalls.mount(f"/proc/self/fd/{old}", "/run/.host", None, MS_BIND | MS_REC)
        for entry in entries:
            os.symlink(f".host/{entry}", f"/run/{entry}")
        os.mkdir("/run/netns")
    except OSError as error:
        raise _SetUpError("/run/netns", str(error)) from error
    finally:
        os.close(old)


def _bring_up_lo() -> None:
    from testbed.engines.live.netlink.requests import link_up
    from testbed.engines.live.netlink.rtnl import Rtnl

    with Rtnl.open() as rtnl:
        rtnl.do(link_up(1))


if __name__ == "__main__":
    sys.exit(_launcher(sys.argv[1:]))
