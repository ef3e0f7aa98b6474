# The OAE testbed. `make help` lists the targets; each sets up what it needs first.
#
#   make fabric   TOPO=leaf_spine SPINES=2 LEAVES=4 HOSTS_PER_LEAF=2    a fabric with Mininet's command line
#   make fabric   NODES=container                                       the same, its hosts containers
#   make scenario SCENARIO=nic-crash-mid-swap ENGINE=vkernel SEED=7     one run, judged
#   make study    STUDY=jitter-leaf-spine                               a sweep with break points and a report
#   make remote-scenario INVENTORY=machines.ini SCENARIO=clean-live     on other machines, by Ansible
#   make test     PYTEST="-k link -x"                                   the tests

PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
TESTBED := $(BIN)/testbed

TOPO     ?= leaf_spine
SCENARIO ?= nic-crash-mid-swap
STUDY    ?= jitter-leaf-spine
RUN      ?= $(patsubst %/,%,$(dir $(shell ls -t runs/*/meta.json runs/*/trials.jsonl 2>/dev/null | head -n 1)))
PYTEST   ?=
ARGS     ?=

# Optional variables become options only where they are given.
engine_option  = $(if $(ENGINE),--engine $(ENGINE))
seed_option    = $(if $(SEED),--seed $(SEED))
nodes_option   = $(if $(NODES),--nodes $(NODES))
nodes_setting  = $(if $(NODES),--set nodes=$(NODES))
workers_option = $(if $(WORKERS),--workers $(WORKERS))
shape_options  = $(foreach pair,SPINES:spines LEAVES:leaves HOSTS_PER_LEAF:hosts_per_leaf HOSTS:hosts K:k,\
                 $(if $($(word 1,$(subst :, ,$(pair)))),--set $(word 2,$(subst :, ,$(pair)))=$($(word 1,$(subst :, ,$(pair))))))

export PYTHON VENV

.DEFAULT_GOAL := help
.PHONY: help setup lock wheel kernel image image-testbed fabric scenario study test bench soak lint report docs clean browser
.PHONY: provision play remote-fabric remote-scenario remote-study

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2} /^#   make/ {sub(/^# /, ""); print}' $(MAKEFILE_LIST)

setup: ## install what is missing: system packages (as root), the virtual environment
	@bash testbed/setup.sh

lock: ## write requirements.lock anew: the newest versions that pyproject.toml allows
	@bash testbed/setup.sh lock

compiled: setup ## compile sim's loop and what runs in it (optional; used for as long as the sources stay the same)
	@$(BIN)/python -m testbed.compiled

# Nobody has to know about it, and all works without it.
.PHONY: compiled-if-possible
compiled-if-possible: setup
	@$(BIN)/python -m testbed.compiled >/dev/null || echo "going on without the compiled build: sim runs, more slowly" >&2

wheel: setup ## pack all of it into one file for pip, and an archive of the sources, in dist/
	@rm -rf build && $(BIN)/python -c 'from setuptools import build_meta as b; b.build_sdist("dist"); b.build_wheel("dist")' >/dev/null && rm -rf build oae_testbed.egg-info && ls dist/*

kernel: setup ## build the virtual-time kernel, once, into the user's cache
	@$(TESTBED) kernel build >&2

image: setup ## make the image of nodes in containers, without a registry, and hand it to the engine that is there
	@$(TESTBED) image build

image-testbed: kernel ## make the image in which testbed itself runs, with its kernel inside: oae-testbed.tar
	@$(TESTBED) image testbed

# Everything but the kernel itself works without the kernel, so not having one must not stop anybody.
.PHONY: kernel-if-possible
kernel-if-possible: setup
	@$(TESTBED) kernel build >/dev/null || echo "going on without the virtual-time kernel: sim still runs" >&2

fabric: $(if $(filter container,$(NODES)),image,setup) ## bring a fabric up and open Mininet's command line: TOPO, SPINES, LEAVES, HOSTS_PER_LEAF, HOSTS, K, NODES
	@$(TESTBED) up $(TOPO) $(shape_options) $(nodes_option) $(ARGS)

scenario: $(if $(filter vkernel,$(ENGINE)),kernel,setup) $(if $(filter container,$(NODES)),image) ## run one scenario: SCENARIO, ENGINE, SEED, NODES
	@$(TESTBED) run $(SCENARIO) $(engine_option) $(seed_option) $(nodes_setting) $(ARGS)

study: kernel-if-possible compiled-if-possible ## run a study and write its report: STUDY, WORKERS
	@$(TESTBED) study $(STUDY) $(workers_option) $(ARGS)

# By Ansible, on the machines of an inventory (default: this one); what the playbooks take stands at their head.
play_on = $(TESTBED) play $(1) $(if $(INVENTORY),--inventory $(INVENTORY)) $(foreach pair,$(2),\
          $(if $($(word 1,$(subst :, ,$(pair)))),-e $(word 2,$(subst :, ,$(pair)))=$($(word 1,$(subst :, ,$(pair))))))

provision: setup ## make machines ready, by Ansible: INVENTORY
	@$(call play_on,provision) $(ARGS)

remote-fabric: setup ## launch, show or stop fabrics on machines, by Ansible: INVENTORY, DO, TOPO, NODES
	@$(call play_on,fabric,DO:do TOPO:topology NODES:nodes) $(ARGS)

remote-scenario: setup ## run a scenario on machines and bring it back, by Ansible: INVENTORY, SCENARIO, ENGINE
	@$(call play_on,scenario,SCENARIO:scenario ENGINE:engine) $(ARGS)

remote-study: setup ## run a study on machines and bring it back, by Ansible: INVENTORY, STUDY
	@$(call play_on,study,STUDY:study) $(ARGS)

play: setup ## a playbook of yours in the nodes of a running fabric: PLAYBOOK, FABRIC
	@$(TESTBED) play $(PLAYBOOK) $(if $(FABRIC),--fabric $(FABRIC)) $(ARGS)

# Tests start some hundreds of Pythons: bytecode is kept, whatever the environment says.
test: kernel-if-possible ## run all tests, by a worker more than there are processors: PYTEST="options" (-n0: all in one process)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto $(PYTEST)

bench: kernel-if-possible compiled-if-possible ## measure against peers, in the same run
	@for bench in benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

soak: setup ## 100,000 random schedules with faults on each engine; goes on where it stopped: ENGINES, MINUTES
	@$(BIN)/python benchmarks/soak.py $(ENGINES) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

AXE := 4.14.1
browser: ## fetch axe-core, by which tests look for what keeps people from using a page (needs npm)
	@npm install --prefix .browser --no-save --ignore-scripts --no-audit --no-fund axe-core@$(AXE) >/dev/null && ls .browser/node_modules/axe-core/axe.min.js

lint: setup ## ruff, mypy, import directions
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

report: setup ## write the HTML report of a run or study again: RUN=runs/... (default: the latest)
	@$(if $(RUN),$(TESTBED) report $(RUN) $(ARGS),echo "runs/ holds no run and no study yet; name one with RUN=..." >&2; exit 2)

docs: setup ## build the documentation into site/, offline (ARGS=--serve: and show it on loopback)
	@$(BIN)/python -m testbed.reference.site $(ARGS)

clean: ## remove what runs left behind, and build products; runs/ stays
	@if [ -x $(TESTBED) ]; then $(TESTBED) clean; fi
	@rm -rf .mypy_cache .ruff_cache site .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
