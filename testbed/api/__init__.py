"""The Python interface: all that ``import testbed`` gives, loaded when it is first asked for."""

from testbed.api.catalogues import catalogue
from testbed.api.comparisons import compare
from testbed.api.fabrics import Fabric, fabric
from testbed.api.runs import Run, judge, open_run, run
from testbed.api.scenarios import Scenario, load
from testbed.api.show import Diagram
from testbed.api.studies import StudyResult, open_study, run_study
from testbed.api.sweeps import Sweep, sweep
from testbed.api.table import Table
from testbed.api.verdicts import Expectations, Verdict
from testbed.errors import UserError as Error
from testbed.verdicts.comparison import Comparison

__all__ = [
    "Comparison",
    "Diagram",
    "Error",
    "Expectations",
    "Fabric",
    "Run",
    "Scenario",
    "StudyResult",
    "Sweep",
    "Table",
    "Verdict",
    "catalogue",
    "compare",
    "fabric",
    "judge",
    "load",
    "open_run",
    "open_study",
    "run",
    "run_study",
    "sweep",
]
