"""The command line: one verb per file. Heavy modules are imported by the verbs that need them, so `--help` is quick."""

import gc

from testbed import compiled

gc.set_threshold(100_000)  # Python looks for garbage hundreds of times while modules are imported, and finds none
compiled.use()
