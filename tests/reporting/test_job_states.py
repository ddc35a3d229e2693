"""States of jobs, and the sentence that a log ends with."""

import pytest

from selfieavatar.errors import UserError
from selfieavatar.reporting.job_states import STATES, job_state, kind_of, sentence, together
from selfieavatar.settings import cli


def log_of(capsys, action):
    """What a stage that does `action` leaves in its log."""
    parser = cli.stage_parser("Doc.", "decode")
    with pytest.raises(SystemExit):
        cli.main(parser, action, [])
    return capsys.readouterr().err


def test_the_sentence_of_a_stage(capsys):
    def fails(_args):
        raise UserError("video.mp4 has no image: choose another")

    said = "12:00:00 WARNING decode: careful\n  0%|    | 0/9\r 50%|##  | 4/9\n" + log_of(capsys, fails)
    assert sentence(said) == "video.mp4 has no image: choose another"
    assert job_state(False, said, asked=True, ended=True) == ("failed", "video.mp4 has no image: choose another")


def test_the_first_of_several_processes_has_said_why():
    said = "error: train: the GPU is full\nerror: train: training on 2 GPUs has failed; the lines above say why\n"
    assert sentence(said) == "the GPU is full"


def test_ctrl_c_is_no_failure(capsys):
    def stops(_args):
        raise KeyboardInterrupt

    state, reason = job_state(False, log_of(capsys, stops), asked=True, ended=True)
    assert state == "waiting" and reason.startswith("interrupted")


def test_a_defect_is_named_by_its_last_line():
    said = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nValueError: no \x1b[31mgood\n'
    assert "ValueError: no  [31mgood" in sentence(said), "and cannot colour a terminal"


def test_a_log_without_an_end():
    said = "12:00:00 INFO train: 80 images\n"
    assert job_state(False, said, asked=True, ended=False) == ("running", "")
    state, reason = job_state(False, said, asked=True, ended=True)
    assert state == "failed" and "killed" in reason and reason.endswith("train: 80 images")
    assert job_state(False, "", asked=True, ended=True)[0] == "failed"


def test_a_reason_names_no_folder_of_the_machine():
    said = "error: decode: /home/anna/videos/selfie.mp4 has no image: choose another\n"
    assert job_state(False, said, asked=True, ended=True)[1] == "selfie.mp4 has no image: choose another"


def test_no_log():
    assert job_state(False, None, asked=True, ended=True)[0] == "waiting"
    assert job_state(False, None, asked=False, ended=True)[0] == "not asked"
    assert job_state(True, "error: fit: of an earlier try\n", asked=True, ended=True) == ("done", "")


def test_the_worst_state_counts():
    assert together(["done", "waiting", "failed"]) == "failed"
    assert together(["not asked", "done"]) == "done"
    assert together([]) == "not asked" and set(STATES) >= {"running", "waiting"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("clips/talk/frames/000000.png", "pictures"),
        ("clips/talk/uv/000000.png", "pictures"),
        ("clips/frames/contact.png", "other"),
        ("clips/talk/overlay.mp4", "videos"),
        ("self/talk/000000.png", "videos"),
        ("train/0123456789abcdef/avatar.pt", "training"),
        ("variants/no_mrf/train/0123456789abcdef/state.pt", "training"),
        ("variants/train/avatar.pt", "avatar"),
        ("avatar.pt", "avatar"),
        ("identity.npz", "other"),
    ],
)
def test_kinds_of_files(path, kind):
    *folders, name = path.split("/")
    assert kind_of(tuple(folders), name) == kind
