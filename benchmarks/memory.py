"""What a process takes of the machine's memory."""

from pathlib import Path


def pss_mb(pages: str = "Pss") -> float:
    """This process's proportional set size in MB: its own pages, and its part of those that it shares.

    `Pss_Anon` is of what it has allocated alone: pages of files come and go as the system and other processes please.
    """
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{pages}:")) / 1024
