# Every verb of the project. A fresh machine needs Rust, maturin and Python only: each target makes the
# virtual environment .venv for itself. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
ORACLE ?= .oracle
PYTEST_ARGS ?=
SOURCES := $(shell find crates python -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name 'Cargo.toml' 2>/dev/null) Cargo.toml Cargo.lock pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help demo test test-rust test-python bench bench-rust oracle golden lint fmt stub stubtest fuzz wheel ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/tools: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

$(VENV)/installed: $(VENV)/tools $(SOURCES)
	rm -rf target/wheels
	$(BIN)/maturin build --release --locked --quiet --interpreter $(BIN)/python --out target/wheels
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps target/wheels/rustgrad-*.whl
	touch $@

demo: $(VENV)/installed ## build, install, run the chapter and learn the digits
	$(BIN)/python examples/autograd_tour.py
	$(BIN)/python examples/digits.py

test: test-rust test-python ## run all tests, Rust and Python

test-rust: ## run the tests of the engine, doc examples included
	cargo test --workspace --locked --release

test-python: $(VENV)/installed ## run the tests of the installed wheel
	$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(VENV)/installed ## time rustgrad and, where `make oracle` was run, torch in turn
	cargo build --release --locked --quiet -p rustgrad-kernels --example limits
	$(BIN)/python benchmarks/run.py --torch-python $(ORACLE)/bin/python $(BENCH_ARGS)
	$(BIN)/python benchmarks/threads.py

bench-rust: ## time the engine from Rust
	cargo bench --workspace --locked

oracle: $(ORACLE)/bin/pytest ## install real torch into a virtual environment of its own (5 GB)
$(ORACLE)/bin/pytest:
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install --quiet torch numpy scikit-learn pytest pytest-timeout

fuzz: $(VENV)/installed oracle ## compare ten thousand random programs with torch
	$(BIN)/python tests/fuzz.py --torch-python $(ORACLE)/bin/python $(FUZZ_ARGS)

golden: oracle ## record torch's answers anew and hold the tests themselves against torch
	RUSTGRAD_TEST_MODULE=torch $(ORACLE)/bin/python tests/record_golden.py
	RUSTGRAD_TEST_MODULE=torch $(ORACLE)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/tools ## format check, clippy, rustdoc, ruff, mypy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --release --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	$(BIN)/python tools/check_sizes.py
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --python-executable $(BIN)/python

fmt: $(VENV)/tools ## format everything
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

stub: $(VENV)/installed ## write the stub of the compiled module
	$(BIN)/python tools/make_stub.py
	$(BIN)/ruff format --quiet python/rustgrad/_core.pyi

stubtest: $(VENV)/installed ## hold the stub against the compiled module
	cd $(VENV) && $(BIN)/python -m mypy.stubtest rustgrad._core --concise --ignore-disjoint-bases

wheel: $(VENV)/installed ## build the wheel into target/wheels
	ls -l target/wheels

ci: ## what continuous integration runs
	.ci/run

clean: ## remove what the targets made
	rm -rf $(VENV) target/wheels .mypy_cache .ruff_cache .pytest_cache
