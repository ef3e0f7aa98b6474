"""Where does bisynchrony break? A scenario is run on an engine and judged; sweeps and studies find where it breaks.

    import testbed

    run = testbed.run("nic-crash-mid-swap")
    print(run.verdict)
    run.frames.to_pandas().delay_ns.describe()

Nothing is loaded before it is asked for: agents import this package too, where imports are dear. What is not named here
is no part of the interface and may change.
"""

TYPE_CHECKING = False  # readers of types take it for true; typing itself is not loaded

if TYPE_CHECKING:
    from testbed.api import (
        Comparison,
        Diagram,
        Error,
        Expectations,
        Fabric,
        Run,
        Scenario,
        StudyResult,
        Sweep,
        Table,
        Verdict,
        catalogue,
        compare,
        fabric,
        judge,
        load,
        open_run,
        open_study,
        run,
        run_study,
        sweep,
    )

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


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'testbed' has no attribute {name!r}")
    from testbed import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
