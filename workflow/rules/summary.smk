# What a run ends with: the summary of all subjects, whether jobs have failed or not. Wiring only.

import os
import subprocess


def summarize():
    """Write results/summary.* and print them, in a process of its own: the run ends as it would without."""
    asked = [str(file) for job in workflow.dag.jobs if "subject" in job.wildcards_dict for file in job.output]
    if not asked:
        return  # published weights alone
    places = ["--sheet", str(SHEET_FILE), "--results", str(or_stop(expand, config["results"]))]
    path = os.pathsep.join(filter(None, [str(workflow.basedir), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, "-m", "stages.summary", "--after-run", *places],
        input="\n".join(asked),
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
