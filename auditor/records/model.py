"""Records, the splits that they come in, and how to read them: plain frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from attacks.errors import DataError
from auditor.records.sources import MAX_PIXELS, Source, Unreadable

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """One picture with its caption: the unit of private data.

    Two records are equal if their content is, wherever they lie. The representation shows neither
    id, caption, subject nor place, so that it may reach a log.
    """

    id: str
    """Content id, 32 hex digits of the pixels and the caption; private, see `ProjectKey`."""
    pixels: str
    """32 hex digits of the upright RGB pixels alone: pictures with equal ones are copies."""
    caption: str | None
    """NFC text, None where the record has none."""
    subject: str | None
    """The person or thing that the record is about, where the data name it."""
    multiplicity: int
    """Rows of its split that hold this picture, at least 1."""
    width: int
    """Stored width in pixels, before orientation."""
    height: int
    """Stored height in pixels, before orientation."""
    mode: str
    """Stored Pillow mode, before conversion."""
    format: str
    """Stored format, such as PNG."""
    n_bytes: int
    """Size of the encoded picture."""
    colour: str
    """Mean colour after conversion, #rrggbb."""
    source: Source = field(compare=False)
    """Private: how to read the picture again."""
    max_pixels: int = field(default=MAX_PIXELS, compare=False)
    """The limit under which it was read."""
    guess: str | None = field(default=None, compare=False)
    """What a captioner that never saw the training says about the picture, if that is known."""

    @property
    def size(self) -> str:
        """Stored size in pixels, for a redacted report."""
        return f"{self.width} x {self.height}"

    @property
    def content(self) -> str:
        """What copies share: the pixels."""
        return self.pixels

    def __repr__(self) -> str:
        return (
            f"Record({self.width}x{self.height} {self.mode} {self.format}, "
            f"multiplicity={self.multiplicity})"
        )

    def open(self) -> Image.Image:
        """Read the picture again: RGB and upright.

        Raises DataError if it is gone or its pixels are no longer those that gave it its id.
        """
        from auditor.records.identity import pixel_hash
        from auditor.records.images import decode_rgb

        try:
            rgb = decode_rgb(self.source.read(), self.max_pixels)
        except Unreadable as reason:
            raise DataError(
                f"a record can no longer be read ({reason}); the data changed during the audit: "
                "restore them and run again"
            ) from None
        if pixel_hash(rgb) != self.pixels:
            raise DataError(
                "the pixels of a record changed during the audit; leave the data alone and run again"
            )
        return rgb


def reading_order(records: Sequence[Record]) -> list[int]:
    """Positions of the records in the order in which their pictures lie on the disk.

    Records come in the order of their ids, which is random on the disk: opened like that, each
    picture of a large Parquet file decompresses a row group of its own, since few of them stay in
    memory. In this order every row group is read once.
    """
    places = [(r.source.path, -1 if r.source.row is None else r.source.row) for r in records]
    return sorted(range(len(records)), key=places.__getitem__)


def open_pictures(records: Sequence[Record]) -> list[Image.Image]:
    """The pictures of records, in the order given; read in the order of the disk.

    Raises DataError as `Record.open` does.
    """
    opened = {position: records[position].open() for position in reading_order(records)}
    return [opened[position] for position in range(len(records))]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read data sets, and what to refuse."""

    image_column: str | None = None
    """Column of the pictures or of their paths; None: file_name, image, img ... whichever is there."""
    text_column: str | None = None
    """Column of the captions; None: text or caption, if there."""
    subject_column: str | None = None
    """Column of the data subject; None: subject, if there."""
    guess_column: str | None = None
    """Column of what a captioner says about each picture; None: caption_guess, if there."""
    split_column: str | None = None
    """Column that tells members from nonmembers in one data set; None: two data sets."""
    member_split: str = "train"
    """Value of the split column for members."""
    nonmember_split: str = "test"
    """Value of the split column for nonmembers."""
    captions: bool = True
    """False reads no captions at all."""
    label_column: str | None = None
    """Labelled records: column of the labels; None: label, target, class, y, whichever is there."""
    group_column: str | None = None
    """Labelled records: column of the groups that figures are broken down by; it stays a feature
    unless `drop_columns` names it."""
    feature_columns: tuple[str, ...] | None = None
    """Labelled records: the columns that the model takes; None: all that have no other role."""
    drop_columns: tuple[str, ...] = ()
    """Labelled records: columns that are not read, such as a row number."""
    header: bool = True
    """False: a CSV file has no header, and its columns are called 0, 1, 2 ..."""
    picture_mode: Literal["auto", "grey", "rgb"] = "auto"
    """Labelled pictures: one channel or three; `auto` gives one if every picture is stored grey."""
    max_unreadable_share: float = 0.01
    """Share of unreadable rows of a side above which reading stops, in [0, 1)."""
    max_cross_split_share: float = 0.10
    """Share of nonmembers that are copies or near-duplicates of members above which reading stops,
    in [0, 1)."""
    near_duplicate_rms: float = 0.02
    """Pixel RMS of 16 x 16 thumbnails in [0, 1] up to which pictures are near-duplicates; 0: off."""
    max_near_pairs: int = 10_000_000_000
    """Members times nonmembers above which near-duplicates are not looked for (a note says so)."""
    max_pixels: int = MAX_PIXELS
    """Width times height above which a picture is refused as a decompression bomb."""

    def __post_init__(self) -> None:
        for name in ("max_unreadable_share", "max_cross_split_share"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if not 0 <= self.near_duplicate_rms <= 0.5:
            raise DataError(
                f"near_duplicate_rms must lie between 0 and 0.5, got {self.near_duplicate_rms}"
            )
        if self.max_pixels < 1:
            raise DataError(f"max_pixels must be positive, got {self.max_pixels}")
        if self.split_column is not None and self.member_split == self.nonmember_split:
            raise DataError("member_split and nonmember_split must name different splits")
        if self.feature_columns is not None and self.drop_columns:
            raise DataError("feature_columns and drop_columns are both set; use one of them")
        if self.feature_columns is not None and not self.feature_columns:
            raise DataError("feature_columns names no column; leave it out to take all of them")
        if self.picture_mode not in ("auto", "grey", "rgb"):
            raise DataError(f"picture_mode is auto, grey or rgb, not '{self.picture_mode}'")
        if self.text_column is not None and not self.captions:
            raise DataError(
                "text_column is set, but captions is false, so that none are read; drop one"
            )


@dataclass(frozen=True, slots=True)
class Splits:
    """Members and nonmembers, free of copies, in the order of their ids."""

    members: tuple[Record, ...]
    """Evaluated members."""
    nonmembers: tuple[Record, ...]
    """Evaluated nonmembers."""
    calibration_members: tuple[Record, ...]
    """Members that fitted attacks are fitted on; may be empty."""
    calibration_nonmembers: tuple[Record, ...]
    """Nonmembers that fitted attacks are fitted on; may be empty."""
    n_cross_split_dropped: int
    """Distinct files of nonmembers left out because their pixels are those of a member."""
    withheld_members: tuple[Record, ...]
    """Members that a nonmember equals or nearly equals: trained on, but not evaluated; empty if a
    limit draws a sample."""
    n_withheld_members: int
    """How many distinct members these are; under a limit, known copies outside the sample too."""
    n_unreadable: int
    """Rows of both sides that could not be read."""
    near_duplicates: tuple[str, ...]
    """Content ids of the nonmembers that nearly equal a member; not evaluated either."""
    repeats: tuple[tuple[int, int], ...]
    """Pairs (multiplicity, members with it), ascending, calibration part included."""
    nonmember_repeats: tuple[tuple[int, int], ...]
    """Pairs (multiplicity, nonmembers with it), ascending, calibration part included."""
    has_captions: bool
    """Both sides have captions."""
    has_subjects: bool
    """Every record has a subject, so that the subject can be the unit of evaluation."""
    caption_source: str
    """Where the captions come from, for the report: `column 'text'`, `.txt files`, `none`."""
    notes: tuple[str, ...]
    """What a reader of the report should know; names no record."""

    @property
    def has_guesses(self) -> bool:
        """Every record has what a captioner says about it."""
        sides = (self.members, self.nonmembers)
        parts = (*sides, self.calibration_members, self.calibration_nonmembers)
        return all(record.guess is not None for part in parts for record in part)

    @property
    def n_near_duplicates_across(self) -> int:
        """Nonmembers that nearly equal a member."""
        return len(self.near_duplicates)
