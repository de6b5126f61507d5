# Everything happens in .venv; PYTHON chooses the interpreter that makes it (3.11 or later).
PYTHON ?= python3
BIN := .venv/bin
# Touched when .venv is complete: nothing is installed again until what it was made from changes.
READY := .venv/ready
# Where the recordings to train with lie.
DATA ?= ../shared/data/audio
CLIPS = $(sort $(filter-out tests/data/noise-%,$(wildcard tests/data/*.wav tests/data/*.flac)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test check wheel test-wheel deb test-deb test-aarch64 teacher music numbers bench-check soak protos clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+[0-9]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything in it, torch as its CPU build

$(READY): pyproject.toml scripts/make-venv.sh deploy/install-torch.sh
	@scripts/make-venv.sh "$(PYTHON)" .venv train,ctranslate2,onnx,dev
	@touch $@

demo: setup ## transcribe the recorded speech in tests/data
	$(BIN)/rtstream replay $(CLIPS)

test: setup ## run the tests
	$(BIN)/pytest

check: setup ## lint, formatting, types, import order
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	scripts/make-protos.sh $(BIN)/python --check
	scripts/check-protos.sh

wheel: ## build dist/rtstream-*.whl, with its models, and dist/rtstream_multi-*.whl, a model of ten languages
	@deploy/make-wheel.sh "$(PYTHON)" dist

test-wheel: ## install those wheels into an empty virtual environment, and recognise there
	@scripts/test-wheel.sh "$(PYTHON)" $$(deploy/make-wheel.sh "$(PYTHON)" dist)

test-aarch64: setup ## install it on emulated ARM, and recognise there: an hour of QEMU on a busy machine, see docs/aarch64.md
	@scripts/test-aarch64.sh $(BIN)/python "$$(deploy/make-wheel.sh "$(PYTHON)" dist | head -n 1)"

deb: ## build Debian packages in dist, for this release of Debian and this processor
	@deploy/make-deb.sh dist

test-deb: ## install those packages in a bare Debian, use, remove and purge them there; as root
	@scripts/test-deb.sh $$(deploy/make-deb.sh dist)

teacher: setup ## get Moonshine base, Whisper base and tiny.en, from which training starts, into ~/.cache/rtstream/teacher
	scripts/get-teacher.sh $(BIN)/python "$(HOME)/.cache/rtstream/teacher/moonshine-base"
	scripts/get-teacher.sh $(BIN)/python "$(HOME)/.cache/rtstream/teacher/whisper-base"
	scripts/get-teacher.sh $(BIN)/python "$(HOME)/.cache/rtstream/teacher/whisper-tiny.en"

music: setup ## get music without words, in which a model should find none, into ~/.cache/rtstream/music
	scripts/get-music.sh $(BIN)/python "$(HOME)/.cache/rtstream/music"

numbers: setup ## have machines say numbers to train with, and join digits to test with, into ~/.cache/rtstream/audio
	scripts/make-numbers.sh $(BIN)/python "$(HOME)/.cache/rtstream/audio" "$(DATA)"

bench-check: setup ## compare what recognition takes and writes with the figures in benchmarks/figures.json
	$(BIN)/python -m benchmarks.check

soak: setup ## 2 hours of audio at speed through a service whose clients come and go: HOURS=24, PLOT=docs/soak.png
	$(BIN)/python -m tests.daemon.soak --hours "$(or $(HOURS),2)" $(if $(PLOT),--plot "$(PLOT)")

recording: setup ## record README's terminal anew, docs/demo.svg: after a new model
	scripts/record-demo.sh $(BIN)/rtstream docs/demo.svg

protos: setup ## generate rtstream/wire/v1 from protos/
	scripts/make-protos.sh $(BIN)/python

clean: ## remove caches and build products; .venv, models and training runs stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find rtstream tests -name __pycache__ -type d -prune -exec rm -rf {} +
