#!/usr/bin/env bash
# `limno run` in release against scan-and-drop of the same files and columns, in one run: a snapshot with a baseline, and a
# table of 31 days by day, and by day with slices of 5 and of 2 values. Prints a Markdown table, and where the time goes.
# Usage: benches/floor.sh [ROWS [ROUNDS]]   (default 1000000 rows a side, 7 rounds)
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${1:-1000000}
rounds=${2:-7}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/limnograph/target}
cargo build --release --locked -p limno-engine -p limno-benches
bin=$CARGO_TARGET_DIR/release
data=$(mktemp -d "${TMPDIR:-/tmp}/limnograph-floor.XXXXXX")
trap 'rm -rf "$data"' EXIT
"$bin/bench-compare" generate "$data" "$rows"
"$bin/bench-refresh" "$data/days" 0 31 $((2 * rows / 31))
python3 - "$bin" "$data" "$rows" "$rounds" <<'PY'
import json, os, shutil, statistics, subprocess, sys, time

bin, data, rows, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
by_day = '[monitor.m.time_series]\ntimestamp = "at"\ngranularities = ["1 day"]\n'
monitors = {
    "snapshot and baseline": (f'table = "{data}/a.parquet"\nbaseline = "{data}/b.parquet"\n', "[monitor.m.snapshot]\n"),
    "31 days": (f'table = "{data}/days"\n', by_day),
    "31 days, slices of 5 and 2": (f'table = "{data}/days"\nslices = ["integer_0 % 5", "flag"]\n', by_day),
}
floors = {"snapshot and baseline": [f"{data}/a.parquet", f"{data}/b.parquet"]}
runs = {}
for number, (name, (tables, kind)) in enumerate(monitors.items()):
    config = f"{data}/limno-{number}.toml"
    with open(config, "w") as file:
        file.write(f'[monitor.m]\noutput = "{data}/out-{number}"\n{tables}{kind}')
    runs[name] = (
        [f"{bin}/bench-compare", "scan", *floors.get(name, [f"{data}/days"])],
        [f"{bin}/limno", "-c", config, "run", "--profile"],
    )


def timed(command):
    for number in range(len(monitors)):  # each refresh is the first
        shutil.rmtree(f"{data}/out-{number}", ignore_errors=True)
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, f"{command} failed"
    return time.perf_counter() - start, usage.ru_maxrss / 1024, out


print(f"{2 * rows:,} rows, 20 columns, {os.cpu_count()} cores; medians of {rounds} rounds\n")
print("| what | scan-and-drop | limno run | ratio | peak |\n|---|---|---|---|---|")
stages = {}
for name, pair in runs.items():
    # The first round warms the page cache; then side by side, so that both see the same machine.
    measured = [[timed(command) for command in pair] for _ in range(rounds + 1)][1:]
    floor, ours = (statistics.median(run[side][0] for run in measured) for side in (0, 1))
    peak = max(run[1][1] for run in measured)
    print(f"| {name} | {floor:.3f} s | {ours:.3f} s | ×{ours / floor:.2f} | {peak:.0f} MiB |")
    typical = min(measured, key=lambda run: abs(run[1][0] - ours))[1]
    report, profile = (json.loads(line) for line in typical[2].splitlines())
    assert report["rows"] in (rows, 2 * rows // 31 * 31), report
    stages[name] = (profile["stage_seconds"], profile["elapsed_seconds"])
print("\nSeconds by stage, of all cores together:\n")
names = list(next(iter(stages.values()))[0])
print("| what | " + " | ".join(names) + " | elapsed |\n|---|" + "---|" * (len(names) + 1))
for name, (seconds, elapsed) in stages.items():
    print(f"| {name} | " + " | ".join(f"{seconds[stage]:.3f}" for stage in names) + f" | {elapsed:.3f} |")
PY
