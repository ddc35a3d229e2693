"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can fix. The message is one sentence: what is wrong, where, and how to fix it."""
