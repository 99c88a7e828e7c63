"""Records come in the order of their ids; their pictures are read in the order of the disk."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from attacks.observations import NoiseError
from auditor.controls.image_features import image_features
from auditor.observe import executor
from auditor.records import ReadOptions, load_row_splits, load_splits, open_pictures, sources
from auditor.targets.loading import open_target

N, ROWS_PER_GROUP = 80, 8
REQUESTS = (NoiseError(t=50), NoiseError(t=200))


def _encoded(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def sides(tmp_path, digits):
    paths = []
    for name, start in (("m", 0), ("n", N)):
        cells = [{"bytes": _encoded(digits[i])} for i in range(start, start + N)]
        table = pa.table({"image": cells, "label": [str(i % 3) for i in range(N)]})
        paths.append(tmp_path / f"{name}.parquet")
        pq.write_table(table, paths[-1], row_group_size=ROWS_PER_GROUP)
    return paths


@pytest.fixture
def reads(monkeypatch):
    """Row groups that are read, with a memory that holds one of them, as with gigabytes of data."""
    read, counted = sources._read_column, []

    def count(path, group, name):
        counted.append((path, group))
        return read(path, group, name)

    monkeypatch.setattr(sources, "_read_column", count)
    monkeypatch.setattr(sources, "_GROUPS", sources._RowGroups())
    monkeypatch.setattr(sources, "GROUP_CACHE_BYTES", 1)
    return counted


def test_a_shard_reads_every_row_group_once(sides, reads, pixel_pipeline, monkeypatch):
    target = open_target(str(pixel_pipeline), device="cpu")
    records = load_splits(*sides, options=ReadOptions(captions=False)).members
    monkeypatch.setattr(executor, "SHARD_RECORDS", N // 2)
    local = executor.LocalExecutor(seed=1, batch_size=16)
    reads.clear()
    found = local.observe(target, records, REQUESTS, None)
    n_groups = N // ROWS_PER_GROUP
    assert len(reads) <= 2 * n_groups

    monkeypatch.setattr(executor, "open_pictures", lambda shard: [r.open() for r in shard])
    reads.clear()
    by_id = local.observe(target, records, REQUESTS, None)
    assert len(reads) > N // 2  # nearly every picture took a row group of its own
    for request in REQUESTS:
        assert found[request].tobytes() == by_id[request].tobytes()


def test_pictures_come_back_in_the_order_of_the_records(sides, reads):
    records = load_splits(*sides, options=ReadOptions(captions=False)).members
    wanted = [record.open().tobytes() for record in records]
    reads.clear()
    assert [picture.tobytes() for picture in open_pictures(records)] == wanted
    assert len(reads) == len(set(reads)) == N // ROWS_PER_GROUP
    assert open_pictures([]) == []


def test_the_blind_control_and_labelled_pictures_read_in_that_order_too(sides, reads):
    records = load_splits(*sides, options=ReadOptions(captions=False)).members
    turned = records[::-1]
    reads.clear()
    features = image_features(records)
    assert len(reads) == N // ROWS_PER_GROUP
    again = image_features(turned)
    for name, scores in features.scores.items():
        if name not in ("distance to mean", "outlier distance"):  # of a mean, summed in order
            assert np.array_equal(again.scores[name][::-1], scores), name
    reads.clear()
    splits = load_row_splits(*sides)
    # hashing, decoding and loading read every row group of both sides once each
    assert len(reads) == 3 * 2 * N // ROWS_PER_GROUP
    position = {r.id: r.position for r in splits.members}
    for record in records[:5]:
        label = next(r for r in splits.members if r.content == record.pixels)
        pixels = np.asarray(record.open().convert("L"))[..., None]
        assert np.array_equal(splits.table.features[position[label.id]], pixels)
