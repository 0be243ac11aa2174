"""Limnograph and its peers on the same Parquet files, side by side in one run; writes a Markdown table.

    run.py [SIZES…] [--peers A,B] [--rounds N] [--limit SECONDS] [--seed N] [--output FILE]

A size is a number of rows (of 20 columns), ROWSxCOLUMNS, or `wide`, which is 100000x1000. LIMNO_BENCH_BIN names the
folder of the programs `limno` and `bench-compare`; `benches/peers.sh` builds them and says where they are. What is
compared, and by which rules, stands in README.md beside this file.

Needs Linux, and of Python the standard library only. What it installs for the peers, it keeps in the cache folder.
"""

import argparse
import datetime
import json
import os
import random
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import environment
import process

HERE = Path(__file__).resolve().parent
WIDE = "100000x1000"
COLUMNS = 20
# A contender whose warm-up takes more of the limit than this is measured once.
SLOW = 0.1
# Of a generated file.
BYTES_A_VALUE = 5
# Peers that tell their makers of each use must not do so from here.
QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "WHYLOGS_NO_ANALYTICS": "True"}

FLOOR, RUN, OURS = "scan-and-drop", "limno run", "limno compare"
RUN_COMPUTES = [
    "a monitor of the one file with the other as its baseline, from nothing: all that limno compare computes, distinct values "
    "estimated above 4,096; the states and both tables written as Delta, rules and alerts looked at",
]
OURS_COMPUTES = [
    "count, nulls, NaN, zeros, min, max, mean, stddev, skewness, exact distinct, a thousand quantiles, lengths, "
    "100 most frequent",
    "numbers: PSI, KS, Wasserstein, Cramér–von Mises, with bounds and p-values; JS, Hellinger, KL",
    "text: PSI and χ² with p, JS, TV, L∞, Hellinger, KL, Cramér's V, unseen share",
]


@dataclass
class Peer:
    """A script beside this file, and the packages that it runs with."""

    script: str
    requirements: str
    # More are not asked of libraries that hold a table in memory.
    most_rows: int = 10_000_000


PEERS = {
    "duckdb": Peer("duckdb_sql.py", "duckdb.txt", sys.maxsize),
    "polars": Peer("polars_numpy.py", "polars.txt", sys.maxsize),
    "pyspark": Peer("pyspark_sql.py", "pyspark.txt"),
    "whylogs": Peer("whylogs_profile.py", "whylogs.txt"),
    "popmon": Peer("popmon_metrics.py", "popmon.txt"),
    "scouter-drift": Peer("scouter_drift.py", "scouter-ml.txt"),
    "scouter-profile": Peer("scouter_profile.py", "scouter-ml.txt"),
    "nannyml": Peer("nannyml_drift.py", "nannyml.txt"),
    "evidently": Peer("evidently_report.py", "evidently.txt"),
}


@dataclass
class Size:
    rows: int
    columns: int

    def __str__(self):
        return f"{self.rows:,} rows × {self.columns:,} columns"


@dataclass
class Contender:
    name: str
    # With the two files; empty if it cannot run.
    command: list
    version: str = ""
    computes: list = field(default_factory=list)
    # Why it has no time.
    trouble: str = ""
    # In short, and in full.
    agrees: str = ""
    differences: str = ""
    rounds: int = 0
    seconds: list = field(default_factory=list)
    # Bytes.
    peak: int = 0

    @property
    def median(self):
        return statistics.median(self.seconds) if self.seconds else None


def main():
    arguments = parse()
    for program in ("limno", "bench-compare"):
        if not os.access(arguments.binaries / program, os.X_OK):
            sys.exit(f"run.py: LIMNO_BENCH_BIN has no program {program}")
    # So that the scratch folder and what runs are cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    pythons = {name: environment.python_with(HERE / "requirements" / PEERS[name].requirements)
               for name in arguments.peers}
    report = [heading()]
    # What took too long or too much once is not asked for more rows: {(name, columns): (rows, trouble)}.
    given_up = {}
    with tempfile.TemporaryDirectory(prefix="limnograph-peers.") as scratch:
        for size in arguments.sizes:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                report.append(section(arguments, size, pythons, Path(folder), given_up))
    text = "\n".join(report)
    print(text, end="")
    if arguments.output:
        Path(arguments.output).write_text(text)


def parse():
    parser = argparse.ArgumentParser(prog="benches/peers.sh", description="Limnograph and its peers on the same files.")
    parser.add_argument("sizes", nargs="*", default=["1000000"], help="rows, ROWSxCOLUMNS, or wide (default 1000000)")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"which, with commas (default {','.join(PEERS)})")
    parser.add_argument("--rounds", type=int, default=5, help="after the one that warms up (default 5)")
    parser.add_argument("--limit", type=float, default=600, help="seconds that a process may take (default 600)")
    parser.add_argument("--seed", type=int, default=1, help="of the order in each round (default 1)")
    parser.add_argument("--output", help="a file for the tables; they go to standard output too")
    arguments = parser.parse_args()
    arguments.sizes = [size_of(parser, word) for word in arguments.sizes]
    arguments.peers = [name for name in arguments.peers.split(",") if name]
    for name in arguments.peers:
        if name not in PEERS:
            parser.error(f"no peer is called {name}; there are {', '.join(PEERS)}")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not os.environ.get("LIMNO_BENCH_BIN"):
        parser.error("LIMNO_BENCH_BIN names no folder with limno and bench-compare")
    arguments.binaries = Path(os.environ["LIMNO_BENCH_BIN"]).resolve()
    return arguments


def size_of(parser, word):
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", WIDE if word == "wide" else word)
    if not match or not int(match[1]) or match[2] == "0":
        parser.error(f"{word} is no size: rows, ROWSxCOLUMNS, or wide")
    return Size(int(match[1]), int(match[2] or COLUMNS))


def section(arguments, size, pythons, folder, given_up):
    """Runs all contenders on one size; the Markdown of what came out."""
    needed = 2 * size.rows * size.columns * BYTES_A_VALUE
    if shutil.disk_usage(folder).free < needed:
        return f"### {size} a side\n\nNot run: the files need about {mebibytes(needed)} of disk.\n"
    say(f"generating {size}")
    made = ["generate", folder, str(size.rows)]
    if size.columns != COLUMNS:
        made = ["generate-wide", folder, str(size.rows), str(size.columns)]
    subprocess.run([arguments.binaries / "bench-compare", *made], check=True, stdout=sys.stderr)
    files = [folder / "a.parquet", folder / "b.parquet"]

    contenders = contenders_of(arguments, size, pythons, files, given_up)
    order = random.Random(arguments.seed)
    for contender in contenders:
        if contender.command:
            warm_up(contender, size, arguments, folder, given_up)
    scanned = first_line(folder / f"{FLOOR}.out")
    for number in range(1, arguments.rounds + 1):
        running = [contender for contender in contenders if number <= contender.rounds]
        order.shuffle(running)
        for contender in running:
            outcome = once(contender, arguments.limit, folder)
            say(f"{size}, round {number}: {contender.name} {outcome.trouble or f'{outcome.seconds:.3f} s'}")
            if outcome.trouble:
                contender.trouble, contender.rounds = f"{outcome.trouble} in round {number}", 0
            else:
                contender.seconds.append(outcome.seconds)
                contender.peak = max(contender.peak, outcome.peak)

    sizes = " + ".join(mebibytes(file.stat().st_size) for file in files)
    lines = [f"### {size} a side", "",
             f"Parquet (zstd), {sizes}{f'; scan-and-drop says: {scanned}' if scanned else ''}.", "", *table(contenders)]
    return "\n".join(lines) + "\n"


def contenders_of(arguments, size, pythons, files, given_up):
    ours = subprocess.run([arguments.binaries / "limno", "--version"], stdout=subprocess.PIPE, text=True, check=True)
    version = ours.stdout.split()[-1]
    config = files[0].parent / "limno.toml"
    config.write_text(f'''[monitor.m]
table = "{files[1]}"
baseline = "{files[0]}"
output = "{files[0].parent / "monitoring"}"
[monitor.m.snapshot]
''')
    contenders = [
        Contender(FLOOR, [arguments.binaries / "bench-compare", "scan", *files], version,
                  ["nothing: decodes every column of both files"]),
        Contender(RUN, [arguments.binaries / "limno", "-c", config, "run"], version, RUN_COMPUTES),
        Contender(OURS, [arguments.binaries / "limno", "compare", *files, "--format", "json"], version, OURS_COMPUTES),
    ]
    for name in arguments.peers:
        peer, python = PEERS[name], pythons[name]
        contender = Contender(name, [python, HERE / peer.script, *files])
        if python is None:
            contender.trouble = "not installable here"
        elif size.rows > peer.most_rows:
            contender.trouble = f"not asked for more than {peer.most_rows:,} rows"
        contenders.append(contender)
    for contender in contenders:
        rows, trouble = given_up.get((contender.name, size.columns), (sys.maxsize, ""))
        if size.rows > rows and not contender.trouble:
            contender.trouble = f"not run: {trouble} at {rows:,} rows"
        if contender.trouble:
            contender.command = []
    return contenders


def warm_up(contender, size, arguments, folder, given_up):
    """One run that warms the page cache, shows what is computed, and tells how many rounds there will be."""
    outcome = once(contender, arguments.limit, folder)
    say(f"{size}, warm-up: {contender.name} {outcome.trouble or f'{outcome.seconds:.3f} s'}")
    out = folder / f"{contender.name}.out"
    if outcome.trouble:
        contender.trouble, contender.peak = outcome.trouble, outcome.peak
        if outcome.trouble.startswith("failed"):
            print((folder / f"{contender.name}.err").read_text(errors="replace")[-2000:], file=sys.stderr)
        else:
            given_up[contender.name, size.columns] = size.rows, outcome.trouble
        return
    contender.rounds = arguments.rounds if outcome.seconds <= SLOW * arguments.limit else 1
    if contender.name in (FLOOR, RUN, OURS):
        return
    try:
        document = json.loads(out.read_text())
    except ValueError:
        contender.trouble, contender.rounds = "failed: it printed no document", 0
        return
    contender.version, contender.computes = document["version"], document["computed"]
    compared = subprocess.run([sys.executable, HERE / "agreement.py", folder / f"{OURS}.out", out],
                              stdout=subprocess.PIPE, text=True)
    lines = ["unknown", ""] if compared.returncode else compared.stdout.splitlines()
    contender.agrees, contender.differences = lines


def once(contender, limit, folder):
    temporary = folder / "tmp"
    temporary.mkdir()
    # A refresh finds no tables of an earlier one.
    shutil.rmtree(folder / "monitoring", ignore_errors=True)
    # All that a contender writes goes beside the data, and is gone before the next one starts.
    variables = {**os.environ, **QUIET, "TMPDIR": str(temporary)}
    try:
        return process.run(contender.command, folder / f"{contender.name}.out", folder / f"{contender.name}.err", limit,
                           variables)
    finally:
        shutil.rmtree(temporary)


def first_line(path):
    return next(iter(path.read_text().splitlines()), "") if path.exists() else ""


def say(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


# What is written.


def heading():
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    words = shlex.join(["benches/peers.sh", *sys.argv[1:]])
    return "\n".join([
        f"{datetime.date.today()}, `{words}`, {len(os.sched_getaffinity(0))} cores of "
        f"{model[1] if model else 'an unknown processor'}, {memory / 2**30:.0f} GiB of memory, Python "
        f"{'.'.join(map(str, sys.version_info[:3]))}.", ""])


def table(contenders):
    """The times, and under them what was computed for them."""
    medians = {contender.name: contender.median for contender in contenders}
    lines = ["| contender | version | median | min – max | × scan | × limno run | × limno compare | peak memory | agrees |",
             "|---|---|---|---|---|---|---|---|---|"]
    for contender in contenders:
        median, spread, ratios = contender.trouble, "", ["", "", ""]
        if contender.seconds and not contender.trouble:
            median, spread = seconds(contender.median), "one round"
            if len(contender.seconds) > 1:
                spread = f"{seconds(min(contender.seconds))} – {seconds(max(contender.seconds))}"
            ratios = [f"{contender.median / medians[name]:.3g}" if medians[name] else "" for name in (FLOOR, RUN, OURS)]
        peak = mebibytes(contender.peak) if contender.peak else ""
        cells = [contender.name, contender.version, median, spread, *ratios, peak, contender.agrees]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for contender in contenders:
        if contender.computes:
            beside = f". Beside limno: {contender.differences}" if contender.differences else ""
            lines.append(f"- **{contender.name}**: {'; '.join(contender.computes)}{beside}.")
    return lines


def seconds(value):
    return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"


def mebibytes(count):
    return f"{count / 2**20:,.0f} MiB"


if __name__ == "__main__":
    main()
