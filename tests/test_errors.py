"""What a user is told goes to a terminal, whatever damaged files put into it."""

from selfieavatar.errors import UserError


def test_control_characters_are_escaped():
    said = UserError("type \x0f, \x1b[31mred\x1b[0m, \udcff, übung\nnext line")
    assert str(said) == "type \\x0f, \\x1b[31mred\\x1b[0m, \\udcff, übung\nnext line"
