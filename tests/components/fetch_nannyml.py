"""The data sets of the package `nannyml`, for stories about models whose drift begins at a known moment.

    python tests/components/fetch_nannyml.py DEST

Fills the folder DEST once: a second call finds it whole and fetches nothing. The wheel comes from the package index that
pip knows, in one version and with one digest; nothing of it is installed or run. Only the standard library is used.

The package is Apache-2.0 (https://github.com/NannyML/nannyml), its licence is put beside the data. The three data sets
are synthetic. Each has a reference part with labels, an analysis part without, and the labels of the latter by `id`:

    car loan   binary classification          50,000 + 50,000 rows   2018-01-01 to 2019-08-29
    car price  regression                     60,000 + 60,000 rows   2017-01-24 to 2017-03-11
    card       classification, three classes  60,000 + 60,000 rows   2020-05-02 to 2021-01-01
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "0.13.1"
SHA256 = "cf5f4a33489834ae6773cb1baa33a0f98c0a3ee6ed9b43049478b25ce22fe869"

LICENCE = f"nannyml-{VERSION}.dist-info/LICENSE"
DATA = "nannyml/datasets/data/"
FILES = [
    "synthetic_car_loan_reference.csv",
    "synthetic_car_loan_analysis.csv",
    "synthetic_car_loan_analysis_target.csv",
    "regression_synthetic_reference.csv",
    "regression_synthetic_analysis.csv",
    "regression_synthetic_analysis_targets.csv",
    "mc_reference.csv",
    "mc_analysis.csv",
    "mc_analysis_gt.csv",
]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: fetch_nannyml.py DEST")
    destination = Path(sys.argv[1])
    if is_whole(destination):
        return
    print(f"fetching the data sets of nannyml {VERSION} into {destination}", file=sys.stderr)
    destination.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place and moved there when whole: who finds the folder finds all of it.
    scratch = Path(tempfile.mkdtemp(prefix=f"{destination.name}.", dir=destination.parent))
    try:
        wheel = download(scratch / "wheel")
        fresh = scratch / "fresh"
        extract(wheel, fresh)
        if destination.exists() and not is_whole(destination):
            os.rename(destination, scratch / "broken")
        try:
            os.rename(fresh, destination)
        except OSError:
            # A call at the same time may have been faster; then ours is dropped.
            if not is_whole(destination):
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether the folder holds what `extract` wrote: `SHA256SUMS` is written last and names everything."""
    try:
        lines = (folder / "SHA256SUMS").read_text().splitlines()
        sums = dict(reversed(line.split("  ", 1)) for line in lines)
        return set(sums) == {*FILES, "LICENSE"} and all(digest(folder / name) == sums[name] for name in sums)
    except (OSError, ValueError):
        return False


def download(folder: Path) -> Path:
    """Fetches the wheel; pip refuses another digest."""
    folder.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(f"nannyml=={VERSION} --hash=sha256:{SHA256}\n")
    # Its code does not run here, so neither its dependencies nor the Python that it asks for matter.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--retries", "1", "download"]
    command += ["--quiet", "--no-deps", "--ignore-requires-python", "--only-binary", ":all:", "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    result = subprocess.run(command, stdout=sys.stderr)
    wheels = list(folder.glob("nannyml-*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        sys.exit(f"nannyml {VERSION} cannot be downloaded, see above; is a Python package index reachable (PIP_INDEX_URL)?")
    return wheels[0]


def extract(wheel: Path, folder: Path) -> None:
    folder.mkdir()
    sums = []
    with zipfile.ZipFile(wheel) as archive:
        for member, name in [(LICENCE, "LICENSE"), *((DATA + name, name) for name in FILES)]:
            with archive.open(member) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            sums.append(f"{digest(folder / name)}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(sums))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
