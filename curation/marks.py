"""A drawing of boxes and texts, written as a PNG, an SVG or an HTML page. The same marks give all three."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from schema.errors import ConfigError

_SCALE = 2
"""Pixels of a PNG for each unit of the drawing."""
_BUILT_IN = frozenset(map(chr, range(32, 127))) | {"·", "…"}
"""What the font that comes with Pillow can show; for other texts a system font is looked for."""
_SYSTEM_FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")
_FAMILY = "Aileron, Inter, 'Helvetica Neue', Arial, sans-serif"
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A filled rectangle; x and y are its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    radius: float = 0
    title: str = ""
    """Shown where the pointer rests on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """A line of text; y is its baseline."""

    x: float
    y: float
    text: str
    size: int = 13
    fill: str = "#1f2430"
    anchor: Literal["start", "middle", "end"] = "start"
    is_bold: bool = False


Mark = Box | Label


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """Marks on a sheet of so many units, later ones above earlier ones."""

    title: str
    width: int
    height: int
    paper: str
    marks: Sequence[Mark]

    def save(self, path: Path) -> None:
        """Write it whole, as the suffix says; ConfigError where it says none of .png, .svg and .html."""
        writers = {".png": _save_png, ".svg": _save_svg, ".html": _save_html}
        if path.suffix not in writers:
            raise ConfigError(f"found a picture's name that ends in {path.suffix!r}: end it in .png, .svg or .html")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        writers[path.suffix](self, part)
        part.replace(path)


def text_width(text: str, size: int) -> float:
    """How wide a text is in units, about."""
    return _font(size, text).getlength(text)


def fitted(text: str, size: int, width: float) -> str:
    """The text, cut with an ellipsis where it is wider; empty where hardly a letter fits."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…" if len(text) > 2 else ""


def _font(size: int, text: str) -> FreeTypeFont:
    return _built_in(size) if _BUILT_IN.issuperset(text) else _system(size)


@cache
def _built_in(size: int) -> FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, FreeTypeFont)
    return font


@cache
def _system(size: int) -> FreeTypeFont:
    """A font for other scripts, a little smaller since these run wide; the built-in one where there is none."""
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, round(size * 0.92))
        except OSError:
            continue
    return _built_in(size)


def _save_png(drawing: Drawing, path: Path) -> None:
    image = Image.new("RGB", (drawing.width * _SCALE, drawing.height * _SCALE), drawing.paper)
    pen = ImageDraw.Draw(image)
    for mark in drawing.marks:
        left, top = mark.x * _SCALE, mark.y * _SCALE
        if isinstance(mark, Box):
            right, bottom = left + mark.width * _SCALE - 1, top + mark.height * _SCALE - 1
            if right >= left and bottom >= top:
                radius = min(mark.radius * _SCALE, (right - left) / 2, (bottom - top) / 2)
                pen.rounded_rectangle((left, top, right, bottom), radius, mark.fill)
        else:
            bold = mark.size * _SCALE / 60 if mark.is_bold else 0
            font = _font(mark.size * _SCALE, mark.text)
            pen.text((left, top), mark.text, mark.fill, font, _ANCHORS[mark.anchor], stroke_width=bold)
    image.save(path, format="PNG", optimize=True)


def _svg(drawing: Drawing) -> str:
    size = f'width="{drawing.width}" height="{drawing.height}" viewBox="0 0 {drawing.width} {drawing.height}"'
    paper = Box(x=0, y=0, width=drawing.width, height=drawing.height, fill=drawing.paper)
    shapes = "\n".join(map(_element, (paper, *drawing.marks)))
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FAMILY}">\n{shapes}\n</svg>\n'


def _element(mark: Mark) -> str:
    if isinstance(mark, Label):
        weight = ' font-weight="600"' if mark.is_bold else ""
        place = f'x="{mark.x:.1f}" y="{mark.y:.1f}" font-size="{mark.size}" text-anchor="{mark.anchor}"'
        return f'<text {place} fill="{mark.fill}"{weight}>{escape(mark.text)}</text>'
    place = f'x="{mark.x:.1f}" y="{mark.y:.1f}" width="{max(mark.width, 0):.1f}" height="{max(mark.height, 0):.1f}"'
    title = f"<title>{escape(mark.title)}</title>" if mark.title else ""
    return f'<rect {place} rx="{mark.radius}" fill="{mark.fill}">{title}</rect>'


def _save_svg(drawing: Drawing, path: Path) -> None:
    path.write_text(_svg(drawing), encoding="utf-8")


def _save_html(drawing: Drawing, path: Path) -> None:
    head = f'<meta charset="utf-8"><title>{escape(drawing.title)}</title>'
    style = f"<style>body{{margin:0;background:{drawing.paper};display:flex;justify-content:center}}</style>"
    path.write_text(f"<!doctype html>{head}{style}\n{_svg(drawing)}", encoding="utf-8")
