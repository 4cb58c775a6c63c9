"""Templates of paths are filled in and do nothing else."""

import pytest

from ingest.formats.path_template import filled


def test_numbers_are_padded_and_words_put_in():
    assert filled("data/{chunk:03d}/{key}_{index}.mp4", chunk=7, key="top", index=12) == "data/007/top_12.mp4"


@pytest.mark.parametrize("template", ["{a:1000000000d}", "{a:100}", "{a.__class__}", "{a[0]}", "{b}", "{a:{a}}", "{a"])
def test_what_asks_for_more_than_a_path_is_refused(template):
    with pytest.raises(ValueError, match=r"expected"):
        filled(template, a=1)
