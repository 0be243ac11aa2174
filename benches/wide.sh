#!/usr/bin/env bash
# `limno run` in release on a Delta table of many columns, 100 days and 10 slices, with a small memory: the time and the
# peak. The table is made on the fly and removed.
# Usage: benches/wide.sh [COLUMNS [ROWS A DAY [MEMORY]]]   (default 1000 columns, 1000 rows, "2 GiB"; about 15 GB of disk)
set -euo pipefail
cd "$(dirname "$0")/.."
columns=${1:-1000} rows=${2:-1000} memory=${3:-2 GiB}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/limnograph/target}
cargo build --release --locked -p limno-engine -p limno-benches
bin=$CARGO_TARGET_DIR/release
data=$(mktemp -d "${TMPDIR:-/tmp}/limnograph-bench.XXXXXX")
trap 'rm -rf "$data"' EXIT
"$bin/bench-refresh" wide "$data/t" "$columns" 100 "$rows"
python3 - "$bin" "$data" "$columns" "$rows" "$memory" <<'PY'
import json, os, subprocess, sys, time

bin, data, columns, rows, memory = sys.argv[1:]
config = f"""
[monitor.m]
table  = "{data}/t"
output = "{data}/out"
slices = ["segment"]
memory = "{memory}"
columns = {{ exclude = ["segment"] }}
[monitor.m.time_series]
timestamp     = "at"
granularities = ["1 day"]
"""
open(f"{data}/limno.toml", "w").write(config)
start = time.perf_counter()
child = subprocess.Popen([f"{bin}/limno", "-c", f"{data}/limno.toml", "run"], stdout=subprocess.PIPE)
out = child.stdout.read()
_, status, usage = os.wait4(child.pid, 0)
assert status == 0, out
report = json.loads(out)
stages = {key.removesuffix("_seconds"): round(report[key], 1) for key in report if key.endswith("_seconds")}
print(f"{columns} columns x 100 windows x 10 slices of {int(rows) // 10} rows, memory {memory}: "
      f"{time.perf_counter() - start:.0f} s, peak {usage.ru_maxrss / 1024:.0f} MiB, "
      f"{report['profile_rows']} profile and {report['drift_rows']} drift rows, {stages}; {os.cpu_count()} cores")
PY
