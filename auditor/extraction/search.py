"""Drawn images against all records, shard by shard: what is nearest to what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.extraction.nearest import nearest
from auditor.extraction.pictures import compared
from auditor.targets.sampling import Draw


class Search:
    """Keeps, for every record, the nearest image so far; images themselves are not kept."""

    def __init__(self, records: NDArray[np.uint8]):
        """records: (n, side, side, channels)."""
        self.records = records
        self.distance = np.full(len(records), np.inf)
        """(n,) distance of the nearest image."""
        self.draw: list[Draw | None] = [None] * len(records)
        """n draws of the nearest image."""
        self._hits: list[tuple[int, float]] = []

    def add(self, draws: Sequence[Draw], images: NDArray[np.uint8]) -> None:
        """Compare a shard of images with every record."""
        found = nearest(compared(images, self.records.shape[1]), self.records)
        closer = np.flatnonzero(found.of_record < self.distance)
        self.distance[closer] = found.of_record[closer]
        for i in closer:
            self.draw[i] = draws[int(found.image[i])]
        self._hits += zip(found.record.tolist(), found.of_image.tolist(), strict=True)

    def n_images_of(self, record: int, threshold: float) -> int:
        """Images whose nearest record this is, within the threshold."""
        return sum(i == record and d <= threshold for i, d in self._hits)
