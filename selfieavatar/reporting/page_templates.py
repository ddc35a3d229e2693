"""Render the report pages from the Jinja2 templates beside this module.

A page is one file that needs no network: it holds its images. HTML templates escape every value by themselves;
`table.md.j2` is given escaped Markdown. `code_digest` follows the names of templates in the code, and from template to
template, so that a changed template remakes its pages.
"""

from __future__ import annotations

import base64
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined


class Image(NamedTuple):
    """An image that a page holds, with its caption; kind: "png" or "jpeg"; alt: its text, where not the caption."""

    caption: str
    data: bytes
    kind: str = "png"
    alt: str = ""

    @property
    def url(self) -> str:
        """The image as a data URL."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"


def render(template: str, **values: Any) -> str:
    """Fill a template of `templates/`; a name that the template asks for and `values` lacks raises UndefinedError."""
    return _environment().get_template(template).render(values)


def number(value: float | None, digits: int, missing: str = "") -> str:
    """Format a number with fixed digits, or as `missing` where it is None or not finite."""
    return missing if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=lambda name: name is None or ".html" in name,
    )  # fmt: skip
    environment.filters |= {"number": number, "address": quote}  # address: of a file, relative to the page
    return environment
