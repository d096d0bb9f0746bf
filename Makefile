# SecureConnect. `make run` places a call; `make test` proves that it works. Both do all set-up themselves.
PYTHON ?= python3
UV = $(PYTHON) -m uv
BIN = .venv/bin

.PHONY: run test setup engines check cluster chaos chaos-short failovers races proofs upgrade attackers

# Without Janus, which is downloaded once, a call has four people at most.
run: setup
	@$(BIN)/secureconnect sfu install || echo "Starting without Janus: calls have up to four people, and are not recorded."
	$(BIN)/secureconnect demo

test: setup engines
	tests/namespace $(BIN)/python -m pytest

# The long form of the proofs about rings: a thousand races of each kind on one node and on three, two hundred kills. About an hour.
races: setup engines
	RACES=1000 KILLS=200 tests/namespace $(BIN)/python -m pytest -s tests/scenario/test_races.py tests/scenario/test_kill_push.py

# How long pictures pause when a call moves to the SFU and back, and when the SFU is killed: twenty times each, about a quarter of an hour.
proofs: setup engines
	tests/namespace $(BIN)/python -m tests.browser.proofs 20

# Three nodes, PostgreSQL, Redis, HAProxy and Prometheus, from Debian's packages; prints where they are, ends with Ctrl-C.
cluster: setup engines
	$(BIN)/python -m tests.cluster

# Every disturbance COUNT times on such a cluster while CALLS calls talk; ONLY="kill-node cut-redis" picks some. Some minutes each.
# PACE below 1 shortens them, DRAIN_SECONDS is the setting. 300 kills: make chaos ONLY=kill-node COUNT=150 CALLS=8, and CALLS=60.
COUNT = 20
CALLS = 300
PAUSE = 1
PACE = 1
ONLY =
DRAIN_SECONDS =
chaos: setup engines
	tests/namespace $(BIN)/python -m tests.chaos --count $(COUNT) --calls $(CALLS) --pause $(PAUSE) --pace $(PACE) --keep \
	    $(if $(DRAIN_SECONDS),--drain-seconds $(DRAIN_SECONDS)) $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json)

# Switch PostgreSQL and Redis (one address, sentinels) over ten times each during 100 calls, and fill the disk of SQLite as often.
failovers:
	$(MAKE) chaos COUNT=10 CALLS=100 ONLY="switch-postgres refuse-writes switch-redis fail-redis-over switch-sentinel fill-disk"

# The short form of the chaos, as the suite has it, RUNS times, each on a cluster of its own.
RUNS = 100
chaos-short: setup engines
	for run in $$(seq $(RUNS)); do tests/namespace $(BIN)/python -m pytest -q tests/scenario/test_chaos.py || exit 1; done

# Replace three nodes of the commit FROM by this version, node by node, during UPGRADE_CALLS calls. Some minutes.
FROM = 46c7e5d
UPGRADE_CALLS = 100
upgrade: setup engines
	[ -d .upgrade/$(FROM)/.venv ] || $(PYTHON) -m tests.upgrade.checkout $(FROM) .upgrade/$(FROM)
	tests/namespace $(BIN)/python -m tests.upgrade .upgrade/$(FROM) --calls $(UPGRADE_CALLS)

# Attacks by one signed-in user beside 50 calls of others, a minute each: what memory grows by, and whether others notice. Half an hour.
attackers: setup engines
	tests/namespace $(BIN)/python -m tests.attackers

setup: .venv/.ready

# The environment, exactly as locked; made again only when the lock changes.
.venv/.ready: uv.lock pyproject.toml
	@$(UV) --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet --user --break-system-packages uv
	$(UV) sync --frozen --quiet --compile-bytecode --python "$$(command -v $(PYTHON))"
	@touch $@

# The real servers and the browser that the tests start.
engines: setup
	@tests/engines

check: setup engines tests/types/node_modules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	tests/types/node_modules/.bin/tsc -p src/secureconnect/web

# The checker of the web client's types, exactly as locked.
tests/types/node_modules: tests/types/package-lock.json
	npm ci --prefix tests/types --silent --no-audit --no-fund
	@touch $@
