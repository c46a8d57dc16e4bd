# Every target makes the environment it needs: .venv, from the tested versions of constraints.txt.

PYTHON ?= python3
# `make env TORCH_INDEX=https://download.pytorch.org/whl/cpu` fetches PyTorch without CUDA.
TORCH_INDEX ?=
# Arguments for pytest, e.g. `make test ARGS="tests/io -k star"`.
ARGS ?=
# Processes that share the tests, file by file; `make test WORKERS=0` has them all in one.
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.env-stamp
PIP_OPTIONS := --disable-pip-version-check --constraint constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.DEFAULT_GOAL := help
.PHONY: help env test demo lint format docs bench clean

help: ## list the targets (the default)
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | \
		while IFS= read -r line; do printf '  make %-8s %s\n' "$${line%%:*}" "$${line##*## }"; done

env: $(STAMP) ## make .venv with the package and everything its tests need

$(STAMP): constraints.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "cesped needs Python 3.11 or later: make env PYTHON=/path/to/python3.11"; exit 1; }
	@# Debian's python3 comes without ensurepip, which python3-venv brings.
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y python3-venv; \
		else \
			echo "$(PYTHON) cannot make virtual environments: apt-get install python3-venv"; exit 1; \
		fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_OPTIONS) --editable '.[test]'
	@touch $@

test: env ## run all tests, with coverage; what they need and lack is skipped and said
	$(BIN)/python -m pytest --cov --cov-report=term \
		--numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

demo: env ## run the whole benchmark on the embedded entry; the report is demo/report.html
	$(BIN)/cesped demo --outdir demo

lint: env ## ruff (rules and format) and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: env ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: env ## run the examples of the code and the documents, and check every link between files
	$(BIN)/python -m pytest --doctest-glob='*.md' cesped README.md CONTRIBUTING.md \
		$(wildcard docs) tests/test_documents.py

bench: env ## run the speed scripts, each of which prints a ratio to its peer
	@for script in $(filter-out %_timer.py %/one_reconstruction.py %/on_a_gpu.py,$(wildcard benchmarks/speed/*.py)); do \
		echo "== $$script"; $(BIN)/python "$$script" || exit 1; \
	done

clean: ## remove the environment, caches and the demo's results
	rm -rf $(VENV) demo build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
