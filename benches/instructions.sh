#!/usr/bin/env bash
# Instructions of kernels and of a small `limno compare`, held against those in benches/instructions.json; fails where there
# are more. `--record` writes them down. Needs valgrind and python3.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind > /dev/null || { echo "benches/instructions.sh needs valgrind (Debian: apt install valgrind)" >&2; exit 2; }
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/limnograph/target}
cargo build --release --locked -p limno-engine -p limno-benches
exec python3 benches/instructions.py "$CARGO_TARGET_DIR/release" "$@"
