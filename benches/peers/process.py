"""Time and peak memory of a whole process with its descendants, within a limit. Needs Linux."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05
PAGE = os.sysconf("SC_PAGE_SIZE")
# What a process says that had no memory, in one of its languages.
OUT_OF_MEMORY = re.compile(
    rb"MemoryError|Out ?Of ?Memory|memory allocation of \d+ bytes failed|Cannot allocate memory|Unable to allocate",
    re.IGNORECASE)


@dataclass
class Outcome:
    seconds: float
    # Bytes.
    peak: int
    # Why there is no result; empty if there is one.
    trouble: str


def run(command, out, err, limit, environment):
    """Runs a command to its end, or for so many seconds; what it prints goes to the files `out` and `err`.

    The peak is the greater of what the kernel says of the process and of the sum over it and its descendants, which is
    read twenty times a second; pages that two of them share count twice in the sum.
    """
    with open(out, "wb") as output, open(err, "wb") as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment,
                                 start_new_session=True, preexec_fn=dies_first)
        try:
            peak, is_late = watched(child.pid, start + limit)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - start
        except BaseException:
            # Whoever stops us stops also what we started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
    child.returncode = os.waitstatus_to_exitcode(status)
    # Descendants that outlive the process would share the machine with the next one.
    stop(child.pid)
    # ru_maxrss counts KiB.
    return Outcome(seconds, max(peak, usage.ru_maxrss * 1024), trouble(child.returncode, is_late, limit, err))


def dies_first():
    """Asks the kernel to end this process, and none of another, if the machine runs out of memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def watched(pid, until):
    """Waits for a process, or stops it then; the greatest sum of its and its descendants' memory, and which it was."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        peak = 0
        while not poll.poll(POLL_SECONDS * 1000):
            peak = max(peak, memory(pid))
            if time.perf_counter() > until:
                os.killpg(pid, signal.SIGKILL)
                return peak, True
        return peak, False
    finally:
        os.close(descriptor)


def memory(pid):
    """Resident bytes of a process and its descendants."""
    total, waiting = 0, [pid]
    while waiting:
        folder = Path("/proc", str(waiting.pop()))
        try:
            total += int((folder / "statm").read_text().split()[1]) * PAGE
            for task in (folder / "task").iterdir():
                waiting += (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            # It ended while we looked.
            continue
    return total


def stop(group):
    """Ends a process group, and waits until it is gone."""
    for _ in range(100):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def trouble(code, is_late, limit, err):
    if is_late:
        return f"> {limit:g} s"
    if code == 0:
        return ""
    # The kernel's way to take memory back is this signal; nobody else sends it.
    if code == -signal.SIGKILL or OUT_OF_MEMORY.search(Path(err).read_bytes()):
        return "out of memory"
    return f"failed: {signal.Signals(-code).name}" if code < 0 else f"failed: exit code {code}"
