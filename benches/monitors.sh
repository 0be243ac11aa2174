#!/usr/bin/env bash
# `limno run` in release on so many monitors, each of a small Delta table of its own, with one output: the first refresh, runs
# that find nothing new, and one that finds a new commit in a tenth of the tables. Prints a Markdown table, per monitor.
# Usage: benches/monitors.sh [MONITORS [ROWS]]   (default 1000 monitors of tables of 3000 rows, 3 days, 20 columns)
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/limnograph/target}
cargo build --release --locked -p limno-engine -p limno-benches
bin=$CARGO_TARGET_DIR/release
data=$(mktemp -d "${TMPDIR:-/tmp}/limnograph-monitors.XXXXXX")
trap 'rm -rf "$data"' EXIT
monitors=${1:-1000}
rows=${2:-3000}
"$bin/bench-refresh" "$data/t" 0 3 $((rows / 3))
python3 - "$bin" "$data" "$monitors" "$rows" <<'PY'
import json, os, shutil, statistics, subprocess, sys, time

bin, data, monitors, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with open(f"{data}/limno.toml", "w") as file:
    for number in range(monitors):
        shutil.copytree(f"{data}/t", f"{data}/t{number}")
        file.write(f'''[monitor.m{number}]
output = "{data}/out"
table = "{data}/t{number}"
time_series = {{ timestamp = "at", granularities = ["1 day"] }}
''')


def run(name, refreshed):
    start = time.perf_counter()
    child = subprocess.Popen([f"{bin}/limno", "-c", f"{data}/limno.toml", "run"], stdout=subprocess.PIPE)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    reports = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and len(reports) == monitors, out
    assert sum(report["refreshed"] for report in reports) == refreshed
    cores = usage.ru_utime + usage.ru_stime
    print(f"| {name} | {1000 * seconds / monitors:.1f} ms | {1000 * cores / monitors:.1f} ms "
          f"| {usage.ru_maxrss / 1024:.0f} MiB |", flush=True)


print(f"{monitors:,} monitors of tables of {rows:,} rows and 20 columns, {os.cpu_count()} cores; a monitor:\n")
print("| run | elapsed | of all cores | peak |\n|---|---|---|---|")
run("the first", monitors)
for _ in range(3):
    run("nothing new", 0)
for number in range(0, monitors, 10):
    subprocess.run([f"{bin}/bench-refresh", f"{data}/t{number}", "3", "1", str(rows // 3)], check=True)
run("a new day in a tenth", len(range(0, monitors, 10)))
PY
