# make demo   sets everything up and shows a runbook mitigating an incident (ARGS=--yes approves by itself)
# make test   sets everything up and runs the tests, as many files at once as there are processors, at most four (ARGS goes to pytest; --numprocesses=0 for one by one)
# make matrix kills every part of a run at every point of it, and writes what came of it into docs/reliability.md (about two hours; ARGS="-k worker" for one part, and what was found of the others stays; POINTS=gaps or thirds for fewer points)
# make check  ruff, mypy --strict, import-linter
# demo and test run without your PREFECT_*, KUBECONFIG, AWS_* and proxy settings, in a home of their own, and reach loopback alone (.ci/alone).
.PHONY: demo test matrix check setup lock format
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

demo: $(STAMP)
	@.ci/alone $(BIN)/stopgap demo $(ARGS)

test: $(STAMP)
	@.ci/alone $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(ARGS)

matrix: $(STAMP)
	@STOPGAP_REWRITE_MATRIX=$(or $(POINTS),every) .ci/alone $(BIN)/python -m pytest tests/engine/test_kill_matrix.py $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy flows tests
	$(BIN)/lint-imports

setup: $(STAMP)

# uv if it is there, otherwise from PyPI into a folder of its own; the lock is what is installed.
$(STAMP): requirements.lock pyproject.toml
	@command -v uv >/dev/null || test -x .cache/uv/bin/uv || { $(PYTHON) -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv; }
	@uv=$$(command -v uv || echo .cache/uv/bin/uv); set -e; \
	  test -x $(BIN)/python || $$uv venv --quiet --python $(PYTHON) .venv; \
	  $$uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock; \
	  $$uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras --no-header pyproject.toml -o requirements.lock

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
