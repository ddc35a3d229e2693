"""Hash the code that a stage runs, so that Snakemake reruns a stage when, and only when, its code changed.

Snakemake sees only the text of a rule. Each rule therefore carries `code_digest("stages.<stage>")` among its
parameters: a hash of the syntax trees of the module and of every module of `PACKAGES` that it imports, directly or
not, and of the templates of report pages that they name. Comments, docstrings and layout of the code change nothing.
"""

from __future__ import annotations

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("selfieavatar", "stages")
TEMPLATES = Path("selfieavatar", "reporting", "templates")
_TEMPLATE = re.compile(r"[\w.]+\.j2")  # its name, as a string in the code or in another template

# Plumbing that cannot change what a stage writes: argument parsing, reading of settings (whose values are parameters
# of the rule anyway), wording of errors, choice of the device, the layout of results (whose files the rules name).
SETTINGS = (
    "assets", "capture_section", "cli", "clip_sheet", "config", "device", "marking_section", "provenance", "sections",
    "sheet_rows", "train_section", "typed_paths",
)  # fmt: skip
PLUMBING = frozenset(
    {
        "selfieavatar",
        "selfieavatar.errors",
        "selfieavatar.io.lease",
        "selfieavatar.io.owner",
        "selfieavatar.io.paths",
        "selfieavatar.io.permissions",
    }
    | {f"selfieavatar.settings.{name}" for name in SETTINGS}
)


def code_digest(module: str, root: Path = ROOT) -> str:
    """Hash, to sixteen hexadecimal digits, the code of `module` and of everything of `PACKAGES` that it imports.

    Raises:
        FileNotFoundError: the module does not exist below `root`.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, tree in sorted(code_modules(module, root).items()):
        digest.update(f"{name}\0{tree}\0".encode())
    return digest.hexdigest()


def code_modules(module: str, root: Path = ROOT) -> dict[str, str]:
    """Map the modules and templates that the digest of `module` covers to their syntax trees or texts."""
    if _module_file(module, root) is None:
        raise FileNotFoundError(f"no module {module} below {root}")
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _module_file(name, root)
        if path is None or name in found or name in PLUMBING:
            continue
        found[name], imports = _parse(path, path.stat().st_mtime_ns)
        waiting.extend(imports)
    return found


def _module_file(name: str, root: Path) -> Path | None:
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py", root / TEMPLATES / name):
        if path.is_file():
            return path
    return None


@cache
def _parse(path: Path, _changed_ns: int) -> tuple[str, tuple[str, ...]]:
    if path.suffix == ".j2":
        text = path.read_text()
        return text, tuple(_TEMPLATE.findall(text))
    tree = ast.parse(path.read_text())
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _TEMPLATE.fullmatch(node.value):
            imports.append(node.value)
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES]
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in PACKAGES:
            # `from selfieavatar.networks import haar` names a module, `from ...networks.haar import haar` a function:
            # both are tried, and what is no module is passed over.
            imports += [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return ast.dump(tree), tuple(imports)


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:]
