"""What the tests of the virtual-time kernel share."""

import sys
from pathlib import Path

import pytest

from testbed.engines.vkernel import kernel as kernels

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests, whatever pytest's import mode


@pytest.fixture(scope="session")
def kernel() -> Path:
    """The kernel to boot, built if it has to be; skips where it cannot be had."""
    found = kernels.find_kernel()
    if found is not None:
        return found
    try:
        return kernels.build_kernel()
    except kernels.VKernelUnavailable as lacking:
        pytest.skip(f"no virtual-time kernel: {lacking}")
