"""Trials in parallel processes, each with its own copy of everything."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mitigations.memcontrol.trial import Candidate, Job, Outcome

Evaluate = Callable[[Sequence[Candidate]], Iterator[Outcome]]
"""Runs candidates, and yields their outcomes in their order."""

_JOB: Job | None = None
"""What this process works on; set once when it starts."""


@contextmanager
def evaluator(job: Job, workers: int) -> Iterator[Evaluate]:
    """A function that runs trials: in this process for one worker, otherwise in others.

    The processes end with the block, whatever they are doing.
    """
    if workers == 1:
        yield lambda candidates: (job.run(one) for one in candidates)
        return
    import torch.multiprocessing

    context = torch.multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_begin, initargs=(job, workers)) as pool:
        yield lambda candidates: pool.imap(_run, list(candidates))


def _begin(job: Job, workers: int) -> None:
    global _JOB
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    _JOB = job


def _run(candidate: Candidate) -> Outcome:
    assert _JOB is not None
    return _JOB.run(candidate)
