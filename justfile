# Recipes for everyday work. Each is a line or two that can be typed by hand.

# List the recipes.
default:
    @just --list

# Format and lints, as CI has them.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# All tests, with real mail servers and a recorder of HTTP calls on loopback.
test *ARGS:
    tests/run {{ARGS}}

# Long histories, many kills and many runs at once, each against an undisturbed twin.
differential:
    LIMNO_HISTORIES=500 LIMNO_KILLS=200 LIMNO_RACES=50 tests/run --test it -- histories crashes

# The mathematics only.
test-metrics *ARGS:
    cargo test --locked -p limno-metrics {{ARGS}}

# Fuzz the state encoding, each target for SECONDS. Needs a C++ compiler.
fuzz SECONDS="60":
    metrics/fuzz/run decode {{SECONDS}}
    metrics/fuzz/run merge {{SECONDS}}
    metrics/fuzz/run quality {{SECONDS}}

# Write the encoded states of this version again and show what changed.
golden-encodings:
    LIMNO_WRITE_GOLDEN_ENCODINGS=1 cargo test --locked -p limno-metrics --test golden_encodings
    git --no-pager diff --stat -- metrics/tests/golden_encodings

# The whole loop on the flights of 2013.
demo DIR="limno-demo":
    cargo run --locked -- demo {{quote(DIR)}}

# Make the golden numbers again and show what changed.
golden:
    test -d .venv || python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --requirement fixtures/golden/requirements.txt
    .venv/bin/python fixtures/golden/make_golden.py
    .venv/bin/python fixtures/golden/make_peers.py
    .venv/bin/python fixtures/golden/make_sums.py
    .venv/bin/python fixtures/golden/make_quality.py
    .venv/bin/python fixtures/golden/make_tails.py
    git --no-pager diff --stat -- fixtures/golden
    git --no-pager diff -- 'fixtures/golden/*.json'

# `limno compare` in release against the decode floor, ROWS rows a side.
bench ROWS="1000000":
    benches/compare.sh {{ROWS}}

# `limno compare` and its peers in release on the same files, of so many rows or `wide`; see benches/peers/README.md.
bench-peers *ARGS:
    benches/peers.sh {{ARGS}}

# `limno run` in release against the decode floor: a snapshot with a baseline, by day, and by day with slices.
bench-floor *ARGS:
    benches/floor.sh {{ARGS}}

# `limno run` in release on 30 days and slices of 5, against the decode floor, on tables of so many ROWS.
bench-large *ROWS:
    benches/large.sh {{ROWS}}

# `limno run` in release: the first refresh, one after one more day, one with nothing new, on tables of so many ROWS.
bench-refresh *ROWS:
    benches/refresh.sh {{ROWS}}

# `limno run` in release on 1,000 monitors of small tables: the first refresh, nothing new, a few new days.
bench-monitors *ARGS:
    benches/monitors.sh {{ARGS}}

# A refresh of 200 files over a store of 100 ms a request, 5 % of which fail, against the same without faults.
bench-lake *ARGS:
    cargo bench --locked -p limno-benches --bench lake -- {{ARGS}}

# `limno run` in release within a small memory, on a table of many columns, windows and slices.
bench-wide *ARGS:
    benches/wide.sh {{ARGS}}

# One pass over one column: our states against Arrow's kernels and plain loops. Builds without the query engine.
bench-kernels *ARGS:
    cargo bench --locked -p limno-benches --no-default-features --bench kernels -- {{ARGS}}

# Our states against the sketches of Apache DataSketches. Builds without the query engine.
bench-states *ARGS:
    cargo bench --locked -p limno-benches --no-default-features --bench states -- {{ARGS}}

# Instructions of kernels and of a small run, held against those recorded; `--record` writes them down. Needs valgrind.
bench-instructions *ARGS:
    benches/instructions.sh {{ARGS}}

# API documentation of our crates; a warning is an error.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# What CI runs.
ci:
    .ci/run

# What takes longer than a change should wait for: run it at night.
slow:
    .ci/slow
