# The tasks of a day. Each is one command that needs nothing prepared on a Debian with Rust.

CARGO ?= cargo

.PHONY: help demo test check

help:
	@echo "make demo    see it work: a sample directory, two syncs, and the plan of each"
	@echo "make test    every test, against servers of its own (installs on Debian what is missing)"
	@echo "make check   formatting, lints, documentation, licences and origins of the dependencies"

demo:
	@tests/with-servers --compiler
	@$(CARGO) build --locked
	@$(CARGO) run --locked --quiet -- demo --once
	@printf '\nTo keep it up, edit the directory on a page and sync by hand:\n  %s\n' '$(CARGO) run --locked --quiet -- demo'

test:
	@tests/with-servers $(CARGO) nextest run --locked

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo 'cargo-deny is missing; install it with: $(CARGO) install --locked cargo-deny' >&2; exit 1; }
	$(CARGO) fetch --locked
	$(CARGO) deny --offline --log-level error check licenses bans sources
