# make figures [ARGS="--only banerjee2024.fig3"]   every figure, the audit and the report, into out/
# make test    [ARGS="-k shrinkage"]               the test suite, without what takes long
# make test-all                                  the whole suite, with long trainings
# make machines [ARGS='-m "machine and not slow"']  all tests of PyTorch's numbers as on two processors
# make docs                                      the documentation site, into out/site
# make lint, make bench, make clean
# Each creates $(VENV) and installs what it needs first. PYTHON=python3.12 picks an interpreter.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: figures test test-all machines docs lint bench clean

figures: $(VENV)/.figures
	$(BIN)/python -m figures $(ARGS)

test: CHOSEN = -m "not slow"
test test-all: export OMP_NUM_THREADS = 1
test test-all: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(CHOSEN) $(ARGS)

# This processor, and one without vector instructions, whose matrix products add in another order;
# strings hash, and tests come, in another order each time. `theory` has neither PyTorch nor MKL.
NEURAL = tests/bandits tests/llm_bridge tests/figures tests/benchmarks
MACHINES = $(BIN)/python -m pytest $(NEURAL) -n auto --dist loadfile --no-loadscope-reorder $(ARGS)
machines: export OMP_NUM_THREADS = 1
machines: $(VENV)/.test
	PYTHONHASHSEED=1 $(MACHINES) --order 1
	PYTHONHASHSEED=2 ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE $(MACHINES) --order 2

# The theme says at every start that it has fixes until May 2027; its successor, Zensical, reads mkdocs.yml.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --quiet --strict $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m pytest benchmarks --benchmark-enable $(ARGS)

clean:
	rm -rf $(VENV) out

$(VENV)/.figures: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (PyTorch and transformers among it) ..."
	$(PIP) -e '.[figures,llm]'
	@touch $@

$(VENV)/.test: $(VENV)/.figures
	@echo "Installing what the tests need ..."
	$(PIP) -e '.[all,test]'
	@touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing what the site needs ..."
	$(PIP) -e '.[docs]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer, or run make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $(PYTHON) is `$(PYTHON) -V`: try make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "The venv module is missing: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
