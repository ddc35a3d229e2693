# What jobs ask of the machine or cluster that they run on: GPUs and cores. Wiring only.

from selfieavatar.settings.device import visible_gpus


def gpu_need(wildcards):
    """Resource function: GPUs of a job that can use one. None on a machine without, one otherwise and on clusters."""
    return 1 if visible_gpus() or not workflow.local_exec else 0


def training_threads(wildcards):
    """Cores of a training: all on the CPU. With GPUs a share for each, and one for the tracking of others."""
    if not workflow.local_exec:
        return 8  # of a node that is not known yet; --set-threads train=N asks for others
    if not workflow.is_main_process or not gpu_need(wildcards):
        return workflow.cores
    given = workflow.global_resources.get("gpu")
    GPUs = len(visible_gpus()) if given is None else given.value
    return max(workflow.cores // (GPUs + 1), min(workflow.cores, 4))


def photometric_gpu(wildcards):
    """Resource function: a GPU where the fit may refine on the images, none for landmarks and light alone."""
    asked = settings_of("fit", wildcards.subject).photometric in ("auto", "full")
    return gpu_need(wildcards) if asked else 0
