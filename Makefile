# Thin aliases; each line says what it calls. `make` alone prints the list.
# Variables: ENV=active uses the python on PATH (conda, a given image) and installs nothing;
#            PYTHON=/path/to/python3.11 makes .venv with that one; CORES=2; WORKERS=4 tests at a time (0: in one process);
#            PYTEST_ARGS="-k raster";
#            REPORT="subjects=my.tsv results=/data/avatars": the report of another sheet or folder.

ENV ?= .venv
CORES ?= all
WORKERS ?= logical
PYTEST_ARGS ?=
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

ifeq ($(ENV),active)
PY := python
else
PY := $(CURDIR)/.venv/bin/python
# Rules call `python -m stages.<stage>`: the environment's own python must be the first one found.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
endif
export PYTHON
# Images of containers often forbid to keep compiled modules: each process would then compile torch and Snakemake anew.
export PYTHONDONTWRITEBYTECODE :=
SNAKEMAKE = $(PY) -m snakemake --cores $(CORES)
# Tests that share what they have made stay together; each process keeps to one thread (tests/conftest.py).
PYTEST = $(PY) -m pytest -q -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# The first python that runs at all; it may be too old for the project, tools/setup.py says so. The environment's own
# folder is left out: it may have to be made anew.
FIND_PYTHON = IFS=:; for folder in $$PATH; do for name in python3 python3.12 python3.11 python; do \
	[ "$$folder" != "$(CURDIR)/.venv/bin" ] && [ -x "$$folder/$$name" ] \
	&& "$$folder/$$name" -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1 \
	&& { echo "$$folder/$$name"; exit 0; }; done; done

.PHONY: help setup demo test test-fast torture fuzz lint lint-types lint-style bench gpu-check slurm-check s3-check report docs lock \
	clean

help: ## print this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: ## create .venv and install requirements.lock (done by the others when needed)
ifneq ($(ENV),active)
	@found=$$($(FIND_PYTHON)); \
	if [ -z "$$found" ]; then echo "error: SelfieAvatar needs Python 3.11 or 3.12, but no Python 3 (3.8 or newer) runs on this machine; install one (Debian: apt-get install python3-venv) and run the same command again." >&2; exit 2; fi; \
	"$$found" tools/setup.py
endif

demo: setup ## make an avatar of the procedural demo subject, and measure it (about 8 minutes on two cores)
	@$(SNAKEMAKE) $$($(PY) -c 'from selfieavatar.io.paths import targets; print(*("results/demo/" + file for file in targets(train=True)))')
	@echo "The demo's avatar is ready. Where to look:"
	@printf '  %s\n' results/demo/*.mp4 results/demo/*.html results/demo/metrics.json results/demo/avatar.pt results/demo/clips/*/contact.png results/demo/clips/*/overlay.mp4

test: setup lint ## style, workflow checks and every test, the slow ones too
	@$(PYTEST) --durations=15 $(PYTEST_ARGS)

test-fast: setup ## the tests that take a few seconds each
	@$(PYTEST) -m "not slow" $(PYTEST_ARGS)

fuzz: setup ## give damaged files to everything that reads files of others (three hours); FUZZ_ARGS="--count 20 sheet"
	@$(PY) -m tests.fuzz $(FUZZ_ARGS)

torture: setup ## kill a small run 50 times, give the same command again, compare; TORTURE_ARGS="--count 10 --seed 1"
	@$(PY) -m tools.torture $(TORTURE_ARGS)

lint: setup ## ruff, import-linter, mypy, codespell, snakefmt --check, snakemake --lint
	@$(MAKE) --no-print-directory --jobs=2 lint-types lint-style

# What takes longest, and all the rest: side by side.
lint-types:
	@$(PY) -m mypy --no-error-summary

lint-style:
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --check --quiet .
	@said=$$(lint-imports --no-logo) || { echo "$$said"; exit 1; }
	@codespell
	@$(PY) -m snakefmt --check --compact-diff Snakefile workflow
	@$(PY) -m snakemake --lint

# fit.py and photometric.py ask for videos or a folder, and run by hand.
bench: setup ## measure speed: every script of benchmarks/ that needs nothing given
	@for name in front_end metrics networks raster train_step; do echo "== benchmarks/$$name.py"; $(PY) benchmarks/$$name.py || exit 1; done

gpu-check: setup ## say which CUDA GPU is found and run the tests that need one
	@$(PY) -c 'import torch; print("torch", torch.__version__, "|", torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA GPU found")'
	@$(PY) -m pytest -q -m gpu -rs $(PYTEST_ARGS)

slurm-check: setup ## run the workflow on a throw-away Slurm of one node (as root; Debian: slurm-wlm, munge)
	@$(PY) -m pytest -q -rs tests/workflow/check_slurm.py $(PYTEST_ARGS)

s3-check: setup ## keep results in a local S3 server (needs snakemake-storage-plugin-s3 and moto[server], docs/cluster.md)
	@$(PY) -m pytest -q -rs tests/workflow/check_s3.py $(PYTEST_ARGS)

report: setup ## results/report.html: pages, videos and metrics of what has been made; opened in a browser
	@$(PY) tools/report.py $(if $(REPORT),--config $(REPORT))

docs: setup ## site/index.html: this documentation and the API reference as a site
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "The documentation is in site/index.html."

lock: setup ## make requirements.lock anew from pyproject.toml; LOCK_ARGS="--upgrade" (see CONTRIBUTING.md)
	@$(PY) -m tools.lock $(LOCK_ARGS)

clean: ## remove caches; results and .venv stay
	@find selfieavatar stages tools tests workflow benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .numba_cache build site
	@echo "Caches removed. Results are in results/, the environment in .venv: remove those by hand if you mean to."
