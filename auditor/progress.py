"""What a long run tells its user: a stage, how much of it is done, and notes."""

from __future__ import annotations


class Progress:
    """Silent progress; the command line shows it."""

    def stage(self, title: str, total: int, unit: str = "records") -> None:
        """A new stage of `total` units begins; the former one is over."""

    def advance(self, n: int) -> None:
        """Tell that n more units of the current stage are done."""

    def note(self, text: str) -> None:
        """Something that the user should know; never a record's content."""

    def finish(self) -> None:
        """Everything is done, or an error follows."""
