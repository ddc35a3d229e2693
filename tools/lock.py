"""Write requirements.lock: what pyproject.toml asks for, resolved by uv for every machine, with markers.

What the lock has stays while it fits; `python -m tools.lock --upgrade` takes the newest versions, `--upgrade-package
NAME` that of one package. environment.yaml gets the same lines, since conda reads it from another folder. See
CONTRIBUTING.md.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tools.setup import ROOT, pip_settings

HEAD = "# Every version that `make setup` installs. Made from pyproject.toml by `make lock`; do not edit by hand.\n"
# uv repeats in every line what pyproject.toml says of the whole project.
PROJECT = "python_full_version < '3.13'"


def main() -> None:
    """Run `uv pip compile` over the present lock with the options of the command line."""
    lock = ROOT / "requirements.lock"
    options, env = pip_settings(sys.executable)
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal"]
    command += ["--python-version", "3.11", "--fork-strategy", "fewest", "--no-header", "--no-annotate"]
    command += ["--no-emit-index-url", "--quiet", "--output-file", str(lock), *options, *sys.argv[1:]]
    if code := subprocess.run(command, env=env, cwd=ROOT).returncode:
        raise SystemExit(code)
    text = lock.read_text().replace(f" ; {PROJECT}\n", "\n").replace(f"{PROJECT} and ", "")
    lock.write_text(HEAD + text)
    conda = ROOT / "environment.yaml"
    before = conda.read_text().partition("  - pip:\n")[0]
    conda.write_text(before + "  - pip:\n" + "".join(f"      - {json.dumps(line)}\n" for line in text.splitlines()))
    print(f"{lock.name}: {len(text.splitlines())} packages")


if __name__ == "__main__":
    main()
