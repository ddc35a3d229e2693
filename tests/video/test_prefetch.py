"""Test that prefetching keeps the order, passes errors on and can be closed."""

import threading
import time

import pytest

from selfieavatar.video.prefetch import Prefetch, in_order


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


def test_threads_return_in_order_and_not_far_ahead():
    begun = []

    def slow(number):
        begun.append(number)
        time.sleep(0.02 * (number % 3))
        return number**2

    for number, square in in_order(slow, range(20), threads=2):
        assert square == number**2 and max(begun) <= number + 5
    assert sorted(begun) == list(range(20))


def test_an_error_comes_at_its_item_and_ends_the_threads():
    results, before = [], set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        for _, result in in_order(lambda number: 1 // (3 - number), range(10), threads=3):
            results.append(result)
    assert results == [0, 0, 1]
    assert set(threading.enumerate()) <= before
