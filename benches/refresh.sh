#!/usr/bin/env bash
# `limno run` in release on a Delta table of 20 columns and 100 days, as whole processes: the first refresh, one more
# after one more day, and one with nothing new; times, files read and peak memories. Tables are made on the fly and removed.
# Usage: benches/refresh.sh [ROWS…]   (default 1000000 10000000 rows; 100000000 need about 15 GB of disk)
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/limnograph/target}
cargo build --release --locked -p limno-engine -p limno-benches
bin=$CARGO_TARGET_DIR/release
data=$(mktemp -d "${TMPDIR:-/tmp}/limnograph-bench.XXXXXX")
trap 'rm -rf "$data"' EXIT
for rows in "${@:-1000000 10000000}"; do
    for rows in $rows; do
        rm -rf "${data:?}"/*
        "$bin/bench-refresh" "$data/t" 0 100 $((rows / 100))
        python3 - "$bin" "$data" "$rows" <<'PY'
import json, os, shutil, statistics, subprocess, sys, time

bin, data, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
config = f"""
[monitor.m]
table  = "{data}/t"
output = "{data}/out"
[monitor.m.time_series]
timestamp     = "at"
granularities = ["1 day"]
"""
open(f"{data}/limno.toml", "w").write(config)


def run(*arguments):
    start = time.perf_counter()
    child = subprocess.Popen([f"{bin}/limno", "-c", f"{data}/limno.toml", "run", *arguments], stdout=subprocess.PIPE)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, out
    return time.perf_counter() - start, usage.ru_maxrss / 1024, json.loads(out)


def more_data(day):
    subprocess.run([f"{bin}/bench-refresh", f"{data}/t", str(day), "1", str(rows // 100)], check=True)


first = run()
rounds = 3
full, part, none = [], [], []
for again in range(rounds):  # side by side, so that all see the same machine
    more_data(100 + again)
    part.append(run())
    none.append(run())
    assert part[-1][2]["files_read"] == 1 and not none[-1][2]["refreshed"]
    # What the ledger alone gives must be what all of the table gives; and it is timed beside it.
    full.append(run("--full-refresh"))


def line(name, runs):
    seconds = [seconds for seconds, _, _ in runs]
    peak = max(peak for _, peak, _ in runs)
    report = runs[-1][2]
    stages = {key.removesuffix("_seconds"): round(report[key], 3) for key in report if key.endswith("_seconds")}
    print(f"{rows:>11,} rows  {name:13} median {statistics.median(seconds):7.3f} s  peak {peak:6.0f} MiB  "
          f"files {report.get('files_read', 0):>3}  {stages}")
    return statistics.median(seconds)


line("first", [first])
a, b, c = line("full", full), line("one more day", part), line("nothing new", none)
print(f"{rows:>11,} rows  one more day / full {b / a:.3f}, nothing new / full {c / a:.3f}; {os.cpu_count()} cores")
PY
    done
done
