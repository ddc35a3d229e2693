# What a run ends with: the summary of all subjects, whether jobs have failed or not. Wiring only.

import os
import subprocess


def summarize(failed):
    """Write results/summary.* and print them, each in a process of its own: the run ends as it would without."""
    asked = [str(file) for job in workflow.dag.jobs if "subject" in job.wildcards_dict for file in job.output]
    if not asked:
        return  # published weights alone
    results = str(or_stop(expand, config["results"]))
    if failed and any(job.rule.name == "compare" for job in workflow.dag.jobs):
        # The rule waits for all; this is the table of those that could be measured.
        call("stages.compare", "--subjects", str(SHEET_FILE), "--results", results)
    call("stages.summary", "--after-run", "--subjects", str(SHEET_FILE), "--results", results, said="\n".join(asked))


def call(module, *arguments, said=""):
    """Run a module of the project in a process of its own."""
    path = os.pathsep.join(filter(None, [str(workflow.basedir), os.environ.get("PYTHONPATH")]))
    command, env = [sys.executable, "-m", module, *arguments], os.environ | {"PYTHONPATH": path}
    subprocess.run(command, input=said, text=True, env=env, check=False)
