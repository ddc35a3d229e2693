"""Only states of trainings that nothing goes on from are removed, and only when told to."""

import os
import shutil

import pytest

from selfieavatar.io.lease import Holder, new_run
from selfieavatar.settings import cli
from tools import prune

FILES = ("state.pt", "checkpoint_000000100.pt", "best_000000800.pt", "avatar.pt", "stats.jsonl", "grid_0000100.png")


def training(folder, key, age, avatar=b"old"):
    """A training's folder whose files are `age` seconds old."""
    path = folder / "train" / (key * 16)
    path.mkdir(parents=True)
    for name in FILES:
        (path / name).write_bytes(avatar if name == "avatar.pt" else b"x" * 100)
        os.utime(path / name, (1e9 - age, 1e9 - age))
    return path


@pytest.fixture
def results(tmp_path):
    """anna: an old training, the present one, and the one worked on last; her variant: one training."""
    folder = tmp_path / "results" / "anna"
    training(folder, "a", 300)
    training(folder, "b", 200, avatar=b"present")
    training(folder, "c", 100)
    shutil.copyfile(folder / "train" / ("b" * 16) / "avatar.pt", folder / "avatar.pt")
    training(folder / "variants" / "no_mrf", "d", 900)
    return tmp_path / "results"


def run(results, *options):
    cli.main(prune.build_parser(), prune.run, ["--results", str(results), *options])


def files(results):
    return {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}


def test_it_lists_and_keeps(results, capsys):
    before = files(results)
    run(results)
    said = capsys.readouterr().out
    assert files(results) == before
    assert "3 files, 300 bytes, would be removed by --yes" in said and "a" * 16 in said
    assert not any(key * 16 in said for key in "bcd")


def test_it_removes_the_states_of_old_trainings(results):
    before = files(results)
    run(results, "--yes")
    assert before - files(results) == {f"anna/train/{'a' * 16}/{name}" for name in FILES[:3]}
    run(results, "--yes", "--avatars")
    assert before - files(results) == {f"anna/train/{'a' * 16}/{name}" for name in FILES[:4]}


def test_nothing_is_removed_where_a_run_is_at_work(results, capsys):
    holder, before = Holder(new_run()), files(results)
    holder.take([results / "anna"])
    with pytest.raises(SystemExit, match="2"):
        run(results, "--yes")
    holder.release()
    assert "anna is being made by" in capsys.readouterr().err and files(results) == before


def test_two_names_of_one_file_are_counted_once(results, capsys):
    path = results / "anna/train" / ("a" * 16)
    (path / "checkpoint_000000100.pt").unlink()
    os.link(path / "state.pt", path / "checkpoint_000000100.pt")
    os.utime(path / "state.pt", (1, 1))
    run(results)
    assert "3 files, 200 bytes" in capsys.readouterr().out


def test_links_and_strange_folders_are_left_alone(results, tmp_path):
    outside = training(tmp_path / "elsewhere", "e", 5000)
    (results / "anna/train" / ("f" * 16)).symlink_to(outside)
    strange = results / "anna/train/notes"
    strange.mkdir()
    (strange / "state.pt").write_bytes(b"mine")
    (results / "anna/train" / ("a" * 16) / "best_000000001.pt").symlink_to(outside / "state.pt")
    run(results, "--yes", "--avatars")
    assert all((outside / name).is_file() for name in FILES) and (strange / "state.pt").is_file()


def test_no_results(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "nowhere")
    assert "there is no folder" in capsys.readouterr().err
