"""What `benchmarks/peers.py` found, as a Markdown table and as a picture."""

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

WORKERS = (0, 2)
OURS, PEER, LIMIT = "#1f6f8b", "#9aa5b1", "#d9c27c"
WIDTH, LEFT, ROW, TOP = 1200, 250, 66, 96
"""Of the picture, in pixels: the whole, the names, a reader's two bars, the head."""


def table(rows: list[dict[str, Any]]) -> str:
    """Speed, then the rest; a reader that failed is named below with the reason."""
    heads = ["reader"]
    for workers in WORKERS:
        heads += [f"samples/s, {workers} workers", "of the limit", "CPU a sample"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    measured = [row for row in rows if all(f"at_{workers}" in row for workers in WORKERS)]
    for row in sorted(measured, key=lambda row: -row["at_2"]["ratio"]):
        cells = [row["title"]]
        for workers in WORKERS:
            at = row[f"at_{workers}"]
            cells += [f"{at['rate']:,.0f}", _range(at["ratio"], at["ratio_range"])]
            cells += [f"{_range(at['cpu_ratio'], at['cpu_range'])} ×"]
        lines.append(_line(cells))
    heads = ["reader", "first batch, s", "resumed after, s", "the batch due", "memory, MB", "of it files", "disk, MB"]
    lines += ["", _line([*heads, "written samples/s"]), _line(["---"] * (len(heads) + 1))]
    lines += [_line(_rest(row)) for row in measured]
    lines += ["", *(f"- {row['title']} is left out: {row['failed']}" for row in rows if row["failed"])]
    return "\n".join(lines)


def _rest(row: dict[str, Any]) -> list[str]:
    """Cells of the second table; "a / b" is with 0 and with 2 workers."""
    resumes = [row["resume_s"].get(workers) for workers in WORKERS]
    due = [
        "–" if time is None else "yes" if row["exact"][workers] else "no"
        for workers, time in zip(WORKERS, resumes, strict=True)
    ]
    return [
        row["title"],
        " / ".join(f"{row['first_batch_s'][workers]:.2f}" for workers in WORKERS),
        " / ".join("–" if time is None else f"{time:.2f}" for time in resumes),
        " / ".join(due),
        " / ".join(f"{row['pss'].get(workers, 0) / 1e6:,.0f}" for workers in WORKERS),
        " / ".join(f"{row['pss_file'].get(workers, 0) / 1e6:,.0f}" for workers in WORKERS),
        f"{row['disk_bytes'] / 1e6:,.0f}",
        f"{row['write_rate']:,.0f}" if row["write_rate"] else "–",
    ]


def _range(middle: float, ends: tuple[float, float]) -> str:
    return f"{middle:.2f} ({ends[0]:.2f}–{ends[1]:.2f})"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Two panels of bars, speed and samples per processor second, each as a share of the bare loop in its round."""
    shown = [row for row in rows if all(f"at_{workers}" in row for workers in WORKERS)]
    shown.sort(key=lambda row: -row["at_2"]["ratio"])
    picture = Image.new("RGB", (WIDTH, TOP + ROW * len(shown) + 40), "white")
    draw = ImageDraw.Draw(picture)
    draw.text(
        (20, 14),
        "Samples of three JPEGs of 224 x 224 and 50 actions, as a share of bare JPEG decoding",
        "black",
        _font(22),
    )
    panel = (WIDTH - LEFT - 150) // 2
    for number, title in enumerate(("speed (samples a second)", "thrift (samples a processor second)")):
        left = LEFT + number * (panel + 90)
        draw.text((left, 54), title, "black", _font(18))
        for percent in (0, 50, 100):
            x = left + panel * percent // 110
            draw.line((x, TOP - 6, x, TOP + ROW * len(shown)), "#e3e6ea", 1)
            draw.text((x - 14, TOP + ROW * len(shown) + 6), f"{percent} %", "#555555", _font(14))
        for place, row in enumerate(shown):
            _bars(draw, row, left=left, top=TOP + place * ROW, panel=panel, by_cpu=number == 1)
    for place, row in enumerate(shown):
        draw.text((20, TOP + place * ROW + 16), row["title"], "black", _font(19))
    draw.text((20, TOP + ROW * len(shown) + 6), "upper bar: 0 workers, lower: 2", "#555555", _font(14))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)


def _bars(draw: ImageDraw.ImageDraw, row: dict[str, Any], *, left: int, top: int, panel: int, by_cpu: bool) -> None:
    colour = {"robomix": OURS, "bare_loop": LIMIT}.get(row["name"], PEER)
    for place, workers in enumerate(WORKERS):
        at = row[f"at_{workers}"]
        share = 1 / at["cpu_ratio"] if by_cpu else at["ratio"]
        y = top + 8 + place * 25
        end = left + max(1, round(panel * share / 1.1))
        draw.rectangle((left, y, end, y + 20), colour)
        text = f"{share:.0%}" if by_cpu else f"{share:.0%} · {at['rate']:,.0f}/s"
        draw.text((end + 6, y + 1), text, "black", _font(15))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
