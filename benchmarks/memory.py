"""What a process takes of the machine's memory."""

from pathlib import Path


def pss_mb() -> float:
    """This process's proportional set size in MB: its own pages, and its part of those that it shares."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
