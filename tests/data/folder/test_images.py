"""Reading images and masks of every kind, whole and broken."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelseg.data.dataset import open_dataset
from labelseg.data.folder.images import image_size, read_image, read_mask
from labelseg.errors import DataError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)


def png(path: Path, rows: list[bytes], width: int, depth: int, colour_type: int) -> Path:
    """Write a PNG from packed rows, which Pillow cannot do at every bit depth."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_lossless_formats_read_as_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOUR).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    np.testing.assert_array_equal(image, COLOUR)
    assert image_size(path) == (5, 7)


def test_jpeg_reads_close_to_what_was_written(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 16 * 24 * 3).reshape(16, 24, 3).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=98, subsampling=0)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth).max() < 16


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.stack([GREY] * 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"a{suffix}")
    assert read_image(tmp_path / f"a{suffix}")[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


def test_16_bit_colour_keeps_its_high_byte(tmp_path: Path) -> None:
    row = struct.pack(">6H", 0, 257 * 100, 65535, 257 * 7, 257 * 8, 257 * 9)
    assert read_image(png(tmp_path / "a.png", [row], 2, 16, 2))[0].tolist() == [[0, 100, 255], [7, 8, 9]]


def test_floats_between_0_and_1_are_scaled_and_others_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 128, 255]
    Image.fromarray(np.array([[0, 300, np.nan]], np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match=r"b\.tif: expected values in 0 to 1"):
        read_image(tmp_path / "b.tif")


def test_what_is_transparent_shows_white(tmp_path: Path) -> None:
    alpha = np.zeros((5, 7), np.uint8)
    alpha[2] = 255
    Image.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "a.png")
    expected = np.full_like(COLOUR, 255)
    expected[2] = COLOUR[2]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_a_palette_with_a_transparent_entry_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("L")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png", transparency=1)
    assert read_image(tmp_path / "a.png")[0].tolist() == [[10, 20, 30], [255, 255, 255], [70, 80, 90]]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_is_converted(tmp_path: Path, suffix: str) -> None:
    Image.new("CMYK", (16, 8), (0, 255, 255, 0)).save(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}")[4, 8], [255, 0, 0], atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_turned_tiff_is_that_of_its_pixels(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOUR).save(tmp_path / "a.tif", exif=exif)
    assert image_size(tmp_path / "a.tif") == read_image(tmp_path / "a.tif").shape[:2] == ((7, 5) if orientation > 4 else (5, 7))


@pytest.mark.parametrize("value", [-1, -9999, -32768])
def test_negative_values_are_no_classes(tmp_path: Path, value: int) -> None:
    mask = np.zeros((5, 7), np.int32)
    mask[2, 3] = value
    Image.fromarray(mask).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=rf"a\.tif: value {value} at row 2, column 3 \(1 pixels\) is no class"):
        read_mask(tmp_path / "a.tif", 3)


def test_exif_rotation_is_applied_to_pixels_and_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(COLOUR, -1))
    assert image_size(tmp_path / "a.png") == (7, 5)


def test_a_missing_an_empty_and_a_foreign_file_are_errors_that_name_it(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=r"none\.jpg: expected an image, found no file"):
            read(tmp_path / "none.jpg")
        with pytest.raises(DataError, match=r"empty\.jpg: expected an image, found an empty file"):
            read(tmp_path / "empty.jpg")
        with pytest.raises(DataError, match=r"text\.jpg: expected an image, cannot be read: no known format"):
            read(tmp_path / "text.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_cut_short_is_an_error(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=rf"cut\{suffix}: expected an image, cannot be read"):
        read_image(path)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_mask_is_read_by_value_or_palette_index(tmp_path: Path, mode: str) -> None:
    ids = np.array([[0, 1, 2], [3, 255, 0]], np.uint8)
    image = Image.fromarray(ids)
    if mode == "P":
        image.putpalette(RNG.integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(tmp_path / "a.png")
    mask = read_mask(tmp_path / "a.png", 4, size=(2, 3))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, ids)


@pytest.mark.parametrize(("depth", "row", "expected"), [(1, 0b01100000, [0, 1, 1]), (2, 0b00011000, [0, 1, 2]), (4, 0x01, [0, 1])])
def test_a_grey_mask_of_few_bits_keeps_its_values(tmp_path: Path, depth: int, row: int, expected: list[int]) -> None:
    path = png(tmp_path / "a.png", [bytes([row])], len(expected), depth, 0)
    assert read_mask(path, 3)[0].tolist() == expected


def test_a_16_bit_mask_of_small_values_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 2, 255]], np.uint16)).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png", 3)[0].tolist() == [0, 2, 255]


def synthia_mask(path: Path, classes: list[list[int]], instances: int) -> Path:
    """Write a mask as SYNTHIA's: 16 bits in colour of class, instance and nothing."""
    pixels = np.array([[(c, instances, 0) for c in row] for row in classes], ">u2")
    return png(path, [row.tobytes() for row in pixels], pixels.shape[1], 16, 2)


def test_masks_of_synthia_hold_the_class_in_the_first_channel_of_16_bits(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (5, 2)).save(tmp_path / "images" / "a.png")
    synthia_mask(tmp_path / "masks" / "a.png", [[3, 4, 2, 21, 11], [0, 12, 19, 22, 13]], 40_259)
    data = {"images": "images", "masks": "masks", "label_map": "synthia"}
    assert open_dataset(tmp_path, data).mask("a").tolist() == [[0, 1, 2, 3, 15], [255, 14, 13, 255, 255]]
    for kind in (np.uint8, np.uint16):
        Image.fromarray(np.array([[3, 4, 2, 21, 11]] * 2, kind)).save(tmp_path / "masks" / "a.png")
        assert open_dataset(tmp_path, data).mask("a")[1].tolist() == [0, 1, 2, 3, 15]


def test_a_class_beyond_a_byte_and_a_16_bit_mask_of_another_map_are_errors(tmp_path: Path) -> None:
    path = synthia_mask(tmp_path / "a.png", [[3, 259]], 1)
    with pytest.raises(DataError, match="value 259 at row 0, column 1"):
        read_mask(path, 256, in_first_channel=True)
    with pytest.raises(DataError, match="expected a grey or palette image of class ids, got RGB"):
        read_mask(path, 256)
    Image.fromarray(COLOUR).save(path)
    with pytest.raises(DataError, match="got RGB"):
        read_mask(path, 256, in_first_channel=True)


def test_a_value_that_is_no_class_is_an_error_with_value_place_and_file(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 1], [1, 7, 7]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: value 7 at row 1, column 1 \(2 pixels\) is no class: expected 0 to 6 or 255"):
        read_mask(tmp_path / "a.png", 7)
    assert read_mask(tmp_path / "a.png", 8).max() == 7


def test_a_colour_mask_and_one_of_wrong_size_are_errors(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="expected a grey or palette image of class ids, got RGB"):
        read_mask(tmp_path / "a.png", 3)
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="expected the size of its image, 7 x 5, got 5 x 7"):
        read_mask(tmp_path / "b.png", 3, size=(7, 5))


def tiff(path: Path, rows: list[list[int]], bits: int) -> Path:
    """Write a grey TIFF of few bits a pixel, which Pillow cannot."""
    packed = b""
    for row in rows:
        text = "".join(format(value, f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        packed += int(text, 2).to_bytes(len(text) // 8, "big")
    tags = {256: len(rows[0]), 257: len(rows), 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: len(rows), 279: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = packed + bytes(len(packed) % 2)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(content)) + content + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


@pytest.mark.parametrize(("bits", "rows"), [(2, [[0, 1, 2, 3], [3, 0, 2, 1]]), (4, [[0, 5, 9, 11], [11, 1, 2, 3]]), (8, [[0, 17, 2, 85]])])
def test_tiff_masks_of_few_bits_hold_their_ids(tmp_path: Path, bits: int, rows: list[list[int]]) -> None:
    np.testing.assert_array_equal(read_mask(tiff(tmp_path / "m.tif", rows, bits), 90), rows)


@pytest.mark.parametrize(
    ("image", "mask", "advice"),
    [
        ((60, 40), (40, 60), "turned upright by its EXIF orientation"),
        ((60, 40), (60, 41), "off by a pixel or two"),
        ((400, 300), (100, 75), "nearest neighbour"),
        ((375, 500), (188, 250), "nearest neighbour"),
    ],
)
def test_a_mask_of_another_size_is_told_with_what_it_may_come_from(tmp_path: Path, image, mask, advice: str) -> None:
    Image.fromarray(np.zeros(mask, np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=advice):
        read_mask(tmp_path / "m.png", 2, size=image)


def test_a_mask_of_quite_another_shape_is_told_without_a_guess(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 90), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"60 x 40, got 30 x 90\.$"):
        read_mask(tmp_path / "m.png", 2, size=(60, 40))


def test_a_picture_beyond_what_is_opened_is_told_in_our_words(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    with pytest.raises(DataError, match=r"megapixels\. Make a smaller copy"):
        read_image(tmp_path / "a.png")
