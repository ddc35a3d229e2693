"""The workflow is found from everywhere: both Snakefiles, another folder, a module of somebody else's workflow."""

import os
import re

import pytest

from selfieavatar.io.paths import RULES
from selfieavatar.settings.provenance import ROOT
from tests.workflow.conftest import jobs

SCOPES = ("subject", "clip", "avatar")
MODULE = f"""
config["theirs"] = {{"train": 1}}

module selfieavatar:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: CONFIG

use rule * from selfieavatar as selfie_*

rule theirs:
    default_target: True
    input: rules.selfie_all.input
"""
ALL = {
    "compare",
    *(name for name, rule in RULES.items() if name != "test_samples" and not rule.on_request and rule.scope in SCOPES),
}


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_from_another_folder(snakemake, snakefile):
    status, said = snakemake("--dry-run", snakefile=ROOT / snakefile)
    assert status == 0 and set(jobs(said)) == {*ALL, "all"}, said
    assert "profiles/default" in said, "the settings of the project's profile hold"


@pytest.mark.parametrize("given", ["config", 'config["avatar"]'])
def test_as_a_module(snakemake, tmp_path, given):
    """Their keys are left alone, ours reach the stages; the targets have the names that they were given."""
    (tmp_path / "theirs.smk").write_text(MODULE.replace("CONFIG", given))
    ours = "subjects: sheet.tsv\nresults: made\ntrain: {images: 77}\n"
    nested = "avatar:\n" + "".join(f"  {line}\n" for line in ours.splitlines())
    (tmp_path / "theirs.yaml").write_text(ours if given == "config" else nested)
    options = ("--dry-run", "--configfile", "theirs.yaml", "--printshellcmds")
    status, said = snakemake("selfie_variants", "theirs", *options, snakefile=tmp_path / "theirs.smk", config="other=1")
    assert status == 0 and set(jobs(said)) == {"theirs", "selfie_variants", *(f"selfie_{name}" for name in ALL)}, said
    table = said.partition("Comparing all that was measured")[2].partition("Job ")[0]
    assert "made/anna/variants/unet/metrics.json" in table
    # The command line outweighs the subject's preset; a section of their configuration is as our config.yaml.
    assert ('"images":77' in said) is (given == "config")


def test_a_wrong_key_in_a_module_is_said(snakemake, tmp_path):
    (tmp_path / "theirs.smk").write_text(MODULE.replace("CONFIG", '{"train": {"imges": 1}}'))
    status, said = snakemake("--dry-run", snakefile=tmp_path / "theirs.smk")
    assert status and "did you mean 'train.images'?" in said


def test_conda_makes_the_environment_that_the_rules_run_in(snakemake, tmp_path):
    """By a stand-in for conda: the Python of the environment comes first, not the one that runs Snakemake."""
    for name, text in {
        "conda": """case "$*" in
*info*) echo '{"conda_prefix": "'$PREFIX'", "root_prefix": "'$PREFIX'", "platform": "linux-64"}';;
*--version*) echo conda 25.1.0;;
*config*) echo '{"get": {"channel_priority": "strict"}}';;
*create*) mkdir -p "${@: -1}/bin"
    printf '#!/bin/sh\\necho the python of the environment\\nexit 3' > "${@: -1}/bin/python"
    chmod +x "${@: -1}/bin/python";;
esac""",
        "activate": 'PATH="$1/bin:$PATH"',
    }.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    env = {"PREFIX": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    status, _ = snakemake("results/anna/clips/talk/decode.parquet", "--sdm", "conda", **env)
    assert status and (tmp_path / "results/anna/logs/talk.decode.log").read_text() == "the python of the environment\n"
    environment = next((tmp_path / ".snakemake/conda").glob("*.yaml")).read_text()
    assert environment == (ROOT / "environment.yaml").read_text()
    assert re.search(r"conda: +true", (ROOT / ".snakemake-workflow-catalog.yml").read_text())
