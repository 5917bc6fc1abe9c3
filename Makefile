# make demo: saliency maps of real photographs.  make test: the tests.  make lint: style, types, imports.
# make docs: the site, in site/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo docs notebooks test lint format clean

demo: $(VENV)/demo.done
	@mkdir -p demo-output
	$(BIN)/surefoot explain chelsea coffee eagle --out demo-output/maps.png
	@echo "The maps are in demo-output/maps.png, how they were made in demo-output/maps.yaml."

# Each worker of pytest has one core; threads of its own would only get in the others' way.
test: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadgroup

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell docs src pages examples *.md
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Warnings are errors, links and anchors are checked: mkdocs.yml. The leaderboard is what cards say.
docs: $(VENV)/dev.done
	$(BIN)/python -m studies.leaderboard page --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "The site is site/index.html."

# Run anew, in place; the site shows what they were last run with.
notebooks: $(VENV)/dev.done
	$(BIN)/python examples/notebooks.py

format: $(VENV)/dev.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo-output site .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The code is installed in place, so only new requirements make these run again. foolbox brings a
# labelled photograph; the packages that it asks for are not needed for that. Without build
# isolation, the tools that build the package are pinned like the rest.
$(VENV)/demo.done: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation --editable ".[demo]"
	$(PIP) --no-deps foolbox
	@touch $@

$(VENV)/dev.done: $(VENV)/demo.done
	$(PIP) --no-build-isolation --editable ".[dev]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed, for example: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)
