"""Pages that show results: one HTML file each, that needs no network, on a screen, on a phone and on paper.

Whatever is put into a page is escaped, unless it is `Html`, which only the functions here and templates make.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from string import Template
from typing import Any
from urllib.parse import quote

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64em; margin: 1em auto; padding: 0 1em; color: #222;
background: #fff; overflow-wrap: break-word }
table { border-collapse: collapse } .wide { overflow-x: auto; margin: 1em 0 } small, figcaption { color: #555 }
td, th { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { vertical-align: bottom; white-space: normal }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6em }
img { max-width: 100%; height: auto; display: block } figure { margin: 1em 0; max-width: 56em }
figcaption { font-size: .9em; overflow-wrap: anywhere } .advice { color: #a23 } .own { font-weight: 600 }
.row { display: flex; flex-wrap: wrap; gap: 0 1.2em } .row figure { flex: 1 1 25em; max-width: 31em; margin: .5em 0 }
.row img { width: 100% }
@media (max-width: 45em) { td, th { padding: .2em .35em; font-size: .85em; white-space: normal } }
@media print { body { max-width: none; margin: 0; font-size: 10pt } a { color: inherit } .wide { overflow: visible }
figure, tr { break-inside: avoid } h2, h3 { break-after: avoid } td, th { padding: .1em .4em } }
$style</style></head><body>
<h1>$title</h1>
$body
</body></html>
""")


class Html(str):
    """Text that is markup already."""


def escaped(value: Any) -> Html:
    """Any value as markup: what is not `Html` yet shows as the characters that it is made of."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def fill(template: str, **values: Any) -> Html:
    """The template's $names replaced by the values, escaped."""
    return Html(Template(template).substitute({name: escaped(value) for name, value in values.items()}))


def joined(parts: Iterable[Any], between: str = "\n") -> Html:
    """Parts after each other, each escaped."""
    return Html(between.join(escaped(part) for part in parts))


def page(title: str, *parts: Any, style: str = "") -> str:
    """The whole file: title, also as the heading, and the parts below it. style: CSS that only this page needs."""
    return _PAGE.substitute(title=html.escape(title), body=joined(parts), style=style)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Html:
    """A table, which scrolls sideways where the screen is too narrow; the first column is text, the others numbers."""

    def line(kind: str, cells: Sequence[Any]) -> Html:
        return Html("<tr>" + "".join(f"<{kind}>{escaped(cell)}</{kind}>" for cell in cells) + "</tr>")

    lines = joined(line("td", cells) for cells in rows)
    return fill('<div class="wide"><table>$head\n$lines\n</table></div>', head=line("th", head), lines=lines)


def image(data: bytes, alt: str, kind: str = "png") -> Html:
    """An image that the page holds itself; kind: "png" or "jpeg"."""
    source = Html(f"data:image/{kind};base64,{base64.b64encode(data).decode()}")
    return fill('<img alt="$alt" src="$source">', alt=alt, source=source)


def figure(image: Html, caption: Any) -> Html:
    """An image with its caption below it."""
    return fill("<figure>$image<figcaption>$caption</figcaption></figure>", image=image, caption=caption)


def link(path: str, shown: Any) -> Html:
    """A link to a file beside the page, by its relative path."""
    return fill('<a href="$path">$shown</a>', path=address(path), shown=shown)


def address(path: str) -> str:
    """A relative path as the address of a link or image."""
    return quote(path)


def items(values: Iterable[Any]) -> Html:
    """A list of sentences; nothing where there are none."""
    lines = joined(fill("<li>$value</li>", value=value) for value in values)
    return fill("<ul>$lines</ul>", lines=lines) if lines else Html("")
