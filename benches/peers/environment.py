"""Environments of pinned packages, one per list of requirements and Python, as `tests/run` makes them."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path


def python_with(requirements):
    """The Python of an environment with these packages; None if they cannot be installed, which is said."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limnograph"
    version = subprocess.run([sys.executable, "-VV"], stdout=subprocess.PIPE, check=True).stdout
    made = cache / f"venv-{hashlib.sha256(version + requirements.read_bytes()).hexdigest()[:16]}"
    python = made / "bin" / "python"
    if os.access(python, os.X_OK):
        return python
    print(f"peers: installing {requirements.name} into {made}", file=sys.stderr, flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    # One whose Python is gone can only be in the way.
    shutil.rmtree(made, ignore_errors=True)
    # Made beside its place and moved there when complete, so that a stopped run leaves no half of one.
    fresh = made.with_name(f"{made.name}.{os.getpid()}")
    try:
        install = [fresh / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        for command in ([sys.executable, "-m", "venv", fresh], [*install, "--quiet", "--requirement", requirements]):
            if subprocess.run(command, stdout=sys.stderr).returncode:
                print(f"peers: {requirements.name} cannot be installed; is a Python package index reachable "
                      "(PIP_INDEX_URL)?", file=sys.stderr, flush=True)
                return None
        try:
            fresh.rename(made)
        except OSError:
            # A run at the same time may have been faster; then ours is dropped.
            if not os.access(python, os.X_OK):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return python
