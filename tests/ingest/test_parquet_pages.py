"""Pages of Parquet files: their sizes are found by their headers, and one that claims too much is refused."""

import contextlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats import parquet_pages
from ingest.formats.columns import check_sizes
from ingest.formats.parquet_pages import unpacked_bytes
from schema.errors import EpisodeError


def written(column, **options):
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": column}), sink, **options)
    return sink.getvalue()


def pages_of(content):
    file = pq.ParquetFile(io.BytesIO(content))
    return sum(
        unpacked_bytes(io.BytesIO(content), file.metadata.row_group(group).column(0), file="f")
        for group in range(file.num_row_groups)
    )


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("has_dictionary", [False, True])
def test_pages_unpack_to_what_an_honest_footer_says_but_for_their_headers(version, compression, has_dictionary):
    random = np.random.default_rng(0)
    content = written(
        pa.array([bytes(random.integers(0, 9, 700, np.uint8)) for _ in range(400)]),
        compression=compression,
        use_dictionary=has_dictionary,
        data_page_version=version,
        data_page_size=4096,
        write_page_checksum=True,
    )

    column = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0)
    assert 0.9 * column.total_uncompressed_size < pages_of(content) < column.total_uncompressed_size


def test_a_page_that_unpacks_to_more_than_it_may_is_refused_whatever_the_footer_says(monkeypatch):
    monkeypatch.setattr(parquet_pages, "MAX_PAGE_BYTES", 1 << 20)
    content = written(pa.array([bytes(3 << 19)]), compression="zstd", use_dictionary=False, write_statistics=False)
    file = pq.ParquetFile(io.BytesIO(content))
    assert len(content) < 1000

    with pytest.raises(EpisodeError, match=r"a page of 'a' unpacks to 15.* bytes, expected 1048576") as caught:
        check_sizes(file, [0], names=["a"], stream=io.BytesIO(content), file="f")

    assert caught.value.reason == "absurd_size"


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4))
def test_broken_headers_are_sizes_or_errors_and_never_hang(changes):
    content = bytearray(written(pa.array(np.arange(2000.0)), use_dictionary=False, data_page_size=512))
    column = pq.ParquetFile(io.BytesIO(bytes(content))).metadata.row_group(0).column(0)
    for place, value in changes:
        content[place] = value
    with contextlib.suppress(EpisodeError, ValueError):
        assert unpacked_bytes(io.BytesIO(bytes(content)), column, file="f") >= 0
