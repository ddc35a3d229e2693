"""Test the silencing of native output."""

import os

from selfieavatar.io.stderr import quiet_stderr


def test_native_output_is_hidden_and_the_stream_is_restored(capfd):
    with quiet_stderr():
        os.write(2, b"noise")
    os.write(2, b"signal")
    assert capfd.readouterr().err == "signal"
