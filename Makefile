# Everything a person needs: `make demo` shows the relay at work, `make test` proves it.
# Needs Python 3.11 or newer (with venv) and make; all else goes into .venv, from files with hashes.

# The newest Python that is good enough (a version manager's shim may exist and still not run); PYTHON=... overrides.
GOOD   = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
            if $$p -c '$(GOOD)' 2>/dev/null; then command -v $$p; break; fi; done)
BIN     = .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
COMPILE = uv pip compile --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

# Tests wait more than they compute: some files at a time, on whatever machine, the long ones first (tests/support/order.py).
WORKERS ?= 3

# Tests start some hundred relays: compiled each time, each would need twice as long.
unexport PYTHONDONTWRITEBYTECODE

# BUILD=... names another builder, where no registry is in reach (packaging/README.md).
IMAGE ?= relay:latest
BUILD ?= docker build -t

# Two workers at most, and nobody who measures time: measured code is slower.  The backend of PostgreSQL counts where a server is.
COVERED = tests/unit tests/properties tests/contract tests/corpus tests/stations tests/chaos
UNTIMED = not costs_little and not expensive and not long_queue_drains
UNSERVED = $(if $(wildcard /usr/lib/postgresql/*/bin/initdb),,--omit='relay/spool/postgres*')

.PHONY: help demo run test test-newer pictures chaos hostile stress simulate fuzz coverage mutants check docs pages lock clean image image-arm image-lint deb completion catalogues dist sbom wheels \
  schemathesis bench bench-smoke audit release

help:
	@echo "make demo    show the way of one message, from a NAS to an ISP (no account, no network needed)"
	@echo "             after it .venv/bin/relay is the command: .venv/bin/relay init, .venv/bin/relay check ..."
	@echo "make test    run all tests                 ARGS='tests/unit -k spool' for some of them"
	@echo "make test-newer    the quick ones once more, with another Python   NEWER=/path/to/python3.13"
	@echo "make fuzz    try to break session and repair for ten minutes   FUZZ_SECONDS=60 for another while"
	@echo "make chaos   break everything for a quarter of an hour, and print what came of it (some of it as root only)"
	@echo "             ARGS='tests/chaos/test_kill.py' for one file, ARGS='-k power' for some of all"
	@echo "make hostile every kind of hostile neighbour at a running relay, and a table   ARGS='--only CR' for some of them"
	@echo "make stress  odd clients, odd upstreams, orders, reloads, kill -9 at random for MINUTES=30, on both spools; every promise counted"
	@echo "make simulate    the whole relay in worlds of virtual time, SEEDS=100 of them; ARGS='--first 7 --seeds 1' plays one again and shortens it"
	@echo "make coverage    how much of reception, spool and forwarding the tests reach; fails under 95 % (about 15 minutes)"
	@echo "make mutants     change the code of mail/ and of the decisions: does a test notice?  SAMPLE=500 SEED=7: of some (all: two hours)"
	@echo "make bench   our relay beside Postfix, in rounds that take turns   ARGS='--scenario b --rounds 5' (bench/README.md)"
	@echo "make bench-smoke   has the relay become more wasteful?  Counts function calls, commits, octets; half a minute"
	@echo "make check   lint, formatting, types"
	@echo "make run     run the relay in the foreground with ./config.yaml (CONFIG=PATH for another)"
	@echo "make image   build the container image   IMAGE=relay:latest; image-arm: for arm64 and armv7, under emulation"
	@echo "make deb     build the Debian package into build/, for every architecture (packaging/README.md)"
	@echo "make completion, make catalogues    completion for bash, zsh and fish; what TrueNAS, CasaOS, Runtipi and Helm take"
	@echo "make dist, make sbom    wheel and sdist; the bill of materials (CycloneDX), STATUS=/var/lib/dpkg/status.d for an image's"
	@echo "make image-lint, make wheels    check Dockerfile, compose.yaml, chart, catalogues; that ARM installs without a compiler"
	@echo "make schemathesis   install what plays docs/openapi.yaml against the relay in make test (skipped without)"
	@echo "make audit   ask whether a package that the relay needs has a known weakness; make release: all before a release"
	@echo "make docs    build the site from docs/ into build/site, links and anchors checked"
	@echo "make pages   write anew the pages of docs/ that are made from the code (settings, providers, advice)"
	@echo "make pictures    take the pictures in README.md and docs/ anew"
	@echo "make lock    write requirements/*.txt anew from pyproject.toml (needs uv)"
	@echo "make clean   remove .venv and what the tools left behind"

demo: .venv/runtime
	$(BIN)/python -m relay demo $(ARGS)

run: .venv/runtime
	$(BIN)/python -m relay run $(if $(CONFIG),--config $(CONFIG))

test: .venv/development
	$(BIN)/python -m compileall -q relay
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# What the code itself does, once more with another Python: NEWER names it.
test-newer:
	@.venv-newer/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 13))' 2>/dev/null || \
	  { $(if $(NEWER),$(NEWER) -m venv --clear .venv-newer,echo "NEWER=/path/to/python3.13 names the other Python" >&2; exit 1); }
	.venv-newer/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/development.txt
	.venv-newer/bin/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
	  tests/unit tests/properties tests/corpus tests/stations

fuzz: .venv/development
	$(BIN)/python -m tests.fuzz

# Files in ARGS stand for the whole folder, options such as -k go with it.
chaos: .venv/development
	RELAY_CHAOS=full $(BIN)/python -m pytest $(if $(filter tests/%,$(ARGS)),,tests/chaos) --timeout 1800 $(ARGS)

# One kind after another, then a hundred clients at once: about eight minutes.
hostile: .venv/development
	$(BIN)/python -m tests.hostile $(ARGS)

MINUTES ?= 30
stress: .venv/development
	$(BIN)/python -m tests.hostile.stress --minutes $(MINUTES) $(ARGS)

SEEDS ?= 100
simulate: .venv/development
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

coverage: .venv/development
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -k "$(UNTIMED)" $(COVERED)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under 95 $(UNSERVED)

# Goes on where it was interrupted.  `.venv-mutants/bin/mutmut show NAME` shows what was changed.
mutants: .venv-mutants/ready
	SAMPLE=$(SAMPLE) SEED=$(SEED) WORKERS=$(WORKERS) .venv-mutants/bin/python -m tools.mutants

.venv-mutants/ready: requirements/mutation.txt | .venv/bin/python
	$(BIN)/python -m venv .venv-mutants
	.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/mutation.txt
	@touch $@

bench: .venv/runtime
	$(BIN)/python -m bench.compare $(ARGS)

bench-smoke: .venv/development
	$(BIN)/python -m bench.smoke

check: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict relay

image:
	$(BUILD) $(IMAGE) .

# The pictures in README and docs, as the browser's tests take them.
pictures: .venv/development
	$(BIN)/python -m pytest -q tests/browser -k "pictures or small_screen"
	cp build/screenshots/desktop.png docs/status-page.png
	cp build/screenshots/setup-en-light-server.png docs/set-up.png

# Four to five minutes each on two cores.  Not in CI.
image-arm:
	$(BUILD) $(IMAGE)-arm64 $(if $(findstring build-image,$(BUILD)),-a arm64,--platform linux/arm64) .
	$(BUILD) $(IMAGE)-armv7 $(if $(findstring build-image,$(BUILD)),-a arm,--platform linux/arm/v7) .

image-lint: .venv/image .venv/development
	$(BIN)/actionlint
	$(BIN)/hadolint Dockerfile
	COMPOSE_PROJECT_NAME=relay $(BIN)/docker-compose -f compose.yaml config --quiet
	COMPOSE_PROJECT_NAME=relay $(BIN)/docker-compose -f compose.pair.yaml config --quiet
	sh -n packaging/make-rootfs.sh
	REQUIRE_CHECKERS=1 $(BIN)/python -m pytest -q tests/packaging/test_helm.py tests/packaging/test_catalogues.py

deb: .venv/development
	packaging/make-deb.sh $(BIN)/python build

# For bash, zsh and fish, under the folder's usr/share.
completion: .venv/development
	$(BIN)/python packaging/completion.py build/completion

# What the catalogues of apps take; the chart for Helm, too.  They pull IMAGE_NAME:VERSION.
IMAGE_NAME ?= relay
PROJECT_URL ?= https://lan-mail-relay.invalid
catalogues:
	packaging/make-catalogues.sh $(IMAGE_NAME) $(PROJECT_URL) build/catalogues

# Wheel and sdist, as the package index takes them.
dist: .venv/development
	$(BIN)/python -m hatchling build -d build/dist

sbom: .venv/runtime
	@mkdir -p build
	$(BIN)/python packaging/sbom.py requirements/push.txt $(STATUS) > build/relay.cdx.json

wheels: .venv/runtime
	$(BIN)/python tools/check_wheels.py

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No usable Python found: the relay needs 3.11 or newer, with its venv module." >&2; \
	  echo "Debian, Ubuntu: apt install python3 python3-venv.  Or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c '$(GOOD)' 2>/dev/null || { echo "$(PYTHON) will not do: the relay needs Python 3.11 or newer," >&2; \
	  echo "with its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv .venv

# `relay` as a command; nothing is built or fetched for it.
.venv/bin/relay: | .venv/bin/python
	ln -sf ../../packaging/relay $@

# The stamps: a second call installs nothing, a changed lock file installs again.
.venv/runtime: requirements/runtime.txt | .venv/bin/relay
	$(INSTALL) -r requirements/runtime.txt
	@touch $@

.venv/development: requirements/development.txt requirements/runtime.txt | .venv/bin/relay
	$(INSTALL) -r requirements/development.txt
	@touch $@ .venv/runtime

.venv/image: requirements/image.txt | .venv/bin/python
	$(INSTALL) -r requirements/image.txt
	@touch $@

schemathesis: .venv-schemathesis/ready

.venv-schemathesis/ready: requirements/api.txt | .venv/bin/python
	$(BIN)/python -m venv .venv-schemathesis
	.venv-schemathesis/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/api.txt
	@touch $@

# Before a release.  A package that could not be asked about is no package without weakness: --strict.
audit: .venv-audit/ready
	for locked in requirements/push.txt requirements/postgres.txt; do \
	  .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes -r $$locked || exit 1; done

.venv-audit/ready: requirements/audit.txt | .venv/bin/python
	$(BIN)/python -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	@touch $@

# What a release must pass; pins the image's base to what the registry has now, which is then to be committed.
release: audit
	packaging/pin-base
	$(MAKE) check test

docs: .venv-docs/ready
	.venv-docs/bin/python -m mkdocs build --strict --clean --quiet
	@echo "built: build/site/index.html"

.venv-docs/ready: requirements/docs.txt | .venv/bin/python
	$(BIN)/python -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

pages: .venv/runtime
	$(BIN)/python -m tools.pages

lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(COMPILE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --group dev -o requirements/development.txt
	$(COMPILE) pyproject.toml --extra push -o requirements/push.txt
	$(COMPILE) pyproject.toml --extra postgres --extra push -o requirements/postgres.txt
	$(COMPILE) -c requirements/development.txt --group image -o requirements/image.txt
	$(COMPILE) --group api -o requirements/api.txt
	$(COMPILE) --group docs -o requirements/docs.txt
	$(COMPILE) --group audit -o requirements/audit.txt
	$(COMPILE) pyproject.toml --group mutation -o requirements/mutation.txt

clean:
	rm -rf .venv .venv-newer .venv-mutants .venv-schemathesis .venv-docs .venv-audit .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist mutants .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
