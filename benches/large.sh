#!/usr/bin/env bash
# `limno run` in release on an inference table of 30 days, by day and by slices of 5 values, against scan-and-drop, on tables
# of so many rows: times, ratios, peak memories, and where the time goes. Tables are made on the fly and removed.
# Usage: benches/large.sh [ROWS…]   (default 1000000 10000000 100000000 rows, of which the last needs 9 GB of disk)
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/limnograph/target}
cargo build --release --locked -p limno-engine -p limno-benches
bin=$CARGO_TARGET_DIR/release
data=$(mktemp -d "${TMPDIR:-/tmp}/limnograph-large.XXXXXX")
trap 'rm -rf "$data"' EXIT
[[ $# -gt 0 ]] || set -- 1000000 10000000 100000000
echo "| rows | scan-and-drop | peak | limno run | peak | ratio |"
echo "|---|---|---|---|---|---|"
for rows in "$@"; do
    rm -rf "${data:?}"/*
    "$bin/bench-refresh" "$data/t" 0 30 $((rows / 30))
    python3 - "$bin" "$data" "$rows" <<'PY'
import json, os, shutil, statistics, subprocess, sys, time

bin, data, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(f"{data}/limno.toml", "w") as file:
    file.write(f'''[monitor.m]
output = "{data}/out"
table = "{data}/t"
slices = ["integer_0 % 5"]
time_series = {{ timestamp = "at", granularities = ["1 day"] }}
''')


def timed(*command):
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, f"{command} failed"
    return time.perf_counter() - start, usage.ru_maxrss / 1024, out


pairs = []
for _ in range(4):  # the first warms the page cache
    floor = timed(f"{bin}/bench-compare", "scan", f"{data}/t")
    shutil.rmtree(f"{data}/out", ignore_errors=True)
    ours = timed(f"{bin}/limno", "-c", f"{data}/limno.toml", "run", "--profile")
    report, profile = (json.loads(line) for line in ours[2].splitlines())
    assert report["rows"] == rows // 30 * 30 and report["windows"] == 30, report
    pairs.append((floor, ours, profile["stage_seconds"]))
pairs = pairs[1:]
floor, ours = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
peaks = [max(pair[side][1] for pair in pairs) for side in (0, 1)]
print(f"| {rows:,} | {floor:.2f} s | {peaks[0]:.0f} MiB | {ours:.2f} s | {peaks[1]:.0f} MiB | ×{ours / floor:.2f} |")
typical = min(pairs, key=lambda pair: abs(pair[1][0] - ours))[2]
print("    " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in typical.items()), file=sys.stderr)
PY
done
