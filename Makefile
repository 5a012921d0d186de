# Needs Python 3.11 or newer, make and nothing else; everything is installed into .venv, once.
# A second run starts at once: each set of packages leaves a stamp that only a changed pyproject.toml outdates.

.DEFAULT_GOAL := help
.PHONY: help demo test test-gpu test-docs test-integrations test-wheel grid kernels wheel bench docs notebooks
.PHONY: coverage-zh clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
REPORT := out/report.html
STUBS := src/lossary/__init__.pyi src/lossary/nn/catalogue.pyi
MINUTES ?= 10

RECENT := import sys; sys.exit(sys.version_info < (3, 11))
# The first of the usual names that is recent enough; `make PYTHON=...` says it oneself.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if $$name -c '$(RECENT)' >/dev/null 2>&1; then echo $$name; break; fi; done)

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.ready-app  ## train a few losses on handwritten digits, and write a report to read in a browser
	@mkdir -p $(dir $(REPORT))
	$(BIN)/lossary compare digits --report $(REPORT)
	@echo "The report is in $(REPORT): open it in a browser."

test: $(VENV)/.ready-test $(STUBS)  ## formatting, lint, types, tests and doctests
	$(call step,ruff format,ruff format --check --quiet .)
	$(call step,ruff check,ruff check --quiet .)
	$(call step,mypy,mypy --no-error-summary)
	$(call step,pytest,pytest -n 2 --quiet)

test-wheel: $(VENV)/.ready-test  ## build the wheel, install it into fresh environments, and use it there
	$(call step,pytest -m wheel,pytest -m wheel --quiet tests/test_wheel.py)

test-gpu: $(VENV)/.ready-gpu  ## run the kernels for GPUs in Triton's interpreter, and compile them; no GPU is needed
	TRITON_INTERPRET=1 $(BIN)/pytest -m gpu --quiet tests/gpu
	TRITON_INTERPRET=0 $(BIN)/pytest -m gpu --quiet tests/gpu

test-docs: $(VENV)/.ready-docs $(STUBS)  ## build the site and open every page in Chromium, where it is installed
	$(call step,pytest -m browser,pytest -m browser --quiet tests/test_site.py tests/browser)

test-integrations: $(VENV)/.ready-integrations  ## train with the boosters and scikit-learn themselves
	$(call step,pytest -m integrations,pytest -m integrations --quiet tests/integrations)

kernels: $(VENV)/.ready-test  ## compile the kernels of common calls into the package, for a wheel; about ten minutes
	$(BIN)/python docs/make_kernels.py

wheel: kernels  ## build wheel and source archive into dist
	$(BIN)/python -m build --sdist --wheel --outdir dist .

grid: $(VENV)/.ready-test  ## every loss and drop-in crossed with whatever a call may look like, drawn anew: make grid MINUTES=60
	PYTHONPATH=tests $(BIN)/python -m grid --minutes $(MINUTES)

bench: $(VENV)/.ready-bench  ## measure against PyTorch, JAX, NumPy and scikit-learn; about 35 minutes, nothing else running
	$(BIN)/python -m benchmarks --out benchmarks/results

docs: $(VENV)/.ready-docs $(STUBS)  ## build the site, English and Chinese, into out/site
	$(BIN)/python docs/make_site.py

notebooks: $(VENV)/.ready-test  ## the tutorials as executed notebooks, in English and Chinese, below build/notebooks
	$(BIN)/python docs/make_notebooks.py build/notebooks

coverage-zh: $(VENV)/.ready-test  ## list what has no Chinese words yet; English stands in its place
	@$(BIN)/python docs/chinese_coverage.py

clean:  ## remove reports, builds and caches; .venv stays
	rm -rf out build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests docs benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

define step
@echo "== $(1)"
@$(BIN)/$(2) || { echo "make test: $(1) failed (see above)" >&2; exit 1; }
endef

# The types of the losses, made from the records for mypy and the tests; the build of a wheel makes its own.
$(STUBS): docs/make_stubs.py $(shell find src/lossary -name '*.py') | $(VENV)/.ready-test
	@$(BIN)/python docs/make_stubs.py

# --- the environment ----------------------------------------------------------------------------------------------

# An interrupted installation leaves no stamp and is taken up again; a broken environment is made afresh.
$(VENV)/.ready-pip:
	@test -n "$(PYTHON)" || { echo "Lossary needs Python 3.11 or newer, and none was found." \
		"Install one, or say where it is: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c '$(RECENT)' 2>/dev/null || { echo "Lossary needs Python 3.11 or newer; $(PYTHON) is" \
		"$$($(PYTHON) --version 2>/dev/null || echo no Python). Choose another: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Making a Python environment in $(VENV) ..."
	@{ $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip --version; } >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --upgrade pip
	@touch $@

$(VENV)/.ready-app: pyproject.toml | $(VENV)/.ready-pip
	@echo "Installing the packages of the app into $(VENV), once ..."
	@$(PIP) -e '.[app]'
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready-test
	@echo "Installing what is measured against into $(VENV), once ..."
	@$(PIP) --group bench
	@touch $@

$(VENV)/.ready-gpu: $(VENV)/.ready-test
	@echo "Installing Triton into $(VENV), once ..."
	@$(PIP) --group gpu
	@touch $@

$(VENV)/.ready-docs: $(VENV)/.ready-test
	@echo "Installing what the site is built with into $(VENV), once ..."
	@$(PIP) --group docs
	@touch $@

$(VENV)/.ready-integrations: $(VENV)/.ready-test
	@echo "Installing the boosters into $(VENV), once ..."
	@$(PIP) --group integrations
	@touch $@

$(VENV)/.ready-test: pyproject.toml | $(VENV)/.ready-pip
	@echo "Installing the packages of the app and of the tests into $(VENV), once (PyTorch is large) ..."
	@$(PIP) --group test -e '.[app]'
	@touch $@ $(VENV)/.ready-app
