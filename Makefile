# Every task that a person or CI runs. PYTHON names the interpreter that the environment is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(shell cat pyproject.toml constraints.txt Makefile | cksum | cut -d' ' -f1)
DEMO := .demo

.DEFAULT_GOAL := help
.PHONY: help env demo test test-all lint format clean

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

env: $(READY) ## build the environment (.venv), pinned by constraints.txt

$(READY): pyproject.toml constraints.txt Makefile
	$(PYTHON) -c 'import sys; sys.exit("need Python 3.10 or newer, got " + sys.version if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps nilearn
	# the bundle's root on the path, so that every verb of monai.bundle finds `scripts` from any directory
	$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "mcanet_bundle.pth").write_text(str(pathlib.Path("bundle").resolve()) + "\n")'
	rm -f $(VENV)/ready-*
	touch $@

demo: env ## segment both hippocampi of the MNI152 template, from DICOM
	$(BIN)/python demo/make_study.py $(DEMO)/study
	$(BIN)/python -W ignore -m monai.bundle run --config_file bundle/configs/inference.json --dataset_dir $(DEMO)/study --output_dir $(DEMO)/results --save_image true
	$(BIN)/python demo/show_volumes.py $(DEMO)/results

test: env ## the fast tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: env ## the fast and the slow tests, and those on the labelled data where it is at hand
	$(BIN)/python -m pytest -m 'not label'

lint: env ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: env ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environment and what the demo made
	rm -rf $(VENV) $(DEMO)
