"""Progress in whole models, also while several of them are trained together."""

from __future__ import annotations

from auditor.progress import Progress


class Meter:
    """Tells a progress display how many models are done, and never more than once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._finished = 0
        self._told = 0

    def reach(self, under_way: float) -> None:
        """So many models' worth of work on those that are not finished yet is done."""
        self._tell(self._finished + int(under_way))

    def finish(self, n: int) -> None:
        """So many models more are finished and stored."""
        self._finished += n
        self._tell(self._finished)

    def _tell(self, done: int) -> None:
        more, self._told = done - self._told, max(done, self._told)
        if more > 0:
            self._progress.advance(more)
