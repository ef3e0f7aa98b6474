"""What the tests of the virtual-time kernel share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests, whatever pytest's import mode
