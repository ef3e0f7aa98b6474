"""The command line as tests call it, in their own process."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from testbed.cli.main import app


def call(*words: str) -> Result:
    """``testbed WORDS``, which ends with an exit code, and not with a defect."""
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def data(*words: str) -> Any:
    """What it says with --json."""
    result = call(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)
