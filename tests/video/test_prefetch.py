"""The prefetch thread keeps order, carries errors over and ends when asked."""

import threading
import time

import pytest

from stages.video.prefetch import Prefetch


def workers() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_order_is_kept():
    assert list(Prefetch(lambda: iter(range(100)), depth=3)) == list(range(100))


def test_never_more_than_depth_ahead():
    made = []

    def make():
        for i in range(50):
            made.append(i)
            yield i

    with Prefetch(make, depth=4) as items:
        next(items)
        time.sleep(0.2)
        assert len(made) <= 6  # one taken, four queued, one in the worker's hand


def test_error_arrives_after_the_good_items():
    def make():
        yield 1
        raise RuntimeError("broken")

    items = Prefetch(make)
    assert next(items) == 1
    with pytest.raises(RuntimeError, match="broken"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_close_stops_a_worker_that_waits_and_closes_its_source():
    closed = []

    def make():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    before = workers()
    items = Prefetch(make, depth=1)
    next(items)
    items.close()
    items.close()
    assert workers() == before
    assert closed == ["prefetch"]
