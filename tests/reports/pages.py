"""One rendering of each page for all tests: the first one compiles the script."""

from __future__ import annotations

import functools

from attacks.results import Outcome
from reports.html import page
from tests.reports.sample_extraction import extracted_sample
from tests.reports.samples import hostile, sample


@functools.cache
def sample_page(outcome: Outcome = Outcome.FAIL) -> str:
    return page.render(sample(outcome))


@functools.cache
def hostile_page() -> str:
    return page.render(hostile())


@functools.cache
def extracted_page() -> str:
    return page.render(extracted_sample())
