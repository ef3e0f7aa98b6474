"""The one kind of error that is the user's business: the command line shows its text in place of a traceback."""


class UserError(Exception):
    """What is wrong, where, and what to do, in one line."""


def installing(extra: str) -> str:
    """How to install what only some uses of the testbed need; ``extra``: what pyproject.toml calls it."""
    return f"pip install 'oae-testbed[{extra}]'; in a clone: make setup"
