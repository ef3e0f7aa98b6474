"""The one kind of error that is the user's business: the command line shows its text in place of a traceback."""


class UserError(Exception):
    """What is wrong, where, and what to do, in one line."""
