"""Consoles, hostile text, and progress that a person can follow."""

from __future__ import annotations

import sys
import time
import unicodedata
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from auditor.progress import Progress

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False)


def _set_debug(ctx: typer.Context, value: bool) -> bool:
    if value:
        ctx.find_root().meta["auditor.debug"] = True
    return value


Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, help="Show tracebacks (may be private).")
]


def plain(text: object) -> str:
    """Text that cannot drive a terminal: no control or formatting characters, no markup."""
    kept = "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}"
        for c in str(text)
    )
    return escape(kept)


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = max(0, int(seconds + 0.5))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class BarProgress(Progress):
    """A live bar with stage, rate and time left, for terminals."""

    def __init__(self) -> None:
        from rich import progress as bars

        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[rate]}"),
            bars.TimeRemainingColumn(),
            console=stderr,
        )
        self._bars.start()
        self._task: Any = None
        self._began = time.monotonic()
        self._done = 0
        self._unit = ""

    def stage(self, title: str, total: int, unit: str = "records") -> None:
        """Begin a stage."""
        self._complete()
        self._task = self._bars.add_task(plain(title), total=total, rate="")
        self._began, self._done, self._unit = time.monotonic(), 0, unit

    def advance(self, n: int) -> None:
        """Move the bar."""
        self._done += n
        if self._task is not None:
            rate = self._done / max(time.monotonic() - self._began, 1e-9)
            self._bars.update(self._task, advance=n, rate=f"{rate:,.1f} {self._unit}/s")

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._bars.console.print(f"[yellow]note:[/] {plain(text)}")

    def finish(self) -> None:
        """Leave the bars as they are."""
        self._complete()
        self._bars.stop()

    def _complete(self) -> None:
        if self._task is not None:
            self._bars.stop_task(self._task)


class LineProgress(Progress):
    """Plain lines for logs: one a stage, and one every few seconds while it lasts."""

    EVERY_SECONDS = 5.0

    def stage(self, title: str, total: int, unit: str = "records") -> None:
        """Begin a stage."""
        self._title, self._total, self._unit = title, total, unit
        self._done, self._began = 0, time.monotonic()
        self._told = self._began
        print(f"{title}: {total:,} {unit}", file=sys.stderr, flush=True)

    def advance(self, n: int) -> None:
        """Say how far it is, if nothing was said for a while."""
        self._done += n
        now = time.monotonic()
        if now - self._told < self.EVERY_SECONDS:
            return
        self._told = now
        rate = self._done / max(now - self._began, 1e-9)
        left = duration((self._total - self._done) / max(rate, 1e-9))
        print(
            f"{self._title}: {self._done:,}/{self._total:,} {self._unit}, "
            f"{rate:,.1f} {self._unit}/s, {left} left",
            file=sys.stderr,
            flush=True,
        )

    def note(self, text: str) -> None:
        """Print a note."""
        print(f"note: {text}", file=sys.stderr, flush=True)


def progress(*, quiet: bool) -> Progress:
    """The progress display that suits where standard error goes."""
    if quiet:
        return Progress()
    return BarProgress() if stderr.is_terminal else LineProgress()
