"""Pages show text as it is written, whatever it is made of."""

import base64
import re

from selfieavatar.reporting import page

HOSTILE = """<script>alert("1 & 2")</script>'"""


def test_text_is_escaped_wherever_it_stands():
    whole = page.page(
        HOSTILE, HOSTILE, page.table([HOSTILE], [[HOSTILE]]), page.items([HOSTILE]), page.link(HOSTILE, HOSTILE),
        page.figure(page.image(b"x", HOSTILE), HOSTILE), page.fill('<p title="$what">$what</p>', what=HOSTILE),
    )  # fmt: skip
    assert "<script" not in whole and '"1' not in whole and "1 & 2" not in whole
    assert whole.count("&lt;script&gt;alert(&quot;1 &amp; 2&quot;)&lt;/script&gt;&#x27;") == 11
    assert 'href="%3Cscript%3Ealert%28%221%20%26%202%22%29%3C/script%3E%27"' in whole


def test_markup_is_escaped_once():
    inner = page.fill("<b>$x</b>", x="a < b")
    assert page.fill("<p>$inner</p>", inner=inner) == "<p><b>a &lt; b</b></p>"
    assert page.joined([inner, "a < b"], " ") == "<b>a &lt; b</b> a &lt; b"


def test_a_dollar_in_a_value_is_no_name():
    assert page.fill("<p>$price</p>", price="$price $other") == "<p>$price $other</p>"


def test_a_page_holds_its_images_and_needs_nothing_else():
    whole = page.page("x", page.image(b"\x89PNG", "y"), page.link("a b/c.mp4", "video"))
    assert re.findall(r'src="([^"]+)"', whole) == ["data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()]
    assert 'href="a%20b/c.mp4"' in whole and "http" not in whole and 'name="viewport"' in whole


def test_no_item_is_no_list():
    assert page.items([]) == ""
