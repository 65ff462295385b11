# Everything runs in .venv. A target creates it if it is missing.
PYTHON  ?= python3.11
PROFILE ?= default
# Compiling every module of every package takes a minute; Python compiles those it imports.
PIPFLAGS ?= -q --no-compile
VENV    := .venv
RUN     := $(VENV)/bin/python
ARGS    ?=
# Files in their order: by the number of tests, a file of one long test would come last and keep one core waiting.
PYTEST  := $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# Select kernels that round as on other CPUs: matrix products in MKL, loops in PyTorch, linear algebra in NumPy.
OTHER_KERNELS := MKL_CBWR=COMPATIBLE ATEN_CPU_CAPABILITY=default OPENBLAS_CORETYPE=Nehalem
NUMERICAL     := $(addprefix tests/,attacks oracles optimizers tensors)
PAPERS  := $(sort $(patsubst paper%,%,$(basename $(notdir $(wildcard conf/claims/*.yaml)))))

.DEFAULT_GOAL := help
.PHONY: help setup test test-fast test-dispatch test-faults lint smoke reproduce reproduce-paper1 reproduce-paper2 reproduce-paper3 reproduce-bridges bench report docs site clean \
  status dashboards dashboard-tui sync

help:  ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 20
	@echo "PROFILE=smoke|default|paper selects the size; ARGS='key=value …' overrides any key."

setup: $(VENV)/.ready  ## create .venv with the exact versions of constraints.txt

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install $(PIPFLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

test: setup  ## run all tests on two cores; without ARGS, repeat the numerical ones with the kernels of other CPUs
	$(PYTEST) $(ARGS)
	$(if $(ARGS),,$(MAKE) --no-print-directory test-dispatch)

test-fast: setup  ## run the fast tests, about a minute on two cores
	$(PYTEST) -m 'not slow' $(ARGS)

test-dispatch: setup  ## run the numerical tests with the kernels of other CPUs
	$(OTHER_KERNELS) $(PYTEST) $(NUMERICAL)

test-faults: setup  ## inject faults into small runs, 15 minutes on two cores; SEED=7 repeats its faults
	unshare --map-root-user --mount $(RUN) -m tests.faults $(if $(SEED),seed=$(SEED)) $(ARGS)

lint: setup  ## check style and types, and the files of claims and deviations
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(RUN) -m src.claims check

smoke: PROFILE := smoke
smoke: reproduce  ## run every experiment at its smallest size, in minutes

reproduce: setup  ## run all papers and the bridges; a failed cell stops no other
	code=0; for paper in $(PAPERS); do \
	  $(RUN) scripts/reproduce.py $$paper profile=$(PROFILE) $(ARGS) || { code=$$?; [ $$code = 1 ] || exit $$code; }; done; exit $$code

reproduce-paper1: setup  ## run paper 1, Frei, Vardi, Bartlett & Srebro (2023): cells, verdicts, figures, page
	$(RUN) scripts/reproduce.py 1 profile=$(PROFILE) $(ARGS)

reproduce-paper2: setup  ## run paper 2, Wang et al. (2023)
	$(RUN) scripts/reproduce.py 2 profile=$(PROFILE) $(ARGS)

reproduce-paper3: setup  ## run paper 3, Gronich & Vardi (2026)
	$(RUN) scripts/reproduce.py 3 profile=$(PROFILE) $(ARGS)

reproduce-bridges: setup  ## run what the papers say together: optimizers and the robustness of networks
	$(RUN) scripts/reproduce.py bridges profile=$(PROFILE) $(ARGS)

bench: setup  ## measure ratios of times, minutes on two cores; REFERENCE=DIR adds the released code of paper 2
	$(RUN) -m benchmarks $(ARGS)

report: setup  ## rebuild the pages of the papers and their index from existing results
	for paper in $(PAPERS); do \
	  $(RUN) scripts/reproduce.py $$paper --only-report profile=$(PROFILE) $(ARGS) || [ $$? = 1 ] || exit 2; done

status: setup  ## show which cells are done, running or failed, and the time left
	@$(RUN) -m src.status $(ARGS)

dashboards: setup  ## write W&B workspaces to outputs/dashboards/; push them if there is a key
	@$(RUN) -m src.dashboards profile=$(PROFILE) $(ARGS)

dashboard-tui: setup  ## show the offline W&B runs in the terminal; needs no account
	@$(RUN) -m src.dashboards browse $(ARGS)

sync: setup  ## upload the offline W&B runs, each once
	@$(RUN) -m src.dashboards upload $(ARGS)

docs: setup  ## write the results of the reports into docs/results/ and README.md
	$(RUN) scripts/publish.py $(ARGS)

site: setup  ## build the pages of docs/ and of the docstrings in outputs/site/
	$(VENV)/bin/pip install $(PIPFLAGS) -c constraints.txt -e '.[site]'
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

clean:  ## remove results and environment, after asking
	@printf 'Remove outputs/ (all results) and .venv? [y/N] ' && read answer && [ "$$answer" = y ]
	find outputs -mindepth 1 ! -name README.md -delete
	rm -rf $(VENV)
