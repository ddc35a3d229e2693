"""Inner loops compile where nothing can be kept, too."""

import logging
import sys

import numba
import pytest
from numba.core.caching import CacheImpl

from selfieavatar.errors import UserError
from selfieavatar.io import compiled
from selfieavatar.matting import closed_form


def twice(value):
    return 2 * value


def test_without_a_folder_to_write_code_is_compiled_in_memory(monkeypatch, caplog):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    compiled._warn.cache_clear()
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(twice)
    with caplog.at_level(logging.WARNING):
        loops = [compiled.njit(fastmath=True)(twice) for _ in range(2)]
    assert [loop(21) for loop in loops] == [42, 42]
    assert len(caplog.records) == 1 and "NUMBA_CACHE_DIR" in caplog.text


def test_a_library_that_keeps_code_says_what_to_do(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pymatting"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    with pytest.raises(UserError, match="no locator available.*NUMBA_CACHE_DIR"):
        closed_form._pymatting()
