"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can fix. The message is one sentence: what is wrong, where, and how to fix it.

    Control characters in it, which only damaged or hostile files bring, are escaped: a terminal would obey them.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__("".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in str(message)))
