"""Counts the instructions of kernels and of a small `limno compare` under valgrind, and holds them against those recorded.

    instructions.py BIN [--record]

BIN is the folder of the release programs; `benches/instructions.sh` builds them. Counts do not depend on what else the
machine does, so they are compared where times would not be; they do depend on the compiler, which `instructions.json`
names. Exits with 1 if one is further above its record than its tolerance; what has fallen is told, and recorded by
`--record`. Needs valgrind.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "instructions.json"
# Of one thread on the same values little but the compiler moves a count: hash tables are seeded anew. Several threads meet
# in no fixed order. Kernels are compiled twice; valgrind has the instructions of AVX2, and with those the faster ones run.
TOLERANCE = {"kernel": 0.02, "process": 0.05}
COMPARE_ROWS = 20_000


def instructions(command, within=None):
    """What valgrind counts in a process, or within one function of it."""
    counter = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    if within:
        counter += [f"--toggle-collect={within}"]
    # One worker: those that find nothing to do would count while they look for it.
    alone = {**os.environ, "TOKIO_WORKER_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(counter + command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=alone)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found or int(found[1]) == 0:
        sys.exit(f"{' '.join(command)}: nothing was counted\n{done.stderr}")
    return int(found[1])


def counted(folder):
    """A line at a time: name, kind, instructions."""
    program = str(folder / "bench-instructions")
    for name in subprocess.run([program], check=True, capture_output=True, text=True).stdout.split():
        yield name, "kernel", instructions([program, name], "*bench_instructions::measured*")
    with tempfile.TemporaryDirectory() as data:
        subprocess.run([str(folder / "bench-compare"), "generate", data, str(COMPARE_ROWS)], check=True)
        sides = [f"{data}/a.parquet", f"{data}/b.parquet"]
        yield "compare", "process", instructions([str(folder / "limno"), "compare", *sides, "--format", "json"])


def main():
    arguments = sys.argv[1:]
    records = "--record" in arguments
    folders = [argument for argument in arguments if argument != "--record"]
    if len(folders) != 1:
        sys.exit(__doc__)
    compiler = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {"compiler": None, "instructions": {}}
    if known["compiler"] != compiler and not records:
        print(f"recorded with {known['compiler']}, this is {compiler}: differences may be the compiler's")
    now, worse = {}, []
    print("| what | recorded | now | change |\n|---|---|---|---|")
    for name, kind, count in counted(Path(folders[0])):
        now[name] = count
        before = known["instructions"].get(name)
        change = "new" if before is None else f"{(count / before - 1) * 100:+.2f} %"
        print(f"| {name} | {before or '':,} | {count:,} | {change} |" if before else f"| {name} | | {count:,} | new |")
        if before is None or count > before * (1 + TOLERANCE[kind]):
            worse.append(name)
    if records:
        RECORD.write_text(json.dumps({"compiler": compiler, "instructions": now}, indent=2) + "\n")
    elif worse:
        sys.exit(f"more instructions than recorded, or not recorded: {', '.join(worse)}; see benches/instructions.py")


if __name__ == "__main__":
    main()
