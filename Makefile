# Everything here stays in this folder (.venv, .cache, caches of the tools), apart from pip's own cache.
# A fresh machine needs Python 3.10 or newer and make.

PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := .venv/.ready
LOCKS := requirements/dev.txt requirements/runner.txt
LOCK := $(BIN)/uv --no-config pip compile --quiet --upgrade --universal --python-version 3.10 --no-python-downloads \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock"
EXACT := */names.py,*/references.py,*/runner/*

export UV_CACHE_DIR := .cache/uv
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench bundle benchimage benchload benchscan image image-test lock clean

help: ## Show these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

setup: $(READY) ## Make .venv from the locks, again only when they change

$(READY): $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3 setup" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements/runner.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Run a workflow that uses the action on local servers, and show what it leaves
	$(BIN)/python demo/run.py

test: setup ## Run every test, with the coverage that CONTRIBUTING.md asks for
	.ci/packages
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup --cov --cov-report=
	$(BIN)/coverage report
	$(BIN)/coverage report --fail-under=100 --include='$(EXACT)'

lint: setup ## Check style, types, workflows and shell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck -pyflakes=
	$(BIN)/zizmor --offline --quiet --pedantic .github action.yml cleanup docker
	$(BIN)/shellcheck .ci/run .ci/packages .ci/try-image

bench: setup ## Measure whole runs, and other actions beside them where their checkouts are named
	PYTHONPATH=tests $(BIN)/python -m bench.run $(CASES)

bundle: setup ## Build what a release has beside launch.py, build/bundle, with its archive; print their digests
	$(BIN)/python -m release.bundle build/bundle

benchload: setup ## Measure what the library costs an application
	PYTHONPATH=tests $(BIN)/python -m bench.load

benchscan: setup ## Search 5 GB (or SIZE, in GB) for 500 secrets: no miss, no false hit, how fast
	PYTHONPATH=tests $(BIN)/python -m bench.scan --gigabytes $(or $(SIZE),5)

benchimage: setup ## Measure how soon the image asks for what it needs (as root, on Debian)
	PYTHONPATH=tests $(BIN)/python -m bench.image

image: bundle ## Make build/image, the folder that the Dockerfile's image is built of
	$(BIN)/python -m release.image build/image --bundle build/bundle

image-test: setup ## Build the image without Docker, and run it as the runner does (as root, on Debian)
	.ci/packages
	IMIP_IMAGE=1 $(BIN)/python -m pytest tests/image

lock: setup ## Resolve the locks anew: newest versions, one version of a package in all of them
	$(LOCK) requirements/dev.in --output-file requirements/dev.txt
	$(LOCK) --constraint requirements/dev.txt requirements/aws.in --output-file requirements/aws.txt
	$(LOCK) --constraint requirements/dev.txt requirements/azure.in --output-file requirements/azure.txt
	$(LOCK) --constraint requirements/dev.txt requirements/detect.in --output-file requirements/detect.txt
	$(LOCK) --constraint requirements/dev.txt requirements/scan.in --output-file requirements/scan.txt
	$(LOCK) --constraint requirements/dev.txt requirements/vault.in --output-file requirements/vault.txt
	$(LOCK) --constraint requirements/dev.txt requirements/github.in --output-file requirements/github.txt
	$(LOCK) --no-deps requirements/runner.in --output-file requirements/runner.txt

clean: ## Remove everything that these commands made
	rm -rf .venv .cache .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
