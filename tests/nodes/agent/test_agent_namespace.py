"""The harness of the tests on real NICs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

Namespace = Callable[[Callable[[], None]], None]


def test_a_story_that_fails_leaves_no_process_and_is_not_waited_for(on_nics: Namespace) -> None:
    """What it forked holds the pipe for its failure, and would hold it for ever."""
    left_end, right_end = os.pipe()

    def story() -> None:
        child = os.fork()
        if child == 0:
            signal.pause()
        raise AssertionError("as it should")

    with pytest.raises(pytest.fail.Exception, match="as it should"):
        on_nics(story)
    os.close(right_end)
    with os.fdopen(left_end, "rb") as others:
        assert others.read() == b""  # ends when all that was forked has
