# Everything runs in .venv, which any target makes when it is missing.
PYTHON  ?= python3.11
PROFILE ?= default
PIPFLAGS ?= -q
VENV    := .venv
RUN     := $(VENV)/bin/python
ARGS    ?=
# What another brand of CPU rounds otherwise: products in MKL, PyTorch's own loops, and NumPy's linear algebra.
OTHER_KERNELS := MKL_CBWR=COMPATIBLE ATEN_CPU_CAPABILITY=default OPENBLAS_CORETYPE=Nehalem
NUMERICAL     := $(addprefix tests/,attacks oracles optimizers tensors)
PAPERS  := $(sort $(patsubst conf/claims/paper%.yaml,%,$(wildcard conf/claims/paper*.yaml)))

.DEFAULT_GOAL := help
.PHONY: help setup test test-fast test-dispatch test-faults lint smoke reproduce reproduce-paper1 reproduce-paper2 reproduce-paper3 bench report docs clean \
  status dashboards dashboard-tui sync

help:  ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 20
	@echo "PROFILE=smoke|default|paper picks the size; ARGS='key=value …' overrides any key."

setup: $(VENV)/.ready  ## make .venv with the exact versions of constraints.txt

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install $(PIPFLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

test: setup  ## run the tests, on two cores, and without ARGS the numerical ones again with the kernels of other CPUs
	$(RUN) -m pytest -n 2 --dist loadfile $(ARGS)
	$(if $(ARGS),,$(MAKE) --no-print-directory test-dispatch)

test-fast: setup  ## run the tests that take about a minute together, on two cores
	$(RUN) -m pytest -n 2 --dist loadfile -m 'not slow' $(ARGS)

test-dispatch: setup  ## run the numerical tests as a CPU of another brand would round
	$(OTHER_KERNELS) $(RUN) -m pytest -n 2 --dist loadfile $(NUMERICAL)

test-faults: setup  ## break small runs on purpose, on two cores in 10 minutes; SEED=7 breaks them the same way again
	unshare --map-root-user --mount $(RUN) -m tests.faults $(if $(SEED),seed=$(SEED)) $(ARGS)

lint: setup  ## check style and types, and the files of claims and deviations
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(RUN) -m src.claims check

smoke: PROFILE := smoke
smoke: reproduce  ## every experiment at its smallest, in seconds

reproduce: setup  ## all papers; one with a failed cell stops no other
	code=0; for paper in $(PAPERS); do \
	  $(RUN) scripts/reproduce.py $$paper profile=$(PROFILE) $(ARGS) || { code=$$?; [ $$code = 1 ] || exit $$code; }; done; exit $$code

reproduce-paper1: setup  ## Frei, Vardi, Bartlett & Srebro (2023): cells, verdicts, figures, page
	$(RUN) scripts/reproduce.py 1 profile=$(PROFILE) $(ARGS)

reproduce-paper2: setup  ## Wang et al. (2023): cells, verdicts, figures, page
	$(RUN) scripts/reproduce.py 2 profile=$(PROFILE) $(ARGS)

reproduce-paper3: setup  ## Gronich & Vardi (2026): cells, verdicts, figures, page
	$(RUN) scripts/reproduce.py 3 profile=$(PROFILE) $(ARGS)

bench: setup  ## ratios of times, in minutes on two cores; REFERENCE=DIR adds paper 2's released code
	$(RUN) -m benchmarks $(ARGS)

report: setup  ## rebuild the pages from the results there are, and the index of all
	for paper in $(PAPERS); do \
	  $(RUN) scripts/reproduce.py $$paper --only-report profile=$(PROFILE) $(ARGS) || [ $$? = 1 ] || exit 2; done

status: setup  ## which cells are done, running, failed, and how long it still takes
	@$(RUN) -m src.status $(ARGS)

dashboards: setup  ## W&B workspaces as code: written to outputs/dashboards/, pushed if there is a key
	@$(RUN) -m src.dashboards profile=$(PROFILE) $(ARGS)

dashboard-tui: setup  ## browse the offline W&B runs in the terminal, without an account
	@$(RUN) -m src.dashboards browse $(ARGS)

sync: setup  ## upload the offline W&B runs, each once
	@$(RUN) -m src.dashboards upload $(ARGS)

docs: setup  ## fill README.md and docs/ with the numbers of the reports
	$(RUN) scripts/publish.py $(ARGS)

clean:  ## remove results and environment, after asking
	@printf 'Remove outputs/ (all results) and .venv? [y/N] ' && read answer && [ "$$answer" = y ]
	find outputs -mindepth 1 ! -name README.md -delete
	rm -rf $(VENV)
