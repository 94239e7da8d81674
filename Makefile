# `make demo` and `make test` set up everything they need by themselves.
PYTHON ?= python3
# Has PyTorch; needs nothing of the project's own .venv.
GPU_PYTHON ?= python3
BIN := .venv/bin
# Where it is set every process that is started compiles robmon, and every process of pytest all tests, anew.
unexport PYTHONDONTWRITEBYTECODE
STAMP := .venv/.installed
DEMO_STAMP := .venv/.installed-demo
# Of the image. `cuda` is left out: it is several gigabytes of torch.
VARIANTS ?= remote cpu

.PHONY: help venv tools test test-long image lint format campaign campaign-red demo observe docs docs-site benchmarks load soak neighbour gpu gpu-wheels coverage-table fuzz clean

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

venv: $(STAMP)  ## Make .venv with everything, pinned

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python tools/install.py dev
	@touch $(STAMP)

# What `make venv` has installed is more than the demo needs.
$(DEMO_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@[ $(STAMP) -nt pyproject.toml -a $(STAMP) -nt constraints.txt ] || $(BIN)/python tools/install.py demo
	@touch $(DEMO_STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "robmon needs Python 3.11 or newer; run: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

tools: venv  ## Install the programs that the tests run: Prometheus, Alertmanager, nginx, helm, kubectl, Chromium, Grafana's packages
	@sh tools/install_debian_packages.sh
	@$(BIN)/python tools/install_kubernetes_tools.py
	@$(BIN)/python tools/install_confseq.py
	@$(BIN)/python tools/install_grafana_packages.py

lint: venv  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: tools lint  ## Check everything and run all tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: tools  ## Run the tests that `make test` leaves out because they take minutes each
	$(BIN)/python -m pytest -m long -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

image: tools  ## Build the image's VARIANTS and run them as a cluster would; needs root, Debian and some minutes
	@sh tools/install_debian_packages.sh image
	$(BIN)/python -m pytest -m image $(VARIANTS:%=tests/image/test_%.py) $(ARGS)

campaign: tools  ## Try all faults on real daemons, and write docs/evidence/campaign.md: what they did
	ROBMON_CAMPAIGN=docs/evidence/campaign.md $(BIN)/python -m pytest tests/campaign -p no:xdist $(ARGS)

campaign-red: tools  ## Run the scenarios of faults of commit 8576890 on that commit: each must fail there
	$(BIN)/python -m tests.campaign.other_commit docs/evidence/campaign-red.md $(ARGS)

demo: $(DEMO_STAMP)  ## Watch a fragile release being caught; KEEP=1 keeps it running
	$(BIN)/robmon demo $(if $(KEEP),--keep) $(ARGS)

observe: venv  ## Watch the same with Prometheus, Alertmanager, the alert at a webhook and the dashboards' queries
	@sh tools/install_debian_packages.sh
	$(BIN)/python -m tools.observe

docs: venv  ## Write the generated parts of the manual and of the chart
	$(BIN)/python tools/reference.py
	$(BIN)/python helm/sync.py

docs-site: venv  ## Build the manual as a site, .site/site; a warning is an error
	$(BIN)/python tools/build_site.py .site

benchmarks: venv  ## Measure speed, memory and what the statistics promise
	@$(BIN)/python tools/install_confseq.py
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[benchmarks]' || echo "river is left out"
	@for program in $(filter-out %/soak.py %/neighbour.py,$(wildcard tests/benchmarks/[a-z]*.py)); do echo "== $$program"; $(BIN)/python $$program || exit 1; done

load: venv  ## Load a daemon for 10 minutes, then send it 1,000,000 garbage requests and labels; needs wrk and two idle cores
	$(BIN)/python tests/benchmarks/receiver.py --seconds 300
	$(BIN)/python tests/benchmarks/garbage.py --requests 1000000 --labels 1000000

soak: venv  ## Watch a daemon for 20 minutes under traffic, labels and new versions: memory, losses, answers of /metrics
	$(BIN)/python tests/benchmarks/soak.py $(ARGS)

neighbour: venv  ## Measure what a model server feels of robmon: absent, idle, assessing each second (about 15 minutes)
	$(BIN)/python tests/benchmarks/neighbour.py $(ARGS)

gpu:  ## Try and measure robmon on a GPU, with GPU_PYTHON (python3), which has PyTorch; slower on a CPU
	$(GPU_PYTHON) -m tests.gpu $(ARGS)

gpu-wheels:  ## Download what `make gpu` imports beside PyTorch, for a machine without network, into .gpu-wheels
	$(PYTHON) -m tests.gpu.wheels

coverage-table: venv  ## Measure how often every bound holds, and write it into the manual (some minutes)
	@$(BIN)/python tools/install_confseq.py
	$(BIN)/python tests/benchmarks/coverage.py --write docs/evidence/coverage.json
	$(BIN)/python tools/reference.py

fuzz: venv  ## Give 200,000 hostile inputs to all that reads strangers' bytes, then measure its time against their size
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -W ignore -m tests.fuzz $(ARGS)
	$(BIN)/python -W ignore -m tests.growth

clean:  ## Remove what was made
	rm -rf .venv .tools .site .mypy_cache .ruff_cache .pytest_cache .hypothesis
