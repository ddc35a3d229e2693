"""Compile inner loops by numba, and keep the machine code where there is a place for it.

numba keeps it beside the code or in the user's cache, and refuses to compile where neither can be written, as in a
container with a read-only file system. Here such code is compiled anew in each process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import numba

log = logging.getLogger(__name__)


def njit(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function as numba.njit(cache=True, nogil=True) does; options: further ones of numba.njit."""

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # numba has no class of its own for "no locator available"
            _warn()
            return numba.njit(nogil=True, **options)(function)

    return compiled


@cache
def _warn() -> None:
    log.warning(
        "numba finds no folder to keep compiled code in, so that each process compiles it again, for half a minute or "
        "so; set NUMBA_CACHE_DIR to a folder that only you can write (docs/containers.md)"
    )
