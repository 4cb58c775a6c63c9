"""A contact sheet: one batch as a picture to look at, every camera of every sample over its instruction."""
# Legend: B samples, C camera slots, S picture rows and columns.

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.batch import Batch

_COLUMNS = 4
_GAP = 8
_LINES = 4
_FONT_SIZE = 13
_PAPER, _INK, _FAINT = (250, 250, 247), (30, 30, 30), (205, 205, 200)


def contact_sheet(batch: Batch, *, slots: tuple[str, ...], titles: tuple[str, ...], cell: int = 112) -> Image.Image:
    """One tile a sample: its title, its cameras side by side (a faint box where one is absent), its instruction.

    `slots` names the C camera slots, `titles` the components by index; `cell` is a picture's side in pixels.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    line = _FONT_SIZE + 4
    num_slots = batch.images.shape[1]
    width, height = num_slots * cell + 2 * _GAP, cell + (_LINES + 2) * line + 2 * _GAP
    rows = -(-len(batch) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * width, rows * height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    characters = int((width - 2 * _GAP) / (_FONT_SIZE * 0.52))
    for number in range(len(batch)):
        left, top = number % _COLUMNS * width + _GAP, number // _COLUMNS * height + _GAP
        draw.text((left, top), titles[batch.components[number]][:characters], _INK, font)
        for slot in range(num_slots):
            place = (left + slot * cell, top + line)
            if batch.image_mask[number, slot]:
                picture = Image.fromarray(np.ascontiguousarray(batch.images[number, slot]))
                sheet.paste(picture.resize((cell - 2, cell - 2), Image.Resampling.BILINEAR), place)
            else:
                draw.rectangle((*place, place[0] + cell - 3, place[1] + cell - 3), outline=_FAINT)
                draw.text((place[0] + 6, place[1] + cell // 2 - line), f"no {slots[slot]}", _FAINT, font)
        lines = textwrap.wrap(f"“{batch.prompts[number]}”", characters, max_lines=_LINES, placeholder=" …")
        draw.multiline_text((left, top + line + cell + 2), "\n".join(lines), _INK, font)
    return sheet


def save_contact_sheet(batch: Batch, path: Path, *, slots: tuple[str, ...], titles: tuple[str, ...]) -> None:
    """Write the sheet as a PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    contact_sheet(batch, slots=slots, titles=titles).save(part, format="PNG")
    part.replace(path)
