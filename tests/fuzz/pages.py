"""Tell whether a written page holds markup of the files that it was made from."""

import re
from html.parser import HTMLParser
from pathlib import Path

FOREIGN = "alert(1)"  # what all markup of `mutations.MARKUP` would run


class _Markup(HTMLParser):
    """Collects what a browser would run of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.run: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            if name.startswith("on") or (name in ("href", "src") and (value or "").lower().startswith("javascript:")):
                self.run.append(f"<{tag} {name}={value}>")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.run.append(f"<script>{data}</script>")


def check_page(page: Path) -> None:
    """Check that an HTML or Markdown page runs nothing of its files; AssertionError otherwise."""
    text = page.read_text(encoding="utf-8")
    markup = _Markup()
    markup.feed(text)
    markup.close()
    run = [part for part in markup.run if FOREIGN in part]
    if page.suffix == ".md" and re.search(r"(?<!\\)\]\(javascript:", text):
        run.append("](javascript:")
    if run or "<script>alert(1)" in text:
        raise AssertionError(f"the page {page.name} holds markup of a file: {run}")
