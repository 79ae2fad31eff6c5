# make serve, make test, make bench: everything they need is made in .venv on first use.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: serve test bench lint types unit clean

serve: $(VENV)/serve
	@$(BIN)/es-goals serve --open

test: lint types unit

bench: $(VENV)/bench
	@$(BIN)/python -m tests.bench

lint: $(VENV)/test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/test
	@$(BIN)/mypy

# How much of the code is run is counted in CI only: it takes half as long again.
# Each service that is started would compile all modules anew where no bytecode is kept.
unit: $(VENV)/test
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist worksteal $(if $(CI),--cov)

# A client that is generated from /openapi.json; in an environment of its own, since it shares nothing with ours.
$(VENV)/client: $(VENV)/test
	@$(PYTHON) -m venv $(VENV)/client
	@$(VENV)/client/bin/pip install --quiet --disable-pip-version-check \
		'openapi-spec-validator>=0.7,<1' 'openapi-python-client>=0.24,<1'

clean:
	rm -rf $(VENV)

$(VENV)/serve: pyproject.toml hatch_build.py package.json package-lock.json
	@echo "Making $(VENV), once: it takes a minute or two"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test: $(VENV)/serve
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/bench: $(VENV)/test
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@
