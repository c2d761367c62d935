# Every verb sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.setup-done
ARGS   ?=
# Tests run in one process more than there are cores (some only wait), a file's tests in one and the same;
# JOBS=0 runs all in one process, as a debugger needs it.
JOBS   ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 1) + 1)))
PYTEST := $(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup run sim test campaign test-fast test-compiled lint types conformance mutants rewrite bench docs build \
	compiled clean

help: ## show the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## make .venv with everything needed (skipped when up to date)

$(STAMP): pyproject.toml tools/setup_venv.py
	$(PYTHON) tools/setup_venv.py $(VENV)
	@touch $@

run: $(STAMP) ## start an ensemble on this machine: make run [ARGS="server conf/zoo.cfg"]
	@$(PY) tools/run.py $(if $(ARGS),$(ARGS),up --data-dir .zabra/ensemble)

sim: $(STAMP) ## the simulator on the compiled modules: make sim ARGS="--seed 7"
	@PYTHONPATH="$$($(PY) tools/build_compiled.py)" $(PY) -m zabra sim $(ARGS)

test: $(STAMP) ## the whole suite, interpreted: make test [ARGS="tests/config -x"]
	ZABRA_PURE=1 $(PYTEST) -m "not campaign" $(ARGS)

campaign: $(STAMP) ## the reliability campaigns at the size of every CI run: seeds, mutants, chaos
	ZABRA_PURE=1 $(PYTEST) -m campaign $(ARGS)

test-fast: $(STAMP) ## the suite without what is marked slow or java
	ZABRA_PURE=1 $(PYTEST) -m "not slow and not java and not campaign" $(ARGS)

test-compiled: $(STAMP) ## the suite on the compiled modules
	PYTHONPATH="$$($(PY) tools/build_compiled.py)" ZABRA_COMPILED=require $(PYTEST) -m "not interpreted and not campaign" $(ARGS)

lint: $(STAMP) ## ruff
	$(PY) -m ruff check src tests tools $(ARGS)

types: $(STAMP) ## mypy --strict
	$(PY) -m mypy $(ARGS)

conformance: $(STAMP) ## other people's clients and their test suites, against Apache and against Zabra
	$(PY) -m tests.conformance.run $(ARGS)

mutants: $(STAMP) ## plant protocol bugs, one at a time, and see that the simulator finds them
	$(PY) tools/mutants.py $(ARGS)

rewrite: $(STAMP) ## regenerate everything generated: records, docs, outputs of scenarios
	$(PY) tools/jutegen.py
	$(PY) tools/docs.py
	$(PY) tools/rewrite_scenarios.py

bench: $(STAMP) ## Zabra and Apache ZooKeeper under the same load: make bench [ARGS="--help"]
	$(PY) -m bench.compare --compiled $(ARGS)

docs: $(STAMP) ## regenerate the generated pages of docs/
	$(PY) tools/docs.py $(ARGS)

build: $(STAMP) ## sdist, pure wheel and compiled wheel into dist/
	$(PY) -m build
	ZABRA_COMPILE=1 $(PY) -m build --wheel

compiled: $(STAMP) ## compile the pure layers with mypyc; prints the folder to put on PYTHONPATH
	@$(PY) tools/build_compiled.py $(ARGS)

clean: ## remove what the verbs made, .venv included
	rm -rf $(VENV) .zabra build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
