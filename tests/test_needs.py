"""OAE_REQUIRE: skips for what is required are failures, all others stay skips."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from needs import NEEDS, NOBODY, ROOT, lacking

pytest_plugins = ("pytester",)
TESTS = ROOT / "tests"
STORIES = """
    import pytest
    from needs import MOOT, lacking, needs

    def test_guest(): lacking("kernel", "it has not been built")
    @needs("namespaces", False, "this host gives none")
    def test_fabric(): raise AssertionError
    def test_elsewhere(): lacking(MOOT, "this host has netem")
    @pytest.mark.xfail(strict=True)
    def test_known(): raise AssertionError
    def test_plain(): pass
"""


Tell = Callable[..., tuple[dict[str, int], str]]


@pytest.fixture
def tell(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """What a run of STORIES, or of other tests, comes to under a value of OAE_REQUIRE, and what it prints."""
    pytester.makeconftest((TESTS / "conftest.py").read_text())

    def run(required: str, stories: str = STORIES) -> tuple[dict[str, int], str]:
        monkeypatch.setenv("OAE_REQUIRE", required)
        pytester.makepyfile(stories)
        result = pytester.runpytest_inprocess("-ra")
        text = result.stdout.str() + result.stderr.str()
        return result.parseoutcomes() if result.ret != pytest.ExitCode.USAGE_ERROR else {}, text

    return run


def test_nothing_is_demanded_unless_asked(tell: Tell) -> None:
    assert tell("")[0] == {"skipped": 3, "xfailed": 1, "passed": 1}


def test_what_is_demanded_and_lacking_fails_with_its_reason(tell: Tell) -> None:
    found, told = tell("kernel")
    assert found == {"failed": 1, "skipped": 2, "xfailed": 1, "passed": 1}
    assert re.search(r"skipped, but OAE_REQUIRE=kernel: Skipped: kernel: it has not been built", told)
    assert tell("kernel, namespaces")[0] == {"failed": 1, "errors": 1, "skipped": 1, "xfailed": 1, "passed": 1}


def test_what_only_other_machines_show_is_not_demanded(tell: Tell) -> None:
    assert tell("all")[0] == {"failed": 1, "errors": 1, "skipped": 1, "xfailed": 1, "passed": 1}


def test_a_module_that_is_skipped_as_a_whole_counts_too(tell: Tell) -> None:
    stories = "from needs import lacking\nlacking('ansible', 'it is not installed')\ndef test(): pass"
    assert tell("kernel", stories)[0] == {"skipped": 1}
    found, told = tell("ansible", stories)
    assert found == {"errors": 1}
    assert "OAE_REQUIRE=ansible: Skipped: ansible: it is not installed" in told


def test_a_skip_that_does_not_say_what_it_lacks_fails_where_anything_is_demanded(tell: Tell) -> None:
    stories = "import pytest\ndef test(): pytest.skip('no idea')"
    assert tell("", stories)[0] == {"skipped": 1}
    assert tell("ansible", stories)[0] == {"failed": 1}


def test_an_unknown_need_is_one_clear_line(tell: Tell) -> None:
    found, told = tell("kernel,namespace")
    assert found == {}
    assert f"OAE_REQUIRE=kernel,namespace: no need namespace; there are {', '.join(NEEDS)}, or all" in told


def test_every_skip_names_its_need() -> None:
    others = [path for path in TESTS.rglob("*.py") if path.name not in ("needs.py", "test_needs.py")]
    bare = re.compile(r"pytest\.(?:skip(?!\.Exception)|importorskip|mark\.skip\w*)\b")  # to notice a skip is none
    assert [path for path in others if bare.search(path.read_text())] == []


def test_a_closed_home_is_opened_as_far_as_asked_for_another_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        lacking("user", "only root can become somebody else")
    project = tmp_path / "home" / "project"
    project.mkdir(parents=True)
    (project / "text").write_text("read")
    (tmp_path / "home" / "secret").write_text("no")
    (tmp_path / "home").chmod(0o700)
    script = "import os; print(os.getuid(), open('text').read(), os.listdir('..'))"
    opened = [str(NOBODY), str(ROOT), sys.prefix, sys.base_prefix, str(project)]
    command = [sys.executable, str(TESTS / "other_user.py"), *opened, "--", sys.executable, "-c", script]
    told = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("65534 read ['project']\n", "")
