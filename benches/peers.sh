#!/usr/bin/env bash
# `limno compare` in release, scan-and-drop, and other programs that profile and compare tables, on the same Parquet
# files in one run: a Markdown table of times, peak memories, versions and what each computed.
# Usage: benches/peers.sh [SIZES…] [--peers A,B] [--rounds N] [--limit SECONDS]   (default 1000000; see benches/peers)
# LIMNO_BENCH_BIN names a folder that already holds `limno` and `bench-compare`; else they are built.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z ${LIMNO_BENCH_BIN:-} ]]; then
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/limnograph/target}
    cargo build --release --locked -p limno-engine -p limno-benches
    export LIMNO_BENCH_BIN=$CARGO_TARGET_DIR/release
fi
exec python3 benches/peers/run.py "$@"
