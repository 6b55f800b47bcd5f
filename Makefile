# `make help` lists what can be asked for. The checkout's path and what is given may hold spaces and
# apostrophes: targets are relative, and recipes quote every value, paths as environment variables.
SHELL  := bash
PYTHON ?= $(shell command -v python3.11 || echo python3)
PRESET ?= quick
DATA   ?=
BUILD  ?= $(CURDIR)/_build
CORES  ?= all
VENV   := .venv
STAMP  := $(VENV)/.installed
export SEMQUANT_BUILD := $(BUILD)
export SEMQUANT_DATA  := $(DATA)

.PHONY: book test lab clean help install paper-check

help: ## list the targets
	@echo "make <target> [PRESET=quick] [DATA=folder of real photographs] [CORES=all]"; \
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

install: $(STAMP) ## make the virtual environment .venv that the other targets use (about 6 GB)

$(STAMP): pyproject.toml
	@case "$$PWD" in *[:{}]*) echo "folder: $$PWD has a colon or a brace in its path, which a virtual environment or the workflow can't take; accepted: another folder" >&2; exit 1;; esac
	@command -v "$(PYTHON)" >/dev/null || { echo "python: $(PYTHON) is not installed; accepted: Python 3.11 (make PYTHON=...)" >&2; exit 1; }
	@free=$$(df -Pk . | awk 'NR==2 {print int($$4/1048576)}'); [ -d $(VENV)/lib ] || [ $$free -ge 8 ] || \
	  { echo "disk: $$free GB are free here, the virtual environment needs 8 GB while it is made (6 GB after)" >&2; exit 1; }
	@[ -x $(VENV)/bin/python ] || "$(PYTHON)" -m venv $(VENV)
	@echo "installing into .venv (some minutes, about 6 GB)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[book,test]'
	@touch $@

book: $(STAMP) ## run the experiments and build the book (PRESET=quick: about 20 minutes on 2 cores)
	@SEMQUANT_MAKE=$$PPID exec $(VENV)/bin/semquant book --preset "$(PRESET)" --cores "$(CORES)" --data "$$SEMQUANT_DATA"

test: $(STAMP) ## run every test, the whole chain in the smoke preset and the book in three browsers included
	@$(VENV)/bin/python tests/browser/engines.py
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --dist loadgroup --no-loadscope-reorder

paper-check: $(STAMP) ## one training step of every full-size network, on the CPU, and what PRESET=paper takes
	@$(VENV)/bin/semquant check --preset paper --data "$$SEMQUANT_DATA"

lab: $(STAMP) ## open JupyterLab on the notebooks
	@$(VENV)/bin/jupyter lab --ServerApp.root_dir="$$PWD" --LabApp.default_url=/lab/tree/book

clean: ## remove everything generated (results, executed notebooks, HTML), not .venv
	rm -rf -- "$$SEMQUANT_BUILD" .snakemake
