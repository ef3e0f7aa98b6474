"""The small process between the testbed and a guest: it makes sure that no guest outlives its parent.

Run as `python -I -S launch.py PARENT CPU KERNEL ARGUMENT...` with the job folder as working directory. It uses nothing
but the standard library and imports nothing of the testbed, so that it starts in some 20 ms of real time.

    testbed ── launcher ── [warden ──] kernel ── the kernel's own processes

Each asks the host to be killed when its parent dies (the kernel's processes by patches/0004), so that SIGKILL of any
of them takes down all that come after it. Root gets a pid namespace on top, whose pid 1 is the warden: when that dies
the host kills whatever lives in there. An unprivileged user could only have one inside a user namespace, in which
root's files on the host would seem to be nobody's and the guest's `mount` would be set-uid to nobody; so there is
none. SIGTERM to the launcher ends the guest and returns only after the kernel is gone. The kernel is never pid 1
itself, because a pid 1 cannot abort, which is what a panicking kernel does.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
ADDR_NO_RANDOMIZE = 0x0040000
CLONE_NEWPID = 0x20000000

LIBC = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Has the host kill this process when `parent` dies; ends it at once if that has happened already."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def new_pid_namespace() -> bool:
    """Has this process's children live in a pid namespace of their own. Only root is granted that."""
    return os.getuid() == 0 and LIBC.unshare(CLONE_NEWPID) == 0


def pin(cpu: int) -> None:
    """Keeps the guest on one processor: -1 for the one the host has just put us on.

    Each system call of a guest is two switches between processes of which only ever one can run. On one processor
    a switch is a hand-over; on two it is a wake-up across, which took twice as long on the host it was tried on.
    """
    os.sched_setaffinity(0, {cpu if cpu >= 0 else LIBC.sched_getcpu()})


def run_kernel(argv: list[str], parent: int) -> None:
    """Becomes the kernel. Its own name is not a path, so that a guest's reboot cannot start it anew."""
    die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # what the guest opens is open here
    LIBC.personality(ADDR_NO_RANDOMIZE)
    try:
        os.execve(argv[0], ["guest", *argv[1:]], {"PATH": "/usr/bin:/bin"})
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def be_warden(argv: list[str]) -> int:
    """Pid 1 of the guest's pid namespace: starts the kernel, reaps everything, reports the kernel's status."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # its parent is outside: getppid() is 0 here
    kernel = os.fork()
    if kernel == 0:
        run_kernel(argv, 1)
    while True:
        pid, status = os.wait()
        if pid == kernel:
            return status


def fork_guest(argv: list[str], with_warden: bool) -> int:
    """Starts the warden, or the kernel itself where there is none. Returns its pid."""
    launcher = os.getpid()
    alive, held = os.pipe()  # readable once the launcher is dead: tells the warden of a death before its prctl
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if not with_warden:
            run_kernel(argv, launcher)
        os.close(held)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.set_blocking(alive, False)
        try:
            os.read(alive, 1)
            os._exit(1)
        except BlockingIOError:
            os.close(alive)
        status = be_warden(argv)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    return pid


def main() -> int:
    """Starts the guest and waits for it. Returns the kernel's exit status, 128 + n for a signal n."""
    parent, cpu, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    die_with(parent)
    pin(cpu)
    guest = fork_guest(argv, new_pid_namespace())

    def stop(_signal: int, _frame: object) -> None:
        os.kill(guest, signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    status = os.waitstatus_to_exitcode(os.waitpid(guest, 0)[1])
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
