# The tasks of a day. Each is one command that needs nothing prepared on a Debian with Rust.

CARGO ?= cargo

# What `make bench` measures; RUNS is how often, where that is not left to the size.
SIZES ?= 10000 100000 1000000
SOURCES ?= ldap connex
ENGINES ?= sqlite postgres
RUNS ?=

.PHONY: help demo test bench check deb trial

help:
	@echo "make demo    see it work: a sample directory, two syncs, and the plan of each"
	@echo "make test    every test, against servers of its own (installs on Debian what is missing)"
	@echo "make bench   how fast it is beside the floor of this machine; SIZES=10000 takes a minute, all of it half an hour"
	@echo "make check   formatting, lints, documentation, licences and origins of the dependencies"
	@echo "make deb     a package for Debian, in target/debian/"
	@echo "make trial   installs the package in a Debian of its own with systemd, and tries everything there; needs root"

demo:
	@tests/with-servers --compiler
	@$(CARGO) build --locked
	@$(CARGO) run --locked --quiet -- demo --once
	@printf '\nTo keep it up, edit the directory on a page and sync by hand:\n  %s\n' '$(CARGO) run --locked --quiet -- demo'

test:
	@tests/with-servers $(CARGO) nextest run --locked

bench: export SIZES := $(SIZES)
bench: export SOURCES := $(SOURCES)
bench: export ENGINES := $(ENGINES)
bench: export RUNS := $(RUNS)
bench:
	@tests/with-servers --durable $(CARGO) bench --locked --bench speed

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo 'cargo-deny is missing; install it with: $(CARGO) install --locked cargo-deny' >&2; exit 1; }
	$(CARGO) fetch --locked
	$(CARGO) deny --offline --log-level error check licenses bans sources

deb:
	@tests/with-servers --compiler
	@systemd/make-deb

trial: deb
	@systemd/trial target/debian/*.deb
