"""Starts Azurite's Blob service, the emulator of Azure Storage that Microsoft publishes on npm.

    python tests/components/azurite.py install FOLDER
    python tests/components/azurite.py serve FOLDER [--cert PEM --key PEM]

`install` fills FOLDER once, with npm; a second call finds it whole and fetches nothing. Only the standard library of Python
is used, and no install script of a package runs.

`serve` prints "ready PORT", serves on 127.0.0.1 until it gets SIGTERM or its parent ends, and holds everything in memory.
The accounts are in AZURITE_ACCOUNTS ("name:key"). With a certificate it serves HTTPS and takes bearer tokens too, of which
it checks the claims but not the signature. It has the Blob API only, which is all that we use.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

VERSION = "3.35.0"
PROGRAM = "node_modules/azurite/dist/src/blob/main.js"
READY = re.compile(r"successfully listens on https?://127\.0\.0\.1:(\d+)")


def install(folder: Path) -> None:
    if (folder / "complete").exists():
        return
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed; on Debian or Ubuntu: apt-get install nodejs npm")
    print(f"installing azurite {VERSION} into {folder}", file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place and moved there when whole: who finds the folder finds all of it.
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        fresh = scratch / "fresh"
        fresh.mkdir()
        command = ["npm", "install", "--prefix", str(fresh), "--ignore-scripts", "--no-audit", "--no-fund"]
        command += ["--loglevel", "error", "--save-exact", f"azurite@{VERSION}"]
        if subprocess.run(command, stdout=sys.stderr).returncode != 0 or not (fresh / PROGRAM).exists():
            sys.exit(f"azurite {VERSION} cannot be installed, see above; is a registry of npm reachable?")
        (fresh / "complete").touch()
        if folder.exists() and not (folder / "complete").exists():
            os.rename(folder, scratch / "broken")
        try:
            os.rename(fresh, folder)
        except OSError:
            # A call at the same time may have been faster; then ours is dropped.
            if not (folder / "complete").exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def serve(folder: Path, cert: str | None, key: str | None) -> None:
    command = ["node", str(folder.absolute() / PROGRAM), "--blobHost", "127.0.0.1", "--blobPort", "0"]
    command += ["--inMemoryPersistence", "--disableTelemetry", "--silent", "--skipApiVersionCheck"]
    if cert:
        command += ["--oauth", "basic", "--cert", os.path.abspath(cert), "--key", os.path.abspath(key)]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()
    with tempfile.TemporaryDirectory(prefix="azurite.") as scratch:
        server = subprocess.Popen(command, cwd=scratch, stdout=subprocess.PIPE, text=True)
        try:
            # On its own thread, for a pipe that nobody reads would stop it one day.
            threading.Thread(target=announce, args=(server.stdout,), daemon=True).start()
            while not stop.wait(timeout=0.2) and os.getppid() == parent and server.poll() is None:
                pass
        finally:
            status = server.poll()
            server.kill()
            server.wait()
    if status is not None:
        sys.exit(f"azurite ended by itself, with status {status}")


def announce(lines) -> None:
    for line in lines:
        found = READY.search(line)
        if found:
            print("ready", found.group(1), flush=True)
        else:
            print(line, end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install").add_argument("folder", type=Path)
    serving = commands.add_parser("serve")
    serving.add_argument("folder", type=Path)
    serving.add_argument("--cert", help="PEM certificate: serves HTTPS")
    serving.add_argument("--key", help="PEM key of the certificate")
    options = parser.parse_args()
    if options.command == "install":
        install(options.folder)
    elif bool(options.cert) != bool(options.key):
        parser.error("--cert and --key belong together")
    else:
        serve(options.folder, options.cert, options.key)


if __name__ == "__main__":
    main()
