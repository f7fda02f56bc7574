# Every target makes what it needs: .venv holds tox, and tox makes an environment for each job.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TOX := .venv/bin/tox run

.PHONY: quickstart test lint docs bench crash soak format clean

quickstart: .venv/bin/tox  ## Run the main job: train, store, read back in a second process, share by a server.
	$(TOX) -qq -e quickstart

test: .venv/bin/tox  ## Run all tests, and the snippets of the docs, against installed wheels.
	$(TOX) -qq -e py

lint: .venv/bin/tox  ## Check style, types and the direction of imports.
	$(TOX) -q -e lint,types,imports

docs: .venv/bin/tox  ## Build the docs into site/; a warning is an error.
	$(TOX) -q -e docs

bench: .venv/bin/tox  ## Measure PaDRe and its peers side by side.
	$(TOX) -q -e bench

crash: .venv/bin/tox  ## Kill writers 10,000 times and look for what was lost.
	$(TOX) -qq -e crash

soak: .venv/bin/tox  ## Sync through 1,000,000 steps of bad luck and 5,000 kills.
	$(TOX) -qq -e soak

format: .venv/bin/tox  ## Put the code into the project's style.
	$(TOX) -q -e format

clean:
	rm -rf .venv .tox build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/bin/tox:
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet "tox>=4.30,<5" "tox-uv>=1.28,<2"
