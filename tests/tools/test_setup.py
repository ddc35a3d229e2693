"""The set-up: what the bootstrap says when it cannot go on, and that every list of versions agrees with the others."""

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = ROOT / "tools" / "setup.py"

# Modules whose distribution has another name than the module.
DISTRIBUTION = {
    "cv2": "opencv-python",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "PIL": "pillow",
    "face_alignment": "face-alignment",
    "torch_fidelity": "torch-fidelity",
}
# Extras that are imported only where they are installed, and said so in the documentation.
OPTIONAL = {"nvdiffrast"}


def load_bootstrap():
    spec = importlib.util.spec_from_file_location("bootstrap", BOOTSTRAP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bootstrap = load_bootstrap()


def script(path: Path, text: str) -> Path:
    """An executable shell script at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fake_python(path: Path, version: str, missing: str = "ok") -> Path:
    """A Python that answers the bootstrap's question with the given version."""
    return script(path, f"echo {version.replace('.', ' ')} 64 {missing}\n")


def broken_shim(path: Path) -> Path:
    """What pyenv puts on PATH for a version that is not selected."""
    return script(path, f'echo "pyenv: {path.name}: command not found" >&2\nexit 127\n')


@pytest.fixture
def project(tmp_path):
    """A folder with the bootstrap and a lock of one package."""
    (tmp_path / "workflow").mkdir()
    shutil.copy(BOOTSTRAP, tmp_path / "workflow")
    (tmp_path / "requirements.lock").write_text("iniconfig==2.3.1\n")
    return tmp_path


def run(project: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """Run the project's bootstrap with this Python; no index but the closed port that `variables` may name."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") and k != "PYTHON"}
    env.update(HOME=str(project / "home"), PIP_CONFIG_FILE=os.devnull, **variables)
    command = [sys.executable, str(project / "workflow" / "bootstrap.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


def one_error(done: subprocess.CompletedProcess) -> str:
    """The sentence of a failed run: exactly one line that begins with `error:`, and no traceback."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and lines[0] == done.stderr.splitlines()[-1]
    return lines[0]


# --- which Python


def test_a_shim_that_only_prints_command_not_found_is_passed_over(tmp_path):
    broken_shim(tmp_path / "shims" / "python3.12")
    good = fake_python(tmp_path / "usr" / "python3.11", "3.11.7")
    found = bootstrap.find_python(f"{tmp_path}/shims{os.pathsep}{tmp_path}/usr")
    assert found.path == str(good) and found.version == (3, 11, 7)


def test_the_same_name_further_down_the_path_is_tried_too(tmp_path):
    broken_shim(tmp_path / "shims" / "python3.12")
    good = fake_python(tmp_path / "usr" / "python3.12", "3.12.1")
    fake_python(tmp_path / "usr" / "python3", "3.10.4")
    assert bootstrap.find_python(f"{tmp_path}/shims{os.pathsep}{tmp_path}/usr").path == str(good)


def test_wrong_versions_are_named_in_one_sentence(project):
    fake_python(project / "bin" / "python3", "3.10.13")
    fake_python(project / "bin" / "python3.12", "3.12.3", missing="ensurepip")
    broken_shim(project / "bin" / "python3.11")
    said = one_error(run(project, PATH=str(project / "bin")))
    assert "3.11 or 3.12" in said
    assert "3.10.13" in said and "without its module ensurepip" in said and "python3.11 (" not in said
    assert not (project / ".venv").exists()


def test_no_python_at_all(tmp_path):
    with pytest.raises(bootstrap.SetupError, match="found no working Python"):
        bootstrap.find_python(str(tmp_path))


def test_the_python_that_the_user_insists_on_is_not_replaced_by_another(tmp_path):
    old = fake_python(tmp_path / "python3.9", "3.9.1")
    fake_python(tmp_path / "python3.11", "3.11.1")
    with pytest.raises(bootstrap.SetupError, match="3.9.1"):
        bootstrap.find_python(str(tmp_path), str(old))


def test_make_says_that_there_is_no_python(project):
    shutil.copy(ROOT / "Makefile", project)
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    done = subprocess.run([make, "setup"], cwd=project, env={"PATH": str(project)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: SelfieAvatar needs Python 3.11 or 3.12, but no Python 3" in done.stderr


def test_bootstrap_is_readable_by_python_3_8():
    assert ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 8)).body


# --- disk and network


def test_too_little_disk_is_said_before_anything_is_written(project):
    said = one_error(run(project, "--python", sys.executable, "--need-gib", "10000000"))
    assert "GiB free and 10000000 GiB are needed" in said and str(project) in said
    assert not (project / ".venv").exists()


@pytest.mark.slow
def test_no_network_is_one_sentence_and_nothing_counts_as_ready(project):
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_TIMEOUT": "2"}
    said = one_error(run(project, "--python", sys.executable, "--need-gib", "0", **offline))
    assert "could not be reached, is there no network? ([Errno 111] Connection refused)" in said
    digest = bootstrap.lock_digest(project / "requirements.lock")
    assert not bootstrap.is_ready(project / ".venv", digest)
    assert not (project / ".venv" / "tmp").exists()


def test_a_full_disk_and_a_missing_version_have_sentences_of_their_own(tmp_path):
    full = bootstrap.pip_reason(
        ["Collecting torch", "ERROR: Could not install: [Errno 28] No space left on device"], tmp_path
    )
    assert "disk became full" in str(full)
    missing = bootstrap.pip_reason(["ERROR: Ignored", "ERROR: No matching distribution found for x==9"], tmp_path)
    assert str(missing).endswith("packages of requirements.lock: No matching distribution found for x==9.")


# --- what counts as ready


@pytest.fixture
def empty_lock(project):
    """A lock that installs nothing: the whole course of the bootstrap in a few seconds, without an index."""
    (project / "requirements.lock").write_text("# nothing\n")
    return project


@pytest.mark.slow
def test_stamp_is_kept_until_the_lock_changes(empty_lock):
    options = ("--python", sys.executable, "--need-gib", "0")
    first = run(empty_lock, *options)
    assert first.returncode == 0 and "ready after" in first.stderr
    assert run(empty_lock, *options).stderr == ""
    (empty_lock / "requirements.lock").write_text("# nothing either\n")
    digest = bootstrap.lock_digest(empty_lock / "requirements.lock")
    assert not bootstrap.is_ready(empty_lock / ".venv", digest)
    assert "ready after" in run(empty_lock, *options).stderr
    assert bootstrap.is_ready(empty_lock / ".venv", digest)


@pytest.mark.slow
def test_interrupted_installation_is_made_anew(empty_lock):
    venv = empty_lock / ".venv"
    options = ("--python", sys.executable, "--need-gib", "0")
    assert run(empty_lock, *options).returncode == 0
    bootstrap.mark(venv)
    (venv / "half-unpacked").write_text("")
    assert not bootstrap.is_ready(venv, bootstrap.lock_digest(empty_lock / "requirements.lock"))
    assert run(empty_lock, *options).returncode == 0
    assert not (venv / "half-unpacked").exists() and not (venv / bootstrap.MARK).exists()


def test_a_folder_that_is_no_environment_is_never_removed(empty_lock):
    (empty_lock / ".venv").mkdir()
    (empty_lock / ".venv" / "mine.txt").write_text("keep")
    said = one_error(run(empty_lock, "--python", sys.executable, "--need-gib", "0"))
    assert "is not a Python environment" in said
    assert (empty_lock / ".venv" / "mine.txt").read_text() == "keep"


# --- the lists of versions


def chosen() -> dict[str, str]:
    """Canonical name -> version specifier of requirements.in."""
    lines = [line.split("#")[0].split(";")[0].strip() for line in (ROOT / "requirements.in").read_text().splitlines()]
    return {re.match(r"[A-Za-z0-9-]+", line)[0].lower(): line for line in lines if line}


def test_environment_yaml_has_the_same_lines_as_the_lock():
    conda = yaml.safe_load((ROOT / "environment.yaml").read_text())
    pip_lines = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    lock_lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert pip_lines == [line for line in lock_lines if line and not line.startswith("#")]
    assert "python=3.11" in conda["dependencies"]


def test_lock_names_no_host_and_no_path():
    for name in ("requirements.in", "requirements.lock", "environment.yaml"):
        assert not re.search(r"://|file:|@ |--(extra-)?index|--find-links|^/", (ROOT / name).read_text(), re.MULTILINE)


def test_lock_and_pyproject_agree_with_requirements_in():
    from packaging.requirements import Requirement

    locked = bootstrap.pinned(ROOT / "requirements.lock")
    for name, line in chosen().items():
        assert Requirement(line).specifier.contains(locked[name]), f"{line} but the lock has {locked[name]}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = [Requirement(r) for r in project["dependencies"] + project["optional-dependencies"]["dev"]]
    assert {r.name for r in ranges} == set(chosen())
    for entry in ranges:
        assert entry.specifier.contains(locked[entry.name]), f"{entry} but the lock has {locked[entry.name]}"


def test_lock_is_installed_here():
    if not (Path(sys.prefix) / bootstrap.STAMP).exists():
        pytest.skip("this Python's environment was not made by make setup")
    for name, version in bootstrap.pinned(ROOT / "requirements.lock").items():
        try:
            assert importlib.metadata.version(name) == version
        except importlib.metadata.PackageNotFoundError:
            assert re.match(r"nvidia-|cuda-|triton|embreex", name), f"{name} is missing"


def imported_modules() -> dict[str, Path]:
    """Top-level module -> a file of stages/ that imports it."""
    found = {}
    for path in sorted((ROOT / "stages").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update({alias.name.split(".")[0]: path for alias in node.names})
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found[node.module.split(".")[0]] = path
    return found


def test_every_import_of_stages_is_in_requirements_in():
    known = sys.stdlib_module_names | {"stages"} | OPTIONAL
    for module, path in imported_modules().items():
        if module not in known:
            assert DISTRIBUTION.get(module, module) in chosen(), f"{path} imports {module}: not in requirements.in"


@pytest.mark.slow
def test_packages_compiled_against_numpy_can_be_imported():
    """`pip check` trusts what packages say of themselves; some refuse an older numpy only when imported."""
    names = ["pyarrow.parquet", "pandas", "scipy.sparse", "numba", "cv2", "skimage", "av", "onnx", "onnxruntime"]
    done = subprocess.run([sys.executable, "-c", f"import {', '.join(names)}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
