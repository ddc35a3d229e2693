"""The set-up: which Python it takes, what it says when it fails, a whole course without an index, and the lock."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tools import setup

ROOT = Path(setup.__file__).resolve().parents[1]
BROKEN_SHIM = 'echo "pyenv: command not found" >&2\nexit 127\n'  # what pyenv puts on PATH for a version not selected
NOWHERE = "http://127.0.0.1:9/simple"  # a closed port

# Modules whose distribution has another name than the module.
DISTRIBUTION = {
    "cv2": "opencv-contrib-python-headless",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "PIL": "pillow",
    "face_alignment": "face-alignment",
    "torch_fidelity": "torch-fidelity",
    "mkdocs": "mkdocs-material",
    "c2pa": "c2pa-python",
    "imwatermark": "invisible-watermark",
    "pywt": "pywavelets",
}
# Extras that are imported only where they are installed, and said so in the documentation.
OPTIONAL = {"nvdiffrast", "pyvirtualcam"}
# Packages of requirements.lock that other machines have.
ELSEWHERE = r"nvidia-|cuda-|triton|embreex|colorama|pyreadline3|greenlet"


def script(path: Path, text: str) -> str:
    """Write an executable shell script; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def fake_python(path: Path, version: str, missing: str = "ok") -> str:
    """A Python that answers the question of the set-up with the given version."""
    return script(path, f"echo {version.replace('.', ' ')} 64 {missing}\n")


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    """Write a wheel of the given files into a folder that pip and uv can be pointed to."""
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in (files | {f"{info}/RECORD": "".join(f"{path},,\n" for path in files).encode()}).items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)


@pytest.fixture
def project(tmp_path):
    """A folder with the set-up, a lock of two packages, and their wheels: this environment's own uv and a tiny one."""
    (tmp_path / "tools").mkdir()
    shutil.copy(setup.__file__, tmp_path / "tools")
    uv = Path(sys.prefix) / "bin" / "uv"
    if not uv.exists():
        pytest.skip("this environment has no uv")
    version = importlib.metadata.version("uv")
    wheel(tmp_path / "wheels", "uv", version, {f"uv-{version}.data/scripts/uv": uv.read_bytes()})
    for number in ("1.0", "2.0"):
        wheel(tmp_path / "wheels", "tiny", number, {"tiny.py": f"version = {number}\n".encode()})
    (tmp_path / "requirements.lock").write_text(f"tiny==1.0\nuv=={version}\n")
    return tmp_path


def run(project: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """Run the set-up with this Python; pip's own file says that only the project's wheels are there."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_")) and k != "PYTHON"}
    config = project / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links =\n    {project}/wheels\n")
    env.update(HOME=str(project / "home"), PIP_CONFIG_FILE=str(config), **variables)
    command = [sys.executable, str(project / "tools" / "setup.py"), "--need-gib", "0", *options]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


def one_error(done: subprocess.CompletedProcess) -> str:
    """The sentence of a failed run: exactly one line that begins with `error:`, and no traceback."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and lines[0] == done.stderr.splitlines()[-1]
    return lines[0]


# --- which Python


@pytest.mark.parametrize("name", ["python3.12", "python3.11"])
def test_a_shim_that_only_prints_command_not_found_is_passed_over(tmp_path, name):
    script(tmp_path / "shims" / "python3.12", BROKEN_SHIM)
    fake_python(tmp_path / "usr" / "python3", "3.10.4")
    good = fake_python(tmp_path / "usr" / name, "3.11.7")
    assert setup.find_python(f"{tmp_path}/shims{os.pathsep}{tmp_path}/usr", tmp_path) == good


def test_what_is_there_and_the_packages_that_debian_lacks_are_named_in_one_sentence(project):
    fake_python(project / "bin" / "python3.11", "3.11.2", missing="ensurepip")
    fake_python(project / "bin" / "python3.12", "3.12.3", missing="libstdc++.so.6")
    script(project / "bin" / "python3", BROKEN_SHIM)
    said = one_error(run(project, PATH=str(project / "bin")))
    assert "3.11 or 3.12" in said and "python3 (" not in said
    assert "python3.11 (3.11.2, without ensurepip)" in said and "(3.12.3, without libstdc++.so.6)" in said
    assert "`apt-get install libstdc++6 python3.11-venv`" in said
    assert not (project / ".venv").exists()


def test_no_python_at_all(tmp_path):
    with pytest.raises(setup.SetupError, match="found no working Python"):
        setup.find_python(str(tmp_path), tmp_path)


def test_the_python_that_the_user_insists_on_is_not_replaced_by_another(tmp_path):
    old = fake_python(tmp_path / "python3.9", "3.9.1")
    fake_python(tmp_path / "python3.11", "3.11.1")
    with pytest.raises(setup.SetupError, match="3.9.1"):
        setup.find_python(str(tmp_path), tmp_path, old)


@pytest.mark.parametrize("network", [True, False])
def test_another_python_has_uv_fetch_one_where_the_network_allows(tmp_path, monkeypatch, network):
    helper = fake_python(tmp_path / "bin" / "python3", "3.13.5")
    fetched = fake_python(tmp_path / "fetched", "3.11.9")
    uv = script(tmp_path / "uv", f"echo {fetched}\n" if network else "echo 'error: dns error'; exit 2\n")
    monkeypatch.setattr(setup, "install_uv", lambda python, venv, lock: uv if python == helper else None)
    if network:
        assert setup.find_python(str(tmp_path / "bin"), tmp_path) == fetched
    else:
        with pytest.raises(setup.SetupError, match=r"but found .*3.13.5\); install one of them"):
            setup.find_python(str(tmp_path / "bin"), tmp_path)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_says_that_there_is_no_python(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    make = [shutil.which("make"), "setup"]
    done = subprocess.run(make, cwd=tmp_path, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert "error: SelfieAvatar needs Python 3.11 or 3.12, but no Python 3" in done.stderr and done.returncode == 2


def test_set_up_is_readable_by_python_3_8():
    tree = ast.parse(Path(setup.__file__).read_text(), feature_version=(3, 8))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules < sys.stdlib_module_names


# --- what it says


def test_too_little_disk_is_said_before_anything_is_written(project):
    said = one_error(run(project, "--python", sys.executable, "--need-gib", "10000000"))
    assert "GiB free and 10000000 GiB are needed" in said and str(project) in said
    assert not (project / ".venv").exists()


@pytest.mark.slow
def test_no_network_is_one_sentence_and_nothing_counts_as_ready(project):
    offline = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": NOWHERE, "PIP_RETRIES": "0"}
    (project / "requirements.lock").open("a").write("absent==3.0\n")  # pip finds uv, uv finds nobody who has `absent`
    said = one_error(run(project, "--python", sys.executable, **offline))
    assert "could not be reached, is there no network? (Connection refused)" in said
    assert setup.stamp_of(project / ".venv") == setup.UNFINISHED


def test_a_full_disk_and_a_missing_version_have_sentences_of_their_own():
    assert "disk became full" in str(setup.reason("error: Failed to extract\n  cause: No space left on device"))
    missing = setup.reason("error: No solution found\n  cause: Because there is no version of x==9, no way.\nhint: a")
    assert str(missing).endswith(
        "could not be installed: No solution found: Because there is no version of x==9, no way."
    )


def test_progress_tells_what_has_been_fetched_and_what_is_awaited(tmp_path):
    said = "Downloading torch (1.5GiB)\nDownloading scipy (512.0MiB)\n Downloaded scipy\n"
    assert setup.progress(said, 75.2, tmp_path, 2) == "[1:15] fetching: 0.50 GiB are here, now torch"
    (tmp_path / "lib/python3.11/site-packages/scipy-1.dist-info").mkdir(parents=True)
    (tmp_path / "lib/python3.11/site-packages/scipy-1.dist-info/RECORD").touch()
    assert setup.progress(said + "Prepared 2 packages\n", 80, tmp_path, 2) == "[1:20] installing: 1 of 2 packages"


# --- what pip was told


def test_uv_is_told_what_pip_was_told(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = http://a/simple\ntimeout = 7\ncert = /ca.pem\n"
        "[install]\nextra-index-url =\n    http://b/simple\n    http://c/simple\ntrusted-host = a b\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_TIMEOUT", "8")
    monkeypatch.setenv("PIP_FIND_LINKS", "/x /y")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_INSECURE_HOST", "mine")
    options, env = setup.pip_settings(sys.executable)
    assert options == ["--no-index"]
    assert env["UV_DEFAULT_INDEX"] == "http://a/simple"
    assert env["UV_INDEX"] == "http://a/simple http://b/simple http://c/simple"
    assert env["UV_FIND_LINKS"] == "/x,/y"
    assert env["UV_HTTP_TIMEOUT"] == "8" and env["SSL_CERT_FILE"] == "/ca.pem"
    assert env["UV_INSECURE_HOST"] == "mine", "what uv itself was told stays"

    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///extra")
    main, extra = setup.pip_settings(sys.executable)[1]["UV_INDEX"].split()
    assert main.startswith("http") and extra == "file:///extra", "the main index stays the first"


# --- a whole course, and what counts as ready


@pytest.mark.slow
def test_an_environment_is_made_kept_brought_up_to_date_and_made_anew_after_an_interruption(project):
    venv, options = project / ".venv", ("--python", sys.executable)
    ask = [str(venv / "bin" / "python"), "-c", "import tiny; print(tiny.version)"]
    first = run(project, *options)
    assert first.returncode == 0 and "ready after" in first.stderr, first.stderr
    assert subprocess.check_output(ask, text=True).strip() == "1.0"
    assert run(project, *options).stderr == ""

    (venv / "kept").touch()
    lock = project / "requirements.lock"
    lock.write_text(lock.read_text().replace("tiny==1.0", "tiny==2.0"))
    assert setup.stamp_of(venv) != setup.lock_digest(lock)
    assert "ready after" in run(project, *options).stderr
    assert subprocess.check_output(ask, text=True).strip() == "2.0" and (venv / "kept").exists()

    (venv / setup.STAMP).write_text(setup.UNFINISHED)
    assert run(project, *options).returncode == 0
    assert not (venv / "kept").exists() and setup.stamp_of(venv) == setup.lock_digest(lock)


def test_a_second_set_up_waits_for_the_first_and_finds_the_work_done(tmp_path, monkeypatch):
    def install(venv, lock, python):
        time.sleep(1.0)
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(setup, "install", install)
    (tmp_path / "lock").write_text("uv==1\n")
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        arguments = (tmp_path / "venv", tmp_path / "lock", sys.executable, 0, said.append)
        both = [pool.submit(setup.setup, *arguments) for _ in range(2)]
    assert sorted(work.result() for work in both) == [False, True]
    assert sum("waiting for it" in text for text in said) == 1


def test_a_folder_that_is_no_environment_is_never_removed(project):
    (project / ".venv").mkdir()
    (project / ".venv" / "mine.txt").write_text("keep")
    said = one_error(run(project, "--python", sys.executable))
    assert "is not a Python environment" in said
    assert (project / ".venv" / "mine.txt").read_text() == "keep"


# --- the list of versions


@pytest.fixture(scope="module")
def ranges() -> dict[str, Requirement]:
    """Name -> what pyproject.toml asks for."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = told["dependencies"] + sum(told["optional-dependencies"].values(), [])
    return {entry.name: entry for entry in map(Requirement, lines) if entry.name != "selfieavatar"}


def test_lock_names_no_host_and_no_path():
    for name in ("pyproject.toml", "requirements.lock", "environment.yaml"):
        assert not re.search(r"://|file:|@ |--(extra-)?index|--find-links|^/", (ROOT / name).read_text(), re.MULTILINE)


def test_conda_installs_the_lock():
    conda = yaml.safe_load((ROOT / "environment.yaml").read_text())
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert {"pip": [line for line in lines if not line.startswith("#")]} in conda["dependencies"]
    assert "python=3.11" in conda["dependencies"]


def test_lock_has_every_package_of_pyproject_in_its_range_and_one_opencv(ranges):
    locked = setup.pinned(ROOT / "requirements.lock")
    for name, entry in ranges.items():
        assert entry.specifier.contains(locked[name]), f"{entry} but the lock has {locked[name]}: make lock"
    assert [name for name in locked if name.startswith("opencv")] == ["opencv-contrib-python-headless"]


def test_every_import_is_in_pyproject(ranges):
    known = sys.stdlib_module_names | {"selfieavatar", "stages", "tools"} | OPTIONAL
    for path in [path for folder in ("selfieavatar", "stages", "tools") for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            for module in {name.split(".")[0] for name in names} - known:
                assert DISTRIBUTION.get(module, module) in ranges, f"{path} imports {module}: not in pyproject.toml"


@pytest.fixture
def made():
    """Skip where this Python's environment was not made by `make setup` from the present lock."""
    if setup.stamp_of(Path(sys.prefix)) != setup.lock_digest(ROOT / "requirements.lock"):
        pytest.skip("this Python's environment was not made by make setup from this lock")


def test_lock_is_installed_here(made):
    site = [path for path in sys.path if path.endswith("site-packages")]  # not what setuptools has within itself
    found = importlib.metadata.distributions(path=site)
    installed = {re.sub(r"[-_.]+", "-", package.name).lower(): package.version for package in found}
    for name, version in setup.pinned(ROOT / "requirements.lock").items():
        assert installed.get(name) == version or re.match(ELSEWHERE, name), name


def test_packages_contradict_each_other_in_nothing_but_the_name_of_the_opencv_wheel(made):
    """docs/decisions/0012: they ask for OpenCV by two other names; every other complaint of pip is a fault."""
    said = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True).stdout
    assert {re.sub(r" [\d.]+ requires ", " > ", line).split(",")[0] for line in said.splitlines()} == {
        "mediapipe > opencv-contrib-python",
        "face-alignment > opencv-python",
        "invisible-watermark > opencv-python",
    }


@pytest.mark.slow
def test_packages_compiled_against_numpy_can_be_imported():
    """`pip check` trusts what packages say of themselves; some refuse an older numpy only when imported."""
    names = ["pyarrow.parquet", "pandas", "scipy.sparse", "numba", "cv2", "skimage", "av", "onnx", "onnxruntime"]
    done = subprocess.run([sys.executable, "-c", f"import {', '.join(names)}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
