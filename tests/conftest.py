"""What all tests share: few threads, one folder for compiled kernels, the private footage, the marker `gpu`."""

import os
import signal
import sys
from collections import Counter
from pathlib import Path

# Of several test processes (pytest-xdist) each keeps to one thread, or they take the cores from each other.
THREADS = os.environ.get("SELFIEAVATAR_TEST_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
ROOT = Path(__file__).resolve().parent.parent

# Read by numpy, numba, torch and MediaPipe when they are imported: set before any test module is.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, THREADS)
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba_cache"))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("GLOG_minloglevel", "2")

# A shell that starts the tests in the background has them ignore Ctrl-C, which some of them send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402


def cuda_missing() -> str:
    """Why no CUDA GPU can be used here, or an empty string."""
    import torch

    if torch.cuda.is_available():
        return ""
    return "needs a CUDA GPU; torch " + torch.__version__ + " finds none"


def group_of(path: str) -> str:
    """Group the tests of a file, which share what they have made; those of the made project share that, too."""
    file = ROOT / path
    return "project" if file.parent.name == "workflow" and "_project" in file.read_text() else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep each group in one process. Marks of pytest-xdist's own (`xdist_group`) are lost on this pytest."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid.partition("::")[0])

    return Groups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Skip the tests marked `gpu` with the reason, and have the groups with the most slow tests begin.

    torch is imported only where a test needs a GPU.
    """
    groups = [group_of(item.nodeid.partition("::")[0]) for item in items]
    slow = Counter(group for group, item in zip(groups, items, strict=True) if item.get_closest_marker("slow"))
    order = sorted(range(len(items)), key=lambda k: -slow[groups[k]])
    items[:] = [items[k] for k in order]
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = cuda_missing() if marked else ""
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def own_config(tmp_path_factory):
    """The key that signs images is made in a folder of the tests, not in that of whoever runs them."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session", autouse=True)
def few_threads():
    """OpenCV takes every core unless told; torch reads OMP_NUM_THREADS itself."""
    import cv2

    cv2.setNumThreads(int(THREADS))


@pytest.fixture(autouse=True)
def denormals():
    """A training in this process flushes denormals to zero, with which MediaPipe's networks cannot be set up."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of footage that is not in the repository; the test is skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get("SELFIEAVATAR_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs footage: {folder}/data is absent (SELFIEAVATAR_SHARED names another folder)")
    return folder
