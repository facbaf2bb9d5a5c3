# `make` alone tells what there is. Only make and Python 3.11 or newer are assumed.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Our folder `triton/` would shadow NVIDIA's package if the working folder were on Python's path.
export PYTHONSAFEPATH := 1
export SAM_CLI_TELEMETRY := 0

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := torch==2.13.0
# uv does not read pip's own setting for local wheels. Without any: the builds without CUDA, from where
# PyTorch keeps them. For those with it: make setup TORCH_FROM=
TORCH_FROM ?= $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)",--index https://download.pytorch.org/whl/cpu)
STACK := $(BIN)/python scripts/stack/main.py

TEXT ?= Welcome in. Take your time, and tell me what the evening is for.
PERSONALITY ?= marcel
OUT ?= hello.wav
PART ?=

##@ Hear it

.PHONY: speak
# Values reach the program in its environment, unread by make or a shell: quotes, $, ! and ` survive.
unexport TEXT PERSONALITY OUT QUALITY PROVIDER SPEED FORMAT
speak: export VOICE_TEXT = $(value TEXT)
speak: export VOICE_PERSONALITY = $(value PERSONALITY)
speak: export VOICE_OUT = $(value OUT)
speak: export VOICE_QUALITY = $(value QUALITY)
speak: export VOICE_PROVIDER = $(value PROVIDER)
speak: export VOICE_SPEED = $(value SPEED)
speak: export VOICE_FORMAT = $(value FORMAT)
speak: $(READY) ## Speak TEXT= as PERSONALITY= into OUT=; also QUALITY= PROVIDER= SPEED= FORMAT=
	@$(STACK) speak

##@ The local stack

.PHONY: up down status logs start stop token redrive
up: $(READY) ## Start everything: Triton, the local AWS, Redis, the API
	@$(STACK) up
down: $(READY) ## Stop everything; data stays
	@$(STACK) down
status: $(READY) ## What runs, and whether it can speak
	@$(STACK) status
logs: $(READY) ## The end of the logs, of PART= or of all
	@$(STACK) logs $(PART)
redrive: $(READY) ## Bring dead letters back to their queues, here or of STACK_NAME= on AWS
	@$(BIN)/python scripts/redrive.py $(if $(STACK_NAME),--stack "$(STACK_NAME)")
start stop: $(READY) ## Start or stop PART= alone (triton, aws, redis, vendors, gateway)
	@$(STACK) $@ $(PART)

token: $(READY) ## A person's token for this stack: ROLE=viewer|editor|admin TENANT= HOURS=
	@$(STACK) token $(if $(ROLE),--role "$(ROLE)") $(if $(TENANT),--tenant "$(TENANT)") $(if $(HOURS),--hours "$(HOURS)")

##@ Work on it

.PHONY: setup check fix test template requirements bench bench-engines parity bench-router faults soak fire sample-report
setup: $(READY) ## Make .venv with everything
	@echo "ready: $(BIN)"
check: $(READY) ## Format, lint and types
	@$(BIN)/ruff format --check --quiet . || { echo "make fix formats"; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy
fix: $(READY) ## Format, and mend what can be mended by machine
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
test: $(READY) ## Every test, on real servers on this machine
	@$(BIN)/python -m pytest
template: $(READY) ## Check template.yaml in all ways, and build it
	@$(BIN)/python scripts/check_template.py
bench: $(READY) ## What the road costs over Piper alone; ROUNDS= (30)
	@PYTHONPATH=scripts/stack $(BIN)/python scripts/bench.py --rounds $(or $(ROUNDS),30)
bench-router: $(READY) ## What routing costs, beside LiteLLM's proxy; ROUNDS= (500)
	@PYTHONPATH=scripts/stack:scripts:tests $(BIN)/python scripts/bench_router.py --rounds $(or $(ROUNDS),500)
faults: $(READY) ## The matrix of faults, run and printed; ONLY="azure piper"
	@PYTHONPATH=scripts/stack:tests $(BIN)/python scripts/faults.py $(ONLY)
soak: $(READY) ## 64 callers while providers come and go; SECONDS= (60)
	@PYTHONPATH=scripts/stack:tests $(BIN)/python scripts/soak_router.py --seconds $(or $(SECONDS),60)
fire: $(READY) ## A model in the real Triton at 3 times its capacity; MODEL= (xtts_v2) REQUESTS= (2000)
	@PYTHONPATH=scripts/stack:scripts/engines:tests $(BIN)/python -W ignore scripts/fire.py $(if $(MODEL),--model "$(MODEL)") --requests $(or $(REQUESTS),2000)
bench-engines: $(READY) ## Engines against the packages they replace; ROUNDS= (2), MODEL=
	@$(BIN)/python -W ignore scripts/bench_engines.py --rounds $(or $(ROUNDS),2) $(if $(MODEL),--only "$(MODEL)")
parity: $(READY) ## Whether the engines say what those packages say, at the real shape (10 minutes of CPU); MODEL=
	@$(BIN)/python -W ignore scripts/bench_engines.py --parity $(if $(MODEL),--only "$(MODEL)")
sample-report: $(READY) ## Measure the sample report on known defects (docs/sample-quality.md)
	@PYTHONPATH=scripts $(BIN)/python scripts/sample_report.py
requirements: $(READY) ## Write the requirements files anew from uv.lock and the .in files
	@$(BIN)/python scripts/export_requirements.py

##@ Voices

TRAINING := .local/training

.PHONY: fetch voice voice-report
fetch: $(READY) ## Fetch a real Piper voice, VOICE= (or VOICE=all); without it, the catalogue
	@$(BIN)/python scripts/fetch_models.py piper $(if $(VOICE),$(if $(filter all,$(VOICE)),--all,--voice "$(VOICE)"),--list)
voice: $(TRAINING)/.ready ## Train, export, judge and describe the shipped voice from nothing (70 minutes on 2 cores)
	@PYTHONPATH=scripts/train_voice $(TRAINING)/bin/python scripts/train_voice/make_voice.py --minutes 60
voice-report: $(TRAINING)/.ready ## Judge the shipped voice again, against what it was trained on
	@PYTHONPATH=scripts/train_voice $(TRAINING)/bin/python scripts/train_voice/judge.py --out .local/train_voice

$(TRAINING)/.ready: $(READY)
	@echo "installing torch and what training needs ..."
	@VIRTUAL_ENV= UV_PROJECT_ENVIRONMENT="$(TRAINING)" "$(BIN)/uv" sync --frozen --inexact --quiet --only-group training --no-install-project --python "$(BIN)/python"
	@"$(BIN)/uv" pip install --quiet --python "$(TRAINING)/bin/python" $(TORCH_FROM) "$(TORCH)"
	@touch "$@"

##@ This page

.PHONY: help
help: ## Show it
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z -]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.uv-$(UV_VERSION):
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "There is no $(PYTHON) here. Name a Python 3.11 or newer: make setup PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "$(PYTHON) is $$("$(PYTHON)" -V 2>&1), and 3.11, 3.12 or 3.13 is needed. Name one: make setup PYTHON=python3.12"; exit 1; }
	@echo "making $(VENV) ..."
	@"$(PYTHON)" -m venv "$(VENV)" || { \
	  echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)" || { \
	  echo "uv could not be fetched. Is the package index (PyPI) within reach? A mirror: PIP_INDEX_URL=... make setup"; exit 1; }
	@rm -f "$(VENV)"/.uv-* && touch "$@"

# Inexact: what is put beside stays. torch comes without asking: what it needs stands in uv.lock.
$(READY): uv.lock pyproject.toml $(VENV)/.uv-$(UV_VERSION)
	@echo "installing the packages of uv.lock ..."
	@VIRTUAL_ENV= UV_PROJECT_ENVIRONMENT="$(VENV)" "$(BIN)/uv" sync --frozen --inexact --quiet --python "$(BIN)/python" || { \
	  echo "The packages could not be installed. Is the package index (PyPI) within reach? A mirror: UV_INDEX_URL=... make setup"; \
	  echo "A package without a wheel for this system names itself above."; exit 1; }
	@echo "installing torch ..."
	@"$(BIN)/uv" pip install --quiet --no-deps --python "$(BIN)/python" $(TORCH_FROM) "$(TORCH)" || { \
	  echo "torch could not be installed. From elsewhere: PIP_FIND_LINKS=<folder of wheels> make setup"; exit 1; }
	@touch "$@"
