"""The resume state: round trip, damage, and the key of a run."""

import signal

import pytest
import torch

from selfieavatar.settings.cli import STOPPING
from selfieavatar.training.state import (
    STATE_NAME,
    STATE_PARTS,
    checkpoint_name,
    keep_checkpoint,
    load_checkpoint,
    load_state,
    run_key,
    save_state,
    stop_between_steps,
)


def state_of(**parts):
    return dict.fromkeys(STATE_PARTS) | parts


def test_round_trip(tmp_path):
    save_state(tmp_path, state_of(nets=torch.arange(4.0), counters={"images": 7}))
    state = load_state(tmp_path, "cpu")
    assert state["counters"] == {"images": 7} and torch.equal(state["nets"], torch.arange(4.0))
    assert [path.name for path in tmp_path.iterdir()] == [STATE_NAME]


def test_absent_and_damaged_states_start_anew(tmp_path, caplog):
    assert load_state(tmp_path, "cpu") is None
    save_state(tmp_path, state_of(nets=torch.zeros(1000)))
    path = tmp_path / STATE_NAME
    path.write_bytes(path.read_bytes()[:500])
    assert load_state(tmp_path, "cpu") is None
    assert "training starts anew" in caplog.text


@pytest.mark.parametrize("content", [{}, [], {"nets": {}}])
def test_what_is_no_state_counts_as_damaged(tmp_path, caplog, content):
    save_state(tmp_path, state_of(counters={"images": 7}))
    keep_checkpoint(tmp_path, [3])
    save_state(tmp_path, content)
    assert load_state(tmp_path, "cpu")["counters"] == {"images": 7}
    assert "it holds no state of a training" in caplog.text


def test_key_depends_on_configuration_code_and_data():
    base = run_key({"batch": 4}, "code", "data")
    assert base == run_key({"batch": 4}, "code", "data")
    others = [
        run_key({"batch": 5}, "code", "data"),
        run_key({"batch": 4}, "x", "data"),
        run_key({"batch": 4}, "code", "x"),
    ]
    assert len({base, *others}) == 4


def test_a_damaged_state_is_replaced_by_the_last_good_one(tmp_path):
    for steps in (100, 400):
        save_state(tmp_path, state_of(history=steps))
        keep_checkpoint(tmp_path, [steps] if steps == 100 else [100, 400])
    (tmp_path / STATE_NAME).unlink()
    (tmp_path / STATE_NAME).write_bytes(b"junk")
    assert load_state(tmp_path, "cpu")["history"] == 400
    save_state(tmp_path, state_of(history=500))
    assert load_checkpoint(tmp_path, [100, 400], 400, "cpu")["history"] == 400, (
        "a later save leaves the checkpoint alone"
    )


def test_good_states_are_chosen_by_age_and_others_dropped(tmp_path):
    for steps, good in ((0, [0]), (250, [0, 250]), (600, [0, 250, 600])):
        save_state(tmp_path, state_of(history=steps))
        keep_checkpoint(tmp_path, good)
    assert [load_checkpoint(tmp_path, [0, 250, 600], before, "cpu")["history"] for before in (700, 599, 250, 10)] == [
        600, 250, 250, 0,
    ]  # fmt: skip
    save_state(tmp_path, state_of(history=250))
    keep_checkpoint(tmp_path, [0, 250])
    assert sorted(path.name for path in tmp_path.glob("checkpoint_*")) == [checkpoint_name(0), checkpoint_name(250)]
    (tmp_path / checkpoint_name(0)).unlink()
    assert load_checkpoint(tmp_path, [0, 250], 10, "cpu")["history"] == 250, "the oldest that there is"
    assert load_checkpoint(tmp_path, [1, 2], 10, "cpu") is None


@pytest.fixture
def heard_signals():
    """Signals that whoever started the tests may have had them ignore: `nohup make test &` does so."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_signals_wait_for_the_end_of_a_step(number, monkeypatch, heard_signals):
    before = signal.getsignal(number)
    with stop_between_steps() as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked()
        signal.raise_signal(signal.SIGTERM)  # the same request by another way
        monkeypatch.setattr("selfieavatar.training.state.IMPATIENT_S", 0.0)
        with pytest.raises(KeyboardInterrupt):  # a second one does not wait
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so(heard_signals):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_between_steps() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)
