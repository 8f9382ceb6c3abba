# Needs Python 3.11 to 3.13 and make; everything else goes into .venv.
PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check

.PHONY: train test check docs clean

# The main job: MNIST, or the digits of scikit-learn where MNIST cannot be had.
# Overrides are passed on: make train ARGS="model.latent_dim=2"
train: .venv/installed
	.venv/bin/python -m vae_lightning.train data=mnist_or_digits $(ARGS)

# All tests, in as many processes as there are cores, up to four: most of them wait for a command.
# Those of real MNIST run where data/MNIST is filled.
test: .venv/installed-dev
	.venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

# What a change has to pass: format, lint, types, tests.
check: .venv/installed-dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(MAKE) test

# The site, in build/docs. Its reference is written from conf/ and the docstrings.
docs: .venv/installed-docs
	.venv/bin/python docs/reference.py
	.venv/bin/sphinx-build -q -W --keep-going -c docs . build/docs

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/installed-docs: .venv/installed-dev
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@
