"""From encoded bytes to the RGB pixels that count as the content of a record.

Rules, in this order: first frame of an animation; EXIF orientation applied; 16-bit grey divided
by 257 (not clipped); float grey in [0, 1] times 255; transparency composited on white; every other
mode converted by Pillow (CMYK without a colour profile, palettes looked up). Embedded colour
profiles are ignored. 32-bit grey outside 16 bits and floats outside [0, 1] have no fixed scale and
are refused. Formats that start other programs (EPS) are never opened.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditor.records.identity import pixel_hash
from auditor.records.sources import MAX_PIXELS, Unreadable

THUMB = 16
"""Side of the thumbnail that near-duplicates are compared on."""

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".jp2", ".avif"}
)
"""Files of an image folder with these suffixes, in either case, are pictures."""

_PLUGINS = ("Png", "Jpeg", "Gif", "Bmp", "WebP", "Tiff", "Ppm", "Jpeg2K", "Avif")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's plugins raise on hostile bytes; DecompressionBombError is none of the others.
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    AttributeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """What loading keeps of a decoded picture."""

    pixels: str
    """Hex hash of the RGB pixels."""
    width: int
    """Stored width; Pillow gives that of a TIFF after orientation."""
    height: int
    """Stored height; Pillow gives that of a TIFF after orientation."""
    mode: str
    """Stored Pillow mode."""
    format: str
    """Stored format, such as PNG."""
    n_bytes: int
    """Encoded size."""
    colour: str
    """Mean colour, #rrggbb."""
    thumb: bytes
    """THUMB * THUMB * 3 bytes, RGB, area-averaged."""


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow reads, of those that we allow."""
    from importlib import import_module

    for plugin in _PLUGINS:
        try:
            import_module(f"PIL.{plugin}ImagePlugin")
        except ImportError:  # an optional codec
            continue
    allowed = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
    return tuple(name for name in allowed if name in Image.OPEN)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 where there is none or the block is damaged."""
    try:
        value = image.getexif().get(0x0112, 1)
        return value if isinstance(value, int) else 1
    except _DAMAGE:
        return 1


def _grey(values: NDArray, top: float) -> Image.Image:
    """RGB picture of (height, width) grey values in [0, top]. Raises Unreadable outside."""
    scaled = values.astype(np.float64) * (255.0 / top)
    # Not a number fails both comparisons.
    if not (scaled.min() >= 0 and scaled.max() <= 255):
        raise Unreadable("grey values without a fixed scale")
    return Image.fromarray(np.floor(scaled + 0.5).astype(np.uint8)).convert("RGB")


def to_rgb(image: Image.Image) -> Image.Image:
    """The loaded picture as RGB and upright. Raises Unreadable where no fixed rule applies."""
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I"):
        rgb = _grey(np.asarray(image), 65535.0)
    elif image.mode == "F":
        rgb = _grey(np.asarray(image), 1.0)
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode in ("PA", "La"):
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        layer = image.convert("RGBA")
        rgb = Image.new("RGB", layer.size, (255, 255, 255))
        rgb.paste(layer, mask=layer.getchannel("A"))
    else:
        rgb = image if image.mode == "RGB" else image.convert("RGB")
    return rgb.transpose(turn) if turn is not None else rgb


def _opened(encoded: bytes, max_pixels: int) -> Image.Image:
    """The picture before its pixels are decoded. Raises Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit below replaces Pillow's warning
            image = Image.open(io.BytesIO(encoded), formats=_formats())
    except Image.UnidentifiedImageError:
        raise Unreadable("not a picture in a known format") from None
    except Image.DecompressionBombError:
        raise Unreadable("too many pixels: a decompression bomb?") from None
    except _DAMAGE:
        raise Unreadable("truncated or damaged") from None
    if image.width * image.height > max_pixels:
        raise Unreadable("too many pixels: a decompression bomb?")
    return image


def _converted(image: Image.Image) -> Image.Image:
    """Decode the pixels and convert them. Raises Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # damage that Pillow repairs; the pixels are what counts
            image.load()
    except _DAMAGE:
        raise Unreadable("truncated or damaged") from None
    try:
        return to_rgb(image)
    except _DAMAGE:
        raise Unreadable("its colour mode cannot be converted") from None


def decode_rgb(encoded: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture as RGB and upright. Raises Unreadable with a reason."""
    return _converted(_opened(encoded, max_pixels))


def examine(encoded: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode once and keep hash, metadata and thumbnail. Raises Unreadable with a reason."""
    image = _opened(encoded, max_pixels)
    width, height, mode, kind = image.width, image.height, image.mode, image.format or "?"
    rgb = _converted(image)
    thumb = rgb.resize((THUMB, THUMB), Image.Resampling.BOX)
    colour = "#" + thumb.resize((1, 1), Image.Resampling.BOX).tobytes().hex()
    return Picture(
        pixel_hash(rgb), width, height, mode, kind, len(encoded), colour, thumb.tobytes()
    )
