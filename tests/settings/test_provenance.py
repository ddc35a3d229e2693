"""The code digest changes with the code of the stage and of what it imports, and with nothing else."""

import pytest

from selfieavatar.settings.provenance import code_digest, code_modules


@pytest.fixture
def project(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write(
        "stages/fit.py",
        '"""Doc."""\n'
        "from selfieavatar.fitting import landmark_solver\n\ndef run():\n    return landmark_solver.solve()\n",
    )
    write(
        "selfieavatar/fitting/landmark_solver.py", "import selfieavatar.geometry.camera\n\ndef solve():\n    return 1\n"
    )
    write("selfieavatar/geometry/camera.py", "FOCAL = 2\n")
    write("selfieavatar/geometry/other.py", "X = 1\n")
    return tmp_path, write


def test_imports_are_followed(project):
    root, _ = project
    assert set(code_modules("stages.fit", root)) == {
        "stages.fit",
        "selfieavatar.fitting.landmark_solver",
        "selfieavatar.geometry.camera",
    }


def test_what_changes_the_digest(project):
    root, write = project
    before = code_digest("stages.fit", root)
    write("selfieavatar/geometry/other.py", "X = 2\n")
    write("selfieavatar/geometry/camera.py", "# a comment\nFOCAL   =   2\n")
    write(
        "stages/fit.py",
        '"""Another doc."""\n'
        "from selfieavatar.fitting import landmark_solver\n\ndef run():\n"
        '    "doc"\n    return landmark_solver.solve()\n',
    )
    assert code_digest("stages.fit", root) == before
    write("selfieavatar/geometry/camera.py", "FOCAL = 3\n")
    assert code_digest("stages.fit", root) != before


def test_a_template_belongs_to_the_modules_that_name_it_or_its_base(project):
    root, write = project
    templates = "selfieavatar/reporting/templates"
    write("stages/page.py", 'def run(render):\n    render("page.html.j2")\n')
    write(f"{templates}/page.html.j2", '{% extends "base.html.j2" %}')
    write(f"{templates}/base.html.j2", "<p>one</p>")
    write(f"{templates}/other.html.j2", "<p>one</p>")
    assert set(code_modules("stages.page", root)) == {"stages.page", "page.html.j2", "base.html.j2"}
    before = [code_digest(f"stages.{name}", root) for name in ("page", "fit")]
    write(f"{templates}/other.html.j2", "<p>another</p>")
    assert [code_digest(f"stages.{name}", root) for name in ("page", "fit")] == before
    write(f"{templates}/base.html.j2", "<p>another</p>")
    assert code_digest("stages.page", root) != before[0] and code_digest("stages.fit", root) == before[1]


def test_an_unknown_module_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="stages.nothing"):
        code_digest("stages.nothing", tmp_path)


def test_the_real_stages_do_not_import_each_other():
    stages = {"stages.decode", "stages.landmarks", "stages.matting", "stages.fit", "stages.render", "stages.train"}
    for stage in stages:
        assert code_modules(stage).keys() & stages == {stage}
