"""Every public name tells what it is, with an example that runs and gives what it says."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import testbed
from testbed import api

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
EXAMPLES = {
    found.name: found
    for name in testbed.__all__
    for found in doctest.DocTestFinder(recurse=True).find(
        getattr(api, name), name, module=inspect.getmodule(getattr(api, name)), globs={}
    )
    if found.examples
}


def test_every_name_has_an_example() -> None:
    ours = [name for name in testbed.__all__ if getattr(testbed, name).__module__.startswith("testbed.api")]
    assert set(ours) <= set(EXAMPLES)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_gives_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(EXAMPLES[name], out=said.append)
    assert not said, "".join(said)
    assert list(tmp_path.iterdir()) == []  # examples leave nothing behind
