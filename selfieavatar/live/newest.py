"""Hand items from one thread to the next so that the newest wins: an item that nobody took in time is dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Newest(Generic[Item]):
    """A place for one item between two threads: `put` never waits, and replaces what was not taken."""

    def __init__(self) -> None:
        self._item: Item | None = None
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def put(self, item: Item) -> None:
        """Leave an item; the one before, if it still lies there, is dropped and counted."""
        with self._changed:
            self.dropped += self._item is not None
            self._item = item
            self._changed.notify()

    def take(self) -> Item | None:
        """Wait for an item and take it; None once the place is closed."""
        with self._changed:
            while self._item is None and not self._closed:
                self._changed.wait()
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Drop what lies here, and have all who wait go on with None."""
        with self._changed:
            self._closed, self._item = True, None
            self._changed.notify_all()


class Outbox:
    """Messages to a client, of each kind the newest alone, so that a slow client costs no memory.

    Args:
        wake: called from any thread when there is something to take, once until it is taken.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake, self._lock = wake, threading.Lock()
        self._waiting: dict[str, Any] = {}

    def put(self, kind: str, message: Any) -> None:
        """Leave a message in the place of an older one of its kind."""
        with self._lock:
            first = not self._waiting
            self._waiting[kind] = message
        if first:
            self._wake()

    def take(self) -> list[Any]:
        """Take all messages that wait."""
        with self._lock:
            messages, self._waiting = list(self._waiting.values()), {}
        return messages
