"""Lay out the documentation site as the repository is laid out, so that one set of links serves both.

A hook of mkdocs (mkdocs.yml). The pages are the Markdown files of the repository under their own paths, and one page of
API reference for each package of the library.
"""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/**/*.md", "docs/images/*", "config/*.md", "benchmarks/results/*.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of `docs/` by the repository's pages, and add the API reference."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for path in sorted(path.relative_to(ROOT).as_posix() for pattern in PAGES for path in ROOT.glob(pattern)):
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    for package in sorted(path.parent for path in ROOT.glob("selfieavatar/*/__init__.py")):
        modules = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in package.rglob("*.py"))
        blocks = "\n\n".join(f"::: {module.removesuffix('.__init__')}" for module in modules)
        text = f"# selfieavatar.{package.name}\n\n{blocks}\n"
        files.append(File.generated(config, f"docs/api/{package.name}.md", content=text))
    pages = sorted(file.src_uri for file in files.documentation_pages())
    config.nav = _expanded(config.nav, pages)
    return files


def _expanded(nav: Any, pages: list[str]) -> Any:
    """Replace each folder that the navigation names by its pages."""
    if isinstance(nav, list):
        return [_expanded(item, pages) for item in nav]
    if isinstance(nav, dict):
        return {title: _expanded(item, pages) for title, item in nav.items()}
    return [page for page in pages if page.startswith(nav)] if nav.endswith("/") else nav
