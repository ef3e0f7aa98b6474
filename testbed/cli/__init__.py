"""The command line: one verb per file. Heavy modules are imported by the verbs that need them, so `--help` is quick."""

from testbed import compiled

compiled.use()
