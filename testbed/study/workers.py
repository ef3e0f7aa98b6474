"""A pool of worker processes that dies with its owner.

concurrent.futures' workers outlive an owner that was killed with SIGKILL: each holds the write end of the queue that it
waits on. Here every worker has one pipe to the owner and nothing else, so the owner's death is an end of file to it;
and a worker's death is an end of file to the owner, which says so instead of waiting for ever.

Nor are they multiprocessing's, which run the owner's script again: one that has no ``if __name__ == "__main__"`` would
start workers in its workers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Protocol

from testbed.errors import UserError

_PR_SET_PDEATHSIG = 1
_BORN = """
import sys
from multiprocessing.connection import Connection
owner = Connection(int(sys.argv[1]))
sys.path[:] = owner.recv()
from testbed.study.workers import serve
serve(owner, owner.recv(), int(sys.argv[2]))
"""


class Pool(Protocol):
    """What works a study's tasks off: Workers, or those of a cluster (testbed.study.cluster)."""

    def __enter__(self) -> Pool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def map(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Work all tasks off; (task, result) as they are ready. An exception of the work's is raised here."""
        ...


class WorkerDiedError(UserError):
    """A worker ended without an answer (killed, or out of memory)."""


class Workers:
    """``with Workers(work, count) as pool: for task, result in pool.map(tasks)``; results come as they are ready.

    work: a module-level function, called in the workers. count: how many; 0 = in this process. An exception raised by
    ``work`` is raised in the owner.
    """

    def __init__(self, work: Callable[[Any], Any], count: int) -> None:
        self._work = work
        self._count = count
        self._workers: dict[Connection, subprocess.Popen[bytes]] = {}
        self._idle: list[Connection] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers: those that work are killed, those that wait see the end of their pipe."""
        for connection, process in self._workers.items():
            if connection not in self._idle:
                process.kill()
            connection.close()
        for process in self._workers.values():
            process.wait()
        self._workers, self._idle = {}, []

    def map(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Work all tasks off, as many at a time as there are workers."""
        if self._count == 0:
            for task in tasks:
                yield task, self._work(task)
            return
        todo = iter(tasks)
        busy: dict[Connection, Any] = {}
        exhausted = False
        while True:
            while not exhausted and len(busy) < self._count:
                task = next(todo, _NOTHING)
                if task is _NOTHING:
                    exhausted = True
                    break
                connection = self._idle.pop() if self._idle else self._hire()
                busy[connection] = task
                connection.send(task)
            if not busy:
                return
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                result = self._receive(ready)
                self._idle.append(ready)
                yield busy.pop(ready), result

    def _hire(self) -> Connection:
        mine, its = Pipe()
        with its:
            argv = [sys.executable, "-c", _BORN, str(its.fileno()), str(os.getpid())]
            # A group of its own: a Ctrl-C goes to the whole terminal group, but is the owner's business.
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], process_group=0)
        self._workers[mine] = process
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died: told where its answer is awaited
            mine.send(sys.path)
            mine.send(self._work)
        return mine

    def _receive(self, connection: Connection) -> Any:
        try:
            ok, result = connection.recv()
        except (EOFError, ConnectionResetError):
            process = self._workers[connection]
            raise WorkerDiedError(f"a worker process ended by itself (exit code {process.wait()})") from None
        if not ok:
            raise result
        return result


_NOTHING = object()


def serve(connection: Connection, work: Callable[[Any], Any], owner: int) -> None:
    """What a worker does all its life."""
    die_with_parent(owner)
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            try:
                answer = (True, work(task))
            except Exception as error:
                answer = (False, error)
            connection.send(answer)


def die_with_parent(parent: int) -> None:
    """Be killed by the kernel when the parent goes, even in the middle of work (Linux only; else a no-op)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
