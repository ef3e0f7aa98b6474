"""What tests of several rooms need of the machine, and OAE_REQUIRE, which demands it (see needs.py); how they are
shared out among several processes (see workers.py)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest
import typer.testing

sys.path.insert(0, str(Path(__file__).parent))  # needs.py, whatever pytest's import mode

from container_engine import started_engine
from needs import MOOT, NEEDS, as_nobody, demanded, lacking
from workers import end_children, how_many, order, scheduler

import testbed.nodes.core.driver  # noqa: F401  (tests are of the sources: with one of them here, no compiled build is used)
from testbed.engines.live.containers.engine import ContainerEngine
from testbed.engines.live.containers.image import Image

typer.testing._get_command = cache(typer.testing._get_command)  # 40 verbs are built once, and not with every call

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
_required: frozenset[str] = frozenset()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-traces", action="store_true", help="write the output in tests/traces/*.txt anew")
    parser.addoption("--rewrite-examples", action="store_true", help="write the output in docs' pages anew")


def pytest_configure() -> None:
    global _required
    _required = demanded(os.environ.get("OAE_REQUIRE", ""))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what is to run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # else nothing that tests start could be interrupted


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return how_many(len(os.sched_getaffinity(0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return scheduler(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        order(items)


@pytest.hookimpl(trylast=True)  # after the fixtures' own ends
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.INTERRUPTED and not session.config.getoption("numprocesses", None):
        end_children()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _judged((yield))


def _judged(report: Report) -> Report:
    """A skip for what is required here is a failure, and so is one that doesn't say what it lacks."""
    if _required and report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        need = reason.removeprefix("Skipped: ").partition(":")[0]
        if need in _required or need not in (*NEEDS, MOOT):
            report.outcome = "failed"
            report.longrepr = f"{path}:{line}: skipped, but OAE_REQUIRE={','.join(sorted(_required))}: {reason}"
    return report


@pytest.fixture(scope="session")
def kernel() -> Path:
    """The virtual-time kernel to boot."""
    from testbed.engines.vkernel.kernel import find_kernel

    return find_kernel() or lacking("kernel", "it has not been built (make kernel)")


@pytest.fixture(scope="session")
def namespaces() -> None:
    """This user can have namespaces here."""
    from testbed.engines.base import EngineUnavailable
    from testbed.engines.live.isolation import check_isolation

    try:
        check_isolation()
    except EngineUnavailable as refusal:
        lacking("namespaces", str(refusal))


@pytest.fixture(scope="session")
def node_image() -> Image:
    """The image of nodes, in the cache."""
    from testbed.engines.live.containers.image import ImageUnavailable, build, find_image

    try:
        return find_image() or build()
    except ImageUnavailable as refusal:
        lacking("runtime", str(refusal))


@pytest.fixture(scope="session")
def runtime() -> str:
    """What runs containers in a guest."""
    from testbed.engines.live.containers.runtime import find_runtime

    return find_runtime() or lacking("runtime", "there is neither crun nor runc")


@pytest.fixture(scope="session")
def _engine_socket(node_image: Image, namespaces: None) -> Iterator[str]:
    with started_engine() as address:
        engine = ContainerEngine(address)
        engine.load_image(node_image.archive)
        yield address


@pytest.fixture
def engine(_engine_socket: str, monkeypatch: pytest.MonkeyPatch) -> ContainerEngine:
    """A container engine that the tests have started for themselves, with the image of nodes in it."""
    monkeypatch.setenv("DOCKER_HOST", _engine_socket)
    return ContainerEngine(_engine_socket)


@pytest.fixture(params=["as this user", "as an ordinary user"])
def python(request: pytest.FixtureRequest) -> list[str]:
    """The start of a command line: this Python as one user or the other."""
    if request.param == "as this user":
        if os.geteuid() != 0:
            lacking(MOOT, "this user is an ordinary one: the other half of the tests is the same")
        return [sys.executable]
    return as_nobody()
