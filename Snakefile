# SelfieAvatar: a head avatar of a person from one short selfie video.
#
#   snakemake --cores all results/<subject>/avatar.pt     one avatar
#   snakemake --cores all                                 everything of the sheet of clips
#   snakemake --cores all variants                        all ablations and baselines of its avatars, too
#
# What the paths mean (config/subjects.tsv has one row per clip):
#   results/{subject}/source/demo-{seed}.mp4                     the procedural demo actor; footage stays where it is
#   results/{subject}/clips/{clip}/frames/000000.png             the cropped frames          decode.parquet
#   results/{subject}/clips/{clip}/landmarks.parquet             the tracked points
#   results/{subject}/clips/{clip}/alpha/000000.png              the person's alpha          matting.parquet
#   results/{subject}/identity.npz                               the subject's 3DMM, camera and texture
#   results/{subject}/clips/{clip}/fit.parquet                   pose, expression and gaze per frame
#   results/{subject}/clips/{clip}/{render,uv}/000000.png        I_R and I_UV                render.parquet
#   results/{subject}/clips/{clip}/{overlay.mp4,contact.png}     images to judge the tracking by
#   results/{subject}/tracking.html                              a page with figures and curves of all clips
#   results/{subject}/{capture.html,capture.json}                whether the footage suffices, and what to record again
#   results/{subject}/{samples,test_samples}.parquet             what is trained on, what is measured on
#   results/{subject}/avatar.pt                                  the avatar
#   results/{subject}/{metrics.json,self.parquet,self.mp4,self/} self-reenactment, measured
#   results/{subject}/figures.html                               a page with its figures, frames and curves
#   results/{subject}/reenact/{driver}--{clip}.{mp4,parquet}     the avatar follows any clip of the sheet
#   results/{subject}/variants/{variant}/                        the same files of an ablation (config/variants)
#   results/{subject}/external/{method}/                         images of somebody else's method, put there, measured
#   results/{subject}/{logs,benchmarks,train}/                   logs, timings, TensorBoard and resume state
#   results/table.{md,parquet}                                   all of them compared, as Table I of the paper
#   results/summary.{html,parquet}                               what was made, what has failed and why, of all subjects
#   resources/assets/{file}                                      published weights, downloaded on request

from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/settings.smk"
include: "workflow/rules/machine.smk"
include: "workflow/rules/sheet.smk"
include: "workflow/rules/source.smk"
include: "workflow/rules/given.smk"
include: "workflow/rules/methods.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/summary.smk"
include: "workflow/rules/00_demo.smk"
include: "workflow/rules/05_assets.smk"
include: "workflow/rules/10_decode.smk"
include: "workflow/rules/20_landmarks.smk"
include: "workflow/rules/30_matting.smk"
include: "workflow/rules/40_fit.smk"
include: "workflow/rules/50_render.smk"
include: "workflow/rules/55_overlay.smk"
include: "workflow/rules/57_tracking.smk"
include: "workflow/rules/58_capture.smk"
include: "workflow/rules/60_samples.smk"
include: "workflow/rules/70_train.smk"
include: "workflow/rules/80_evaluate.smk"
include: "workflow/rules/82_figures.smk"
include: "workflow/rules/85_reenact.smk"
include: "workflow/rules/87_external.smk"
include: "workflow/rules/90_compare.smk"


rule all:
    default_target: True
    input:
        all_targets(),
    localrule: True


rule variants:
    input:
        variant_targets(),
    localrule: True


onsuccess:
    summarize(failed=False)


onerror:
    summarize(failed=True)
