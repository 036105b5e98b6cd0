# make train           the whole job, from source files to an evaluated model
# make test            the tests but the slowest, on two cores
# make check           the tests that do not start TensorFlow, including linters and import contracts
# make test-thorough   all tests, including those that take minutes, with many more examples for each property
#
# make train DATASET=synthetic/lines       the same for lines of text; MODEL is a recipe then
# make train DATASET=emnist/balanced SOURCE=<folder or gs:// of IDX gzip files> MODEL=cnn EPOCHS=20

PYTHON  ?= python3
DATASET ?= synthetic/byclass
LINES   := $(filter %/lines,$(DATASET))
SOURCE  ?= synthetic
DATA    ?= data
MODEL   ?= $(if $(LINES),lines_fast,cnn)
EPOCHS  ?= $(if $(LINES),4,10)
RUN     ?= runs/$(subst /,-,$(DATASET))-$(MODEL)-$(EPOCHS)
# cpu or gpu: which TensorFlow to install.
DEVICE  ?= $(if $(shell command -v nvidia-smi),gpu,cpu)

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --dist loadgroup
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: train test test-thorough check clean

train: .venv/installed-$(DEVICE)
	$(BIN)/python -m preprocess --dataset $(DATASET) --source '$(SOURCE)' --data-dir '$(DATA)'
	$(BIN)/python -m trainer train --data '$(DATA)/$(DATASET)/1.0.0' --run-dir '$(RUN)' $(if $(LINES),--config,--model) $(MODEL) --epochs $(EPOCHS)

test: .venv/installed-$(DEVICE) .venv/installed-dev
	$(PYTEST) -n 2 -m 'not thorough'

test-thorough: .venv/installed-$(DEVICE) .venv/installed-dev
	$(PYTEST) -n 2 --hypothesis-profile thorough

# Three at a time: much of these tests' time is waiting.
check: .venv/installed-$(DEVICE) .venv/installed-dev
	$(PYTEST) -n 3 -m 'not tensorflow and not thorough'

clean:
	rm -rf .venv build dist *.egg-info

.venv/bin/pip:
	$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(None if ok else "Python 3.11 to 3.13 is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/installed-dev: setup.py constraints.txt | .venv/bin/pip
	$(INSTALL) --editable '.[dev]'
	touch $@

.venv/installed-%: setup.py constraints.txt | .venv/bin/pip
	@test ! -e .venv/installed-$(if $(filter gpu,$*),cpu,gpu) || { echo 'The other TensorFlow is installed in .venv; run make clean first.'; exit 2; }
	@echo 'Installing into .venv; this takes a few minutes the first time.'
	$(INSTALL) --editable '.[preprocess,$*,deploy]'
	touch $@
