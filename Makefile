# The course in two commands: `make book` builds the site, `make test` runs every check.
PYTHON ?= python3
PORT ?= 8000
VENV = .venv
TRAINING = .venv-training
SPHINX = .venv-sphinx
RUN = $(VENV)/bin/python
PIP = bin/python -m pip --disable-pip-version-check --no-input install --quiet
# uv installs the same pinned packages as pip, with the same hashes, in a tenth of the time.
install = $(1)/$(PIP) uv==0.13.9 && $(1)/bin/python -m uv pip install --quiet --python $(1)/bin/python
ONE_THREAD = NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" --quiet

# Without bytecode every process of the tests and the sandbox would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help book sphinx serve test training test-training links labs class lock clean distclean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

book: $(VENV)/.book vendored/mathjax ## set up, fetch the data, execute and build the site
	@$(RUN) -m etlab.data
	@$(RUN) tools/build_book.py

sphinx: book $(SPHINX)/.made ## build the same pages on plain Sphinx, in an environment of its own (.venv-sphinx)
	@$(RUN) tools/build_sphinx.py $(CURDIR)/$(SPHINX)/bin/python

serve: $(VENV)/.book ## serve the built site to this machine's browser (PORT=8000)
	@$(RUN) tools/serve.py $(PORT)

# One thread a worker: there are as many workers as cores, and threads that wait for a core spin. Tests stay in their
# order, so that files share what they set up; a worker that has finished takes over from the end of another's.
test: $(VENV)/.dev ## set up, build the site and run every check
	@$(RUN) tools/browser.py --install
	@$(RUN) tools/sandbox.py --install
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(VENV)/bin/lint-imports --no-logo
	@$(MAKE) --no-print-directory book
	$(ONE_THREAD) $(RUN) -m pytest -n auto --dist worksteal --durations 10

training: $(TRAINING)/.made ## set up what training networks needs (.venv-training, with PyTorch)
	@echo "ready: $(TRAINING)/bin/python -m training.train --help"

# A test that skips for want of PyTorch would pass, so PyTorch is asked for first. Two at a time: each takes one core.
test-training: $(TRAINING)/.made ## set up the same, train at a small size and check what is exported
	@$(TRAINING)/bin/python -c "import onnxscript, torch"
	@$(TRAINING)/bin/python -m pytest tests/test_networks.py & networks=$$!; \
	$(TRAINING)/bin/python -m pytest tests/test_training.py tests/test_refinement.py; rest=$$?; \
	wait $$networks && exit $$rest

links: ## list the built site's links to other hosts, and say which do not answer
	@$(RUN) tools/outside_links.py

labs: $(VENV)/.dev ## make the students' labs from the instructor's
	@$(RUN) tools/release_labs.py

class: $(VENV)/.dev ## make a class of three in _build/class: hand out, collect, grade, feedback, totals, blind board
	@$(RUN) tools/sandbox.py --install
	@$(RUN) -m etlab.data
	@$(RUN) tools/demo_class.py _build/class

lock: ## pin the newest allowed versions of everything (needs uv)
	$(LOCK) --upgrade --extra book --extra learned --output-file requirements.txt
	$(LOCK) --upgrade --extra dev --extra grading --extra scale --constraint requirements.txt --output-file requirements-dev.txt
	$(LOCK) --upgrade --extra training --extra dev --constraint requirements.txt --constraint requirements-dev.txt \
		--excludes training/torch.txt --output-file requirements-training.txt
	$(subst pyproject.toml,pyproject.toml tools/sphinx.in,$(LOCK)) --upgrade --output-file requirements-sphinx.txt

clean: ## remove what was built
	rm -rf _build vendored

distclean: clean ## remove what was built and the environments
	rm -rf $(VENV) $(TRAINING) $(SPHINX) etlab.egg-info

# Stamps: each says that the step before it was done with the files it names.
$(VENV)/.made: tools/check_python.sh
	@sh tools/check_python.sh "$(PYTHON)"
	@test -x $(RUN) || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.book: $(VENV)/.made requirements.txt pyproject.toml
	@echo "installing the pinned packages of the book into $(VENV) (a minute or two)"
	@$(call install,$(VENV)) -r requirements.txt
	@$(call install,$(VENV)) --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.book requirements-dev.txt
	@echo "installing what the checks and the grading need"
	@$(call install,$(VENV)) -r requirements-dev.txt
	@touch $@

# PyTorch stays out of .venv: nothing but training needs it, and it is large. pip installs it, whose settings say from
# where: a build for processors only, or for the CUDA that is there.
$(TRAINING)/.made: requirements-training.txt training/torch.txt pyproject.toml
	@sh tools/check_python.sh "$(PYTHON)"
	@test -x $(TRAINING)/bin/python || $(PYTHON) -m venv --clear $(TRAINING)
	@echo "installing what training needs into $(TRAINING) (a minute or two, longer if PyTorch brings CUDA)"
	@{ $(call install,$(TRAINING)) -r requirements-training.txt && $(TRAINING)/$(PIP) -r training/torch.txt \
		&& $(call install,$(TRAINING)) --no-deps --editable .; } \
		|| { echo "error: PyTorch and what goes with it could not be installed (the reason stands above); it needs the network once" >&2; exit 1; }
	@touch $@

$(SPHINX)/.made: requirements-sphinx.txt
	@test -x $(SPHINX)/bin/python || $(PYTHON) -m venv --clear $(SPHINX)
	@$(call install,$(SPHINX)) -r requirements-sphinx.txt
	@touch $@

vendored/mathjax: $(VENV)/.book tools/vendor_mathjax.py
	@$(RUN) tools/vendor_mathjax.py
	@touch $@
