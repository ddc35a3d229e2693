"""Pages show text as it is written, whatever it is made of, and need no other file."""

import pytest
from jinja2 import UndefinedError

from selfieavatar.reporting.page_templates import Image, _environment, number

HOSTILE = """<script>alert("1 & 2")</script>{{ 1 }}'"""
ESCAPED = "&lt;script&gt;alert(&#34;1 &amp; 2&#34;)&lt;/script&gt;{{ 1 }}&#39;"
TEMPLATE = """{% extends "base.html.j2" %}{% import "macros.html.j2" as m %}{% block body %}{{ m.table([x], [[x]]) }}
{{ m.items([x]) }}{{ m.link(x, x) }}{{ m.figure(image) }}{% endblock %}"""


def test_text_is_escaped_wherever_it_stands_and_images_are_embedded():
    values = {"x": HOSTILE, "title": HOSTILE, "image": Image(HOSTILE, b"\x89PNG")}
    whole = _environment().from_string(TEMPLATE).render(values)
    assert "<script" not in whole and '"1' not in whole and whole.count(ESCAPED) == 8
    assert 'href="%3Cscript%3Ealert%28%221%20%26%202%22%29%3C/script%3E%7B%7B%201%20%7D%7D%27"' in whole
    assert 'src="data:image/png;base64,iVBORw=="' in whole and "http" not in whole and 'name="viewport"' in whole


def test_a_name_that_nobody_gave_is_an_error():
    with pytest.raises(UndefinedError):
        _environment().from_string("{{ missing }}").render()


@pytest.mark.parametrize(
    ("value", "text"), [(1.26, "1.3"), (0, "0.0"), (None, "null"), (float("nan"), "null"), (float("inf"), "null")]
)
def test_what_is_not_known_is_no_number(value, text):
    assert number(value, 1, "null") == text
