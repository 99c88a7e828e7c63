"""What counts as the pixels of a picture, in every mode and every state of damage."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from attacks.errors import DataError
from auditor.records import load_splits
from auditor.records.images import decode_rgb, examine
from auditor.records.sources import Unreadable


def pixels(encoded):
    return np.asarray(decode_rgb(encoded))


def test_sixteen_bits_are_scaled_not_clipped(encode):
    ramp = np.array([[0, 257, 32896, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        grey = pixels(encode(Image.fromarray(ramp), kind))
        assert grey[0, :, 0].tolist() == [0, 1, 128, 255]
        assert grey.shape == (1, 4, 3)


def test_wide_and_float_grey(encode):
    wide = Image.fromarray(np.array([[0, 65535]], np.int32))
    assert pixels(encode(wide, "TIFF"))[0, :, 0].tolist() == [0, 255]
    unit = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    assert pixels(encode(unit, "TIFF"))[0, :, 1].tolist() == [0, 128, 255]
    for values in ([[0, 65536]], [[-1, 5]]):
        with pytest.raises(Unreadable, match="fixed scale"):
            decode_rgb(encode(Image.fromarray(np.array(values, np.int32)), "TIFF"))
    for value in (1.5, float("nan"), float("inf")):
        with pytest.raises(Unreadable, match="fixed scale"):
            decode_rgb(encode(Image.fromarray(np.array([[value]], np.float32)), "TIFF"))


def test_transparency_is_composited_on_white(encode):
    clear = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    clear.putpixel((1, 0), (200, 0, 0, 255))
    expected = [[255, 255, 255], [200, 0, 0]]
    assert pixels(encode(clear))[0].tolist() == expected
    grey = Image.new("LA", (1, 1), (0, 0))
    assert pixels(encode(grey))[0, 0].tolist() == [255, 255, 255]
    keyed = Image.new("RGB", (2, 1), (1, 2, 3))
    keyed.putpixel((1, 0), (200, 0, 0))
    assert pixels(encode(keyed, transparency=(1, 2, 3)))[0].tolist() == expected
    gif = Image.new("P", (2, 1), 0)
    gif.putpalette([1, 2, 3, 200, 0, 0])
    gif.putpixel((1, 0), 1)
    assert pixels(encode(gif, "GIF", transparency=0))[0].tolist() == expected


def test_plain_modes_agree(encode, digits):
    picture = digits[0]
    reference = np.asarray(picture)
    for mode, kind in (("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("RGB", "BMP")):
        stored = (picture.convert("L") if mode == "P" else picture).convert(mode)
        assert (pixels(encode(stored, kind)) == reference).all(), mode
    black_white = picture.convert("1")
    assert (pixels(encode(black_white)) == np.asarray(black_white.convert("RGB"))).all()
    cmyk = encode(picture.convert("CMYK"), "TIFF")
    assert np.abs(pixels(cmyk).astype(int) - reference).max() <= 2
    tiny = examine(encode(Image.new("RGB", (1, 1), (1, 2, 3))))
    assert (tiny.width, tiny.height, tiny.colour) == (1, 1, "#010203")


def test_metadata_is_that_of_the_stored_picture(encode):
    picture = examine(encode(Image.new("L", (7, 3), 5), "GIF"))
    assert (picture.width, picture.height, picture.format) == (7, 3, "GIF")
    assert picture.mode in ("L", "P")
    wide = encode(Image.new("I;16", (2, 1)))
    assert examine(wide).n_bytes == len(wide)
    assert examine(wide).mode.startswith("I")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(encode, kind, orientation):
    from PIL import ImageOps

    values = np.zeros((16, 32, 3), np.uint8)
    values[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = encode(Image.fromarray(values), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))
    assert (pixels(encoded) == np.asarray(upright)).all()
    assert pixels(encoded).shape == ((16, 32, 3) if orientation < 5 else (32, 16, 3))
    stored = examine(encoded)
    if kind != "TIFF":  # Pillow swaps the sides of a TIFF when it opens it
        assert (stored.width, stored.height) == (32, 16)


def test_damaged_orientation_is_ignored(encode):
    encoded = encode(Image.new("RGB", (4, 4)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert pixels(encoded).shape == (4, 4, 3)


def test_first_frame(encode, digits):
    frames = [digit.convert("L") for digit in digits[:2]]
    animated = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (pixels(animated) == np.asarray(digits[0])).all()
    if features.check("webp"):
        webp = encode(digits[0], "WEBP", save_all=True, append_images=digits[1:3], lossless=True)
        assert (pixels(webp) == np.asarray(digits[0])).all()


def test_bombs_and_junk(encode, digits):
    for side in (10_000, 60_000):  # where Pillow warns, and where it raises
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        check = struct.pack(">I", zlib.crc32(header))
        bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + check
        bomb += struct.pack(">I", 9) + b"IDAT" + bytes(13)
        with pytest.raises(Unreadable, match="decompression bomb"):
            decode_rgb(bomb)
    with pytest.raises(Unreadable, match="decompression bomb"):
        decode_rgb(encode(digits[0]), max_pixels=63)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    for junk in (b"", b"\0" * 100, b"<svg/>", postscript):
        with pytest.raises(Unreadable, match="not a picture"):
            decode_rgb(junk)
    for kind in ("PNG", "JPEG", "GIF"):
        whole = encode(digits[0].resize((64, 64)), kind)
        with pytest.raises(Unreadable):
            decode_rgb(whole[: len(whole) // 2])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_spoilt_bytes_never_crash(data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP"]))
    stream = io.BytesIO()
    Image.new("RGB", (9, 7), (10, 200, 30)).save(stream, kind)
    encoded = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = examine(bytes(encoded), max_pixels=10**6)
    except Unreadable:
        return
    assert picture.width * picture.height <= 10**6


def test_unreadable_rows_are_counted_up_to_the_limit(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:150])
    nonmembers = write_folder(tmp_path / "n", digits[150:200])
    whole = (members / "p0007.png").read_bytes()
    (members / "p0007.png").write_bytes(whole[:60])
    splits = load_splits(members, nonmembers)
    assert (len(splits.members), splits.n_unreadable) == (149, 1)
    assert "1 rows of the members are unreadable" in splits.notes
    (members / "p0009.png").unlink()
    os.mkfifo(members / "p0009.png")  # reading it would block for ever
    with pytest.raises(
        DataError, match=r"members: 2 of 150 rows are unreadable \(1.3%; the limit is 1.0%"
    ):
        load_splits(members, nonmembers)
    junk = write_folder(tmp_path / "junk", [])
    for i in range(3):
        (junk / f"{i}.png").write_bytes(b"junk")
    with pytest.raises(
        DataError, match=r"nonmembers: none of 3 pictures can be read \(first: 0.png"
    ):
        load_splits(nonmembers, junk)


def test_open_notices_changes(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:3])
    splits = load_splits(members, write_folder(tmp_path / "n", digits[3:6]))
    digits[7].save(members / "p0000.png")
    (members / "p0001.png").unlink()
    by_name = {record.source.name: record for record in splits.members}
    for name in ("p0000.png", "p0001.png"):
        with pytest.raises(DataError, match="changed during the audit") as caught:
            by_name[name].open()
        assert name not in str(caught.value)
    assert by_name["p0002.png"].open().size == (8, 8)


def test_import_is_cheap():
    code = (
        "import sys, auditor.records; "
        "print([m for m in ('torch', 'pyarrow', 'pandas', 'sklearn', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
