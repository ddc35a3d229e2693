"""Compute ahead of the caller, in order and in bounded memory: an iterator in a thread, a function on a thread pool."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

_END = object()
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[tuple[Item, Result], None, None]:
    """Map a function over items on a thread pool and yield (item, function(item)) in order.

    At most two items a thread are computed ahead of the caller. An error of the function is raised in its item's place.
    A caller that stops early ends the threads by `contextlib.closing`.
    """
    threads = max(threads, 1)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="in_order") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > 2 * threads:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Prefetch:
    """Iterate `make()` in a worker thread, at most `depth` items ahead.

    The iterator is made, run and closed in the worker, so that one thread alone touches a decoder. An exception raised
    there is raised again, with its traceback, by `next()` here. `close()` (or the end of a `with` block) stops the
    worker even when it waits for room in the queue; it may be called at any time, more than once.
    """

    def __init__(self, make: Callable[[], Iterator[Any]], depth: int = 8):
        if depth < 1:
            raise ValueError(f"depth must be at least 1, not {depth}")
        self._queue: queue.Queue = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._done = False
        self._thread = threading.Thread(target=self._work, args=(make,), name="prefetch", daemon=True)
        self._thread.start()

    def _put(self, item: Any) -> bool:
        """Wait for room in the queue; give up as soon as the caller has closed."""
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.05)
                return True
            except queue.Full:
                continue
        return False

    def _work(self, make: Callable[[], Iterator[Any]]) -> None:
        source: Any = None
        try:
            source = make()
            for item in source:
                if not self._put((item, None)):
                    break
            self._put((_END, None))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread raises it
            self._put((_END, error))
        finally:
            if hasattr(source, "close"):
                source.close()

    def __iter__(self) -> "Prefetch":
        return self

    def __next__(self) -> Any:
        if self._done:
            raise StopIteration
        item, error = self._queue.get()
        if item is _END:
            self.close()
            if error is not None:
                raise error
            raise StopIteration
        return item

    def close(self) -> None:
        """Stop the worker, wait for it and drop what it had prepared."""
        self._done = True
        self._stop.set()
        while True:  # make room, so that the worker stops before its time-out
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
