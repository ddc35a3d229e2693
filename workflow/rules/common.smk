# What all rules share: the project's code, its configuration and sheet, paths and wildcards.

import os
import sys
from pathlib import Path

# This file's place, whichever Snakefile includes it or uses it as a module.
sys.path.insert(0, str(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]))

from snakemake.settings.types import DeploymentMethod

from selfieavatar.io.paths import RULES
from selfieavatar.io.permissions import share_mask
from selfieavatar.settings.assets import ASSETS, asset_folder
from selfieavatar.settings.provenance import code_digest
from selfieavatar.settings.clip_sheet import NAME
from selfieavatar.workflow.command import logged, shell_prefix
from selfieavatar.workflow.comparison_wiring import Comparison
from selfieavatar.workflow.input_folders import files_digest, images_digest
from selfieavatar.workflow.run_lease import RunLease
from selfieavatar.workflow.wiring import Wiring

os.umask(share_mask())  # for the folders that Snakemake makes, the logs, and all jobs
shell.prefix(shell_prefix(own_python=DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method))
wf = Wiring(workflow, config)
comparison = Comparison(wf)
RunLease(workflow, wf.results)

# Constraints stand in the path variables: Snakemake applies its section `wildcard_constraints` before it fills these in.
SUBJECT, CLIP = f"{{subject,{NAME.pattern}}}", f"{{clip,{NAME.pattern}}}"
# No question mark: in an object store (docs/cluster.md) the path is read as a URL, whose path ends there.
VARIANT = f"{{variant,(/variants/{NAME.pattern}|)}}"


pathvars:
    results=str(wf.results),
    subject=f"<results>/{SUBJECT}",
    clip=f"<results>/{SUBJECT}/clips/{CLIP}",
    avatar=f"<results>/{SUBJECT}{VARIANT}",
    log=f"<results>/{SUBJECT}/logs",
    bench=f"<results>/{SUBJECT}/benchmarks",
    assets=str(asset_folder()),


wildcard_constraints:
    seed=r"\d+",
