"""The image in which the testbed itself runs: what goes into it, and what is said where it can't be made."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from testbed.cli.main import app
from testbed.engines.live.containers import whole
from testbed.engines.live.containers.rootfs import ImageUnavailable


def test_what_the_testbed_needs_is_in_it_and_what_only_some_uses_need_is_not() -> None:
    packages = dict(whole._packages())
    rooms = {name.partition("/")[0] for name in packages}
    assert {"testbed", "mininet", "numpy", "pyarrow", "matplotlib", "mypy_extensions.py"} <= rooms
    assert not {"ansible", "distributed", "docker", "pytest", "mypy"} & rooms
    assert {
        "testbed/nodes/agent/loop.py",
        "testbed/engines/vkernel/init.sh",
        "testbed/shipped/scenarios/nic-crash-mid-swap.yaml",
    } <= packages.keys()
    assert not any("__pycache__" in name or "__editable__" in name for name in packages)
    assert all(path.is_file() for path in packages.values())


def test_without_a_kernel_there_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "find_kernel", lambda: None)
    told = CliRunner().invoke(app, ["image", "testbed", "-o", str(tmp_path / "it.tar")])
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert "the kernel that goes into it is not built. testbed kernel build" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_has_no_place_is_said_before_anything_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "find_kernel", lambda: tmp_path / "linux")
    with pytest.raises(ImageUnavailable, match=r"nowhere\S*: No such file or directory\. It takes 2 GB"):
        whole.build(tmp_path / "nowhere" / "it.tar", lambda stage, share: None)
    assert list(tmp_path.iterdir()) == []
