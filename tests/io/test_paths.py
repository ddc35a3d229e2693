"""The table of rules says what the rules say: their outputs, logs and benchmarks."""

import re
from pathlib import Path

import pytest

from selfieavatar.io.paths import RULES, STAGES, Rule, avatar_folders, targets
from selfieavatar.settings.provenance import ROOT

FOLDERS = {
    "<subject>/": "", "<clip>/": "clips/{of}/", "<avatar>/": "", "<log>/": "logs/", "<bench>/": "benchmarks/",
}  # fmt: skip
WILDCARDS = re.compile(r"\{(clip|seed|driver|method)\}")
RULE = re.compile(
    r"^(?:use )?rule (?:samples as )?(\w+)(?:.*?):\n(.*?)(?=^(?:use )?rule |\Z)", re.MULTILINE | re.DOTALL
)


def rules_of_the_workflow():
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("[0-9]*.smk")))
    return dict(RULE.findall(text))


def paths(rule: str, section: str) -> set[str]:
    """Paths of a rule's section as the table writes them."""
    body = re.search(rf"^    {section}:\n((?:     .*\n|\n)+)", rule, re.MULTILINE)
    found = re.findall(r'"(<\w+>/[^"]+)"', body[1]) if body else []
    for variable, folder in FOLDERS.items():
        found = [path.replace(variable, folder) for path in found]
    return {WILDCARDS.sub("{of}", path) for path in found}


@pytest.mark.parametrize("name", RULES)
def test_the_table_and_the_rules_agree(name):
    row, text = RULES[name], rules_of_the_workflow()[name]
    folder = row.made("{of}" if row.scope != "avatar" else "").rpartition("/")[0]
    assert paths(text, "output") == {f"{folder}/{path}".lstrip("/") for path in row.outputs}
    of = "" if row.scope == "avatar" else "{of}"
    assert paths(text, "log") == {row.log(of)}
    assert paths(text, "benchmark") <= {row.benchmark(of)}


def test_all_rules_of_a_subject_are_in_the_table():
    assert set(rules_of_the_workflow()) - {"asset", "compare"} == set(RULES)


def test_where_things_lie():
    assert RULES["fit"].made("talk") == "clips/talk/fit.parquet" and RULES["fit"].log("talk") == "logs/talk.fit.log"
    assert RULES["train"].made() == "avatar.pt" and RULES["train"].made("unet") == "variants/unet/avatar.pt"
    assert RULES["train"].benchmark("unet") == "variants/unet/benchmarks/train.tsv"
    assert RULES["demo"].log("7") == "logs/demo-7.log" and RULES["reenact"].made("a--b") == "reenact/a--b.mp4"
    assert Rule("x", "method", ("y",)).made("peer") == "external/peer/y"
    assert "test_samples" not in STAGES and STAGES.index("fit") < STAGES.index("train")
    assert targets(train=False) == ("tracking.html",) and "figures.html" in targets(train=True)


def test_folders_of_avatars(tmp_path):
    (tmp_path / "anna/variants/unet").mkdir(parents=True)
    found = [path.relative_to(tmp_path) for path in avatar_folders(tmp_path)]
    assert found == [Path("anna"), Path("anna/variants/unet")]
