# The commands of this project. Python >= 3.11, make and a package registry are all they need.
PYTHON ?= python3
VENV := .venv
CLIENT := clients/python
BIN := $(VENV)/bin
BENCH ?= 1
UV := $(shell command -v uv 2>/dev/null)
ifdef UV
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install --quiet --quiet --no-compile --disable-pip-version-check
endif
LOCKED := $(INSTALL) --require-hashes --requirement
PROJECT := $(INSTALL) --no-deps --no-build-isolation --editable . --editable $(CLIENT)
COMPILE := $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-header --no-annotate

# Compiled modules are kept: without them each of our programs reads its sources anew for seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up down drill test coverage bench lint mutants client-typescript lock sbom pin-images clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-25s %s\n", $$1, $$2}'

demo: $(VENV)/.installed ## Watch real workflows bill real rows, from an empty folder, in minutes
	@$(BIN)/billing demo

up: $(VENV)/.installed ## Start the stack and keep it running; data in ./.data
	@$(BIN)/billing up

down: $(VENV)/.installed ## Stop the stack of ./.data
	@$(BIN)/billing down

drill: $(VENV)/.installed-dev ## Plant one incident after the other; each must be found and mended
	@$(BIN)/python -m tests.drill $(ARGS)

test: $(VENV)/.installed-dev ## Run the tests on stacks of their own
	@$(BIN)/python -m $(if $(ARGS),pytest $(ARGS),tests.gate)

coverage: $(VENV)/.installed-dev ## Show which branches the tests run: build/coverage/index.html
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/coverage run -m $(if $(ARGS),pytest $(ARGS),tests.gate)
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage html --quiet && $(BIN)/coverage report | tail -n 3

bench: $(VENV)/.installed-dev ## Measure; BENCH=1, 2, 3 or 5 is the group
	@$(BIN)/python -m benchmarks $(BENCH)

mutants: $(VENV)/.installed-dev ## Break the code on purpose; every break must turn a test red
	@$(BIN)/python -m tests.mutants

client-typescript: $(VENV)/.installed-dev ## Make the TypeScript client anew; needs node and npm
	@$(BIN)/python -m tests.typescript_client

lint: $(VENV)/.installed-dev ## Style, types, import rules, SQL, compose file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.sql_lint
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

lock: $(BIN)/python ## Compile the lock files anew
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(COMPILE) requirements.in -o requirements.lock
	@$(COMPILE) -c requirements.lock requirements.in requirements-stack.in -o requirements-stack.lock
	@$(COMPILE) -c requirements.lock requirements-otel.in -o requirements-otel.lock
	@$(COMPILE) -c requirements.lock requirements-months.in -o requirements-months.lock
	@$(COMPILE) -c requirements.lock -c requirements-stack.lock -c requirements-otel.lock \
	  -c requirements-months.lock requirements-dev.in -o requirements-dev.lock

sbom: $(VENV)/.installed ## Name every package of the production image: build/sbom.json (CycloneDX)
	@$(BIN)/python -m devstack.sbom

pin-images: ## Print the containers' images by digest, as lines for .env
	@deploy/pin-images.sh

clean: ## Remove what was installed and built; data in ./.data stays
	rm -rf $(VENV) $(VENV)-* build dist clients/typescript/dist clients/typescript/node_modules *.egg-info $(CLIENT)/src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.data/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed: try make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv module" >&2; exit 1; }

$(VENV)/.installed: requirements-stack.lock pyproject.toml $(wildcard $(CLIENT)/pyproject.toml) | $(BIN)/python
	@echo "installing from requirements-stack.lock (about half a minute, once)"
	@$(LOCKED) requirements-stack.lock
	@$(PROJECT)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml $(wildcard $(CLIENT)/pyproject.toml) | $(BIN)/python
	@echo "installing from requirements-dev.lock (about half a minute, once)"
	@$(LOCKED) requirements-dev.lock
	@$(PROJECT)
	@touch $(VENV)/.installed $@
