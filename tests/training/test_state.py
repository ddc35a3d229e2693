"""The resume state: round trip, damage, and the key of a run."""

import signal

import pytest
import torch

from stages.training.state import STATE_NAME, load_state, run_key, save_state, stop_between_steps


def test_round_trip(tmp_path):
    save_state(tmp_path, {"weights": torch.arange(4.0), "counters": {"images": 7}})
    state = load_state(tmp_path, "cpu")
    assert state["counters"] == {"images": 7} and torch.equal(state["weights"], torch.arange(4.0))
    assert [path.name for path in tmp_path.iterdir()] == [STATE_NAME]


def test_absent_and_damaged_states_start_anew(tmp_path, caplog):
    assert load_state(tmp_path, "cpu") is None
    save_state(tmp_path, {"a": torch.zeros(1000)})
    path = tmp_path / STATE_NAME
    path.write_bytes(path.read_bytes()[:500])
    assert load_state(tmp_path, "cpu") is None
    assert "training starts anew" in caplog.text


def test_key_depends_on_configuration_code_and_data():
    base = run_key({"batch": 4}, "code", "data")
    assert base == run_key({"batch": 4}, "code", "data")
    others = [
        run_key({"batch": 5}, "code", "data"),
        run_key({"batch": 4}, "x", "data"),
        run_key({"batch": 4}, "code", "x"),
    ]
    assert len({base, *others}) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_wait_for_the_end_of_a_step(number):
    before, steps = signal.getsignal(number), []
    with pytest.raises(KeyboardInterrupt), stop_between_steps() as stop:
        stop()
        signal.raise_signal(number)
        steps.append("whole")
        stop()
        steps.append("never")
    assert steps == ["whole"] and signal.getsignal(number) is before
