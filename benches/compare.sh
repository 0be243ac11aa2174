#!/usr/bin/env bash
# `limno compare` in release against scan-and-drop of the same files: prints both times and peak memories, and their ratio.
# Usage: benches/compare.sh [ROWS]   (default 1000000 rows a side, 20 columns)
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${1:-1000000}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/limnograph/target}
cargo build --release --locked -p limno-engine -p limno-benches
bin=$CARGO_TARGET_DIR/release
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
"$bin/bench-compare" generate "$data" "$rows"
python3 - "$bin" "$data" "$rows" <<'PY'
import os, resource, statistics, subprocess, sys, time
bin, data, rows = sys.argv[1:]
files = [f"{data}/a.parquet", f"{data}/b.parquet"]
commands = {
    "scan-and-drop": [f"{bin}/bench-compare", "scan", *files],
    "limno compare": [f"{bin}/limno", "compare", *files, "--format", "json"],
}
times = {name: [] for name in commands}
peaks = {name: 0 for name in commands}
for round in range(8):
    for name, command in commands.items():  # side by side, so that both see the same machine
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        assert status == 0, f"{name} failed"
        if round:  # the first round warms the page cache
            times[name].append(time.perf_counter() - start)
            peaks[name] = max(peaks[name], usage.ru_maxrss)
for name in commands:
    t = times[name]
    print(f"{name:14} min {min(t):.3f} s  median {statistics.median(t):.3f} s  max {max(t):.3f} s  peak {peaks[name] / 1024:.0f} MiB")
a, b = (statistics.median(times[name]) for name in commands)
print(f"ratio of medians {b / a:.2f}; {rows} + {rows} rows, 20 columns, {os.cpu_count()} cores")
PY
