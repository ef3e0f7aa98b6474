"""A study's trials on a Dask cluster: the same pool as testbed.study.workers, its workers on other machines.

Somebody else starts scheduler and workers, with Dask's own commands, in environments that hold this very testbed. Here
tasks are handed to the scheduler, and what comes back is handed on; a worker that dies is Dask's business, which gives
its tasks to another. Results are the same as those of workers here because each worker makes sure of it, task by task:
that its code, its Python and its libraries are these (testbed.study.fingerprint), and that the plan which it makes of
the scenario is the plan here, whatever files it is made from.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from testbed import compiled
from testbed.errors import UserError, installing
from testbed.study.fingerprint import code_fingerprint, computed_with
from testbed.study.workers import WorkerDiedError

if TYPE_CHECKING:
    from distributed import Client, Future

    from testbed.scenario import Scenario

SCHEME = "dask"
_DEFAULT_PORT = 8786  # Dask's own
_CONNECT_S = 5
_LOOK_S = 1.0  # how often it is seen to that somebody is there to work
_PATIENCE_S = 20.0  # a worker that Dask's nanny starts anew is back long before


class ClusterError(UserError):
    """The cluster can't be reached, has no workers, or has others than this testbed's."""


class ClusterWorkers:
    """``with ClusterWorkers(work, "dask://HOST:PORT") as pool: for task, result in pool.map(tasks)``, as Workers.

    work: a module-level function of a task that has a ``scenario``. Raises ClusterError.
    """

    def __init__(self, work: Callable[[Any], Any], address: str) -> None:
        self._work = work
        self._address = address
        self._client = _connected(address)

    def __enter__(self) -> ClusterWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close(timeout=_CONNECT_S)

    def map(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Have all tasks worked off; the scheduler says by whom. Those that are left when this ends are taken back."""
        todo = list(tasks)
        plans: dict[int, str] = {}  # a scenario is shared by many tasks
        for task in todo:
            if id(task.scenario) not in plans:
                plans[id(task.scenario)] = plan_digest(task.scenario)
        jobs = [
            _Job(pickle.dumps((self._work, task)), plans[id(task.scenario)], code_fingerprint("sim"), computed_with())
            for task in todo
        ]
        # The scheduler reads what it is given, too. Of this it sees bytes alone, so it need not have the testbed.
        futures = self._client.map(pickle.loads, [pickle.dumps(job) for job in jobs], pure=False)
        waiting: dict[Future[Any], Any] = dict(zip(futures, todo, strict=True))
        done: SimpleQueue[Future[Any]] = SimpleQueue()
        for future in futures:
            future.add_done_callback(done.put)
        try:
            while waiting:
                future = self._next(done)
                yield waiting.pop(future), self._result(future)
        finally:
            if waiting and self._client.status == "running":
                self._client.cancel(list(waiting), force=True)

    def _next(self, done: SimpleQueue[Future[Any]]) -> Future[Any]:
        """The next that is finished. Nobody waits for ever where nobody works."""
        last_seen = time.monotonic()
        while True:
            try:
                return done.get(timeout=_LOOK_S)
            except Empty:
                pass
            if self._has_workers():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > _PATIENCE_S:
                raise ClusterError(
                    f"{self._address}: the cluster has had no worker for {_PATIENCE_S:.0f} s; start some"
                    f" (dask worker --nthreads 1 {urlsplit(self._address).netloc}) and run the study again: what is"
                    " finished is kept"
                )

    def _has_workers(self) -> bool:
        try:
            return bool(self._client.nthreads())
        except (OSError, ValueError, RuntimeError) as error:
            raise self._gone() from error

    def _result(self, future: Future[Any]) -> Any:
        from distributed.scheduler import KilledWorker

        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            raise WorkerDiedError(
                f"{self._address}: a trial ended every worker that got it ({error.allowed_failures + 1}), the last at"
                f" {error.last_worker.address}; have they enough memory?"
            )
        if isinstance(error, ImportError):
            raise ClusterError(
                f"{self._address}: a worker there can't load this testbed ({error}); start workers with the dask of its"
                " environment"
            )
        if error is not None:
            raise error
        try:
            return future.result()
        except (OSError, CancelledError):
            raise self._gone() from None

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"{self._address}: the scheduler went away; what is finished is kept: run the study again when it is back"
        )


def _connected(address: str) -> Client:
    netloc = _netloc(address)
    try:
        from distributed import Client
        from distributed.versions import VersionMismatchWarning
    except ImportError as error:
        raise ClusterError(f"--workers {address}: Dask is not installed ({error}); {installing('dask')}") from None
    # What Dask logs about a connection that breaks stands in the one line that the user gets; what the versions must
    # have in common each worker sees to itself.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        try:
            return Client(netloc, timeout=_CONNECT_S, set_as_default=False, name="testbed")
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"--workers {address}: no Dask scheduler answers there within {_CONNECT_S} s; is it running"
                " (dask scheduler), and is this its address?"
            ) from error


def _netloc(address: str) -> str:
    """``host:port`` of ``dask://host:port``."""
    try:
        parts = urlsplit(address)
        if parts.scheme == SCHEME and parts.hostname and not parts.path.strip("/"):
            return parts.netloc if parts.port else f"{parts.netloc}:{_DEFAULT_PORT}"
    except ValueError:
        pass  # a port that is no number
    raise ClusterError(f"--workers {address}: write it as dask://HOST:PORT, the address of a Dask scheduler")


@dataclass(frozen=True)
class _Job:
    """A task on its way, as pickled bytes that are worked off where they are loaded."""

    task: bytes
    plan: str
    code: str
    versions: dict[str, str]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bytes, str, str, dict[str, str]]]:
        return work_off, (self.task, self.plan, self.code, self.versions)


def plan_digest(scenario: Scenario) -> str:
    """What a scenario and the files it names come to, in one hash."""
    from testbed.scenario import compile_plan

    return hashlib.blake2b(compile_plan(scenario).to_json().encode(), digest_size=8).hexdigest()


# -- in the workers ----------------------------------------------------------------------------------------------------

_one_at_a_time = threading.Lock()
"""A worker with several threads gains nothing from them, and trials are made for a process of their own."""


def work_off(pickled: bytes, plan: str, code: str, versions: dict[str, str]) -> Any:
    """Work a task off where code, versions and plan are those of the owner. Raises ClusterError elsewhere."""
    from distributed import get_worker

    with _one_at_a_time:
        compiled.use()  # before anything is imported that may be compiled
        where = f"the Dask worker at {get_worker().address}"
        if code_fingerprint("sim") != code:
            raise ClusterError(f"{where} has another testbed: {_differing(versions)}; start it from the same version")
        try:
            work, task = pickle.loads(pickled)
        except UserError as error:
            raise ClusterError(f"{where} can't read what the study is made of: {error}") from None
        if plan_digest(task.scenario) != plan:
            raise ClusterError(f"{where} makes another plan of {task.scenario.name}: the files that it names differ")
        return work(task)


def _differing(versions: dict[str, str]) -> str:
    here = computed_with()
    differing = [
        f"{name} {here[name] or 'missing'}, not {versions[name]}" for name in here if here[name] != versions[name]
    ]
    return "; ".join(differing) or "the code differs"
