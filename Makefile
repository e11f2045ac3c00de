# Each target sets up .venv first. On Windows, see CONTRIBUTING.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
# Three on two cores: a third of the time is waiting. Each imports pandas and plotly.
WORKERS ?= 3

.PHONY: demo test lint bench bench-cpp chaos test-peers messages clean help

help:
	@echo "make demo      backtest of the bundled sample, with its report"
	@echo "make test      every check: ruff, mypy, import-linter, pytest, no key leaked"
	@echo "make test-long the full size of the long checks: kills, restarts, exact parity"
	@echo "make bench     speed and memory budgets"
	@echo "make bench-cpp the fast engine against the one in C++, in .venv-cpp"
	@echo "make chaos     orders under random faults and kill -9, 10,000 for each of 100 seeds"
	@echo "make test-peers  clients of others against the local server, in .venv-peers"
	@echo "make messages  collect the texts into the catalogues and compile them"
	@echo "make clean     remove the environment and everything generated"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python setup.cfg setup.py pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(TEST_STAMP): $(BIN)/python setup.cfg setup.py pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	@touch $(STAMP) $@

demo: $(STAMP)
	$(BIN)/kisbt demo

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Everything the tests log, print, raise and write is then searched for their keys.
test: lint
	traces=$$(mktemp -d) && \
	KISBT_TRACES=$$traces $(BIN)/pytest -n $(WORKERS) -m "not bench and not long" \
		--basetemp=$$traces/tmp && \
	$(BIN)/python -m tests.helpers.canary $$traces && \
	rm -rf $$traces

test-long: $(TEST_STAMP)
	$(BIN)/pytest -m long

bench: $(TEST_STAMP)
	$(BIN)/pytest tests/bench -m bench -s

# The C++ engine brings packages and pins of its own, so it has its own environment.
CPP := .venv-cpp
CPP_STAMP := $(CPP)/.installed
$(CPP_STAMP): Makefile
	$(PYTHON) -m venv $(CPP)
	$(CPP)/bin/python -m pip install --quiet --disable-pip-version-check \
		'back-trader-cpp[data]>=0.38,<0.40'
	@touch $@

bench-cpp: $(TEST_STAMP) $(CPP_STAMP)
	KISBT_CPP_PYTHON=$(CPP)/bin/python $(BIN)/pytest tests/bench/test_cpp_speed.py -m bench -s

# Hours; smaller: make chaos ORDERS=1000 SEEDS=5
ORDERS ?= 10000
SEEDS ?= 100
FIRST ?= 0
chaos: $(TEST_STAMP)
	$(BIN)/python -m tests.helpers.chaos --orders $(ORDERS) --seeds $(SEEDS) --first $(FIRST)

# Both the catalogue and its compiled form are committed. Then fill in the empty
# msgstr of kisbt/locale/*/LC_MESSAGES/kisbt.po and run it again.
messages: $(TEST_STAMP)
	@mkdir -p build
	$(BIN)/pybabel -q extract --mapping-file=babel.cfg --add-location=file --sort-by-file \
		--project=kisbt --output-file=build/kisbt.pot kisbt
	$(BIN)/python -c "import pathlib, re; p = pathlib.Path('build/kisbt.pot'); t = p.read_text('utf-8'); p.write_text(re.sub(r', python-format', '', re.sub(r'(?m)^#, python-format\n', '', t)), 'utf-8')"  # no text is %-formatted
	$(BIN)/pybabel -q update --domain=kisbt --input-file=build/kisbt.pot \
		--output-dir=kisbt/locale --width=88 --no-fuzzy-matching --ignore-obsolete \
		--ignore-pot-creation-date
	$(BIN)/pybabel -q compile --domain=kisbt --directory=kisbt/locale --statistics

# The pins of other people's clients must not reach our own environment.
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
$(PEERS_STAMP): setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test,peers]'
	@touch $@

test-peers: $(PEERS_STAMP)
	$(PEERS)/bin/python -m pytest tests/e2e/test_peers.py

clean:
	rm -rf $(VENV) $(PEERS) $(CPP) build dist *.egg-info runs demo .bench .coverage* htmlcov
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
