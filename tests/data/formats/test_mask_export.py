"""Colours of classes and masks as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelseg.data.folder.images import read_mask
from labelseg.data.formats.palette import colorize, paint_over, voc_palette
from labelseg.data.formats.png import export_masks, write_palette_png

MASK = np.array([[0, 1, 2], [20, 255, 15]], np.uint8)


def test_the_palette_is_that_of_voc() -> None:
    palette = voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {k: tuple(palette[k].tolist()) for k in known} == known
    assert len(np.unique(palette, axis=0)) == 256


def test_an_exported_mask_reads_back_and_shows_voc_colours(tmp_path: Path) -> None:
    assert export_masks([("a", MASK), ("x/y.jpg", MASK[:, ::-1])], tmp_path / "out") == 2
    np.testing.assert_array_equal(read_mask(tmp_path / "out/a.png", 21), MASK)
    np.testing.assert_array_equal(read_mask(tmp_path / "out/x/y.jpg.png", 21), MASK[:, ::-1])
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out/a.png").convert("RGB")), colorize(MASK))


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_palette_png(MASK, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def fail(self: Image.Image, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        write_palette_png(MASK + 1, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_colours_lie_over_the_image_with_their_opacity() -> None:
    image = np.full((2, 3, 3), 100, np.uint8)
    np.testing.assert_array_equal(colorize(MASK, image, opacity=0), image)
    np.testing.assert_array_equal(colorize(MASK, image, opacity=1), colorize(MASK))
    assert colorize(MASK, image)[0, 1].tolist() == [114, 50, 50]


def test_overlays_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 1
    image = np.full((16, 16, 3), 100, np.uint8)
    assert export_masks([("x/a", mask)], tmp_path, {"x/a": image}.__getitem__) == 1
    overlay = np.asarray(Image.open(tmp_path / "overlays" / "x" / "a.jpg")).astype(int)
    assert np.abs(overlay[4, 2] - [100, 100, 100]).max() < 12  # the background stays as it is
    assert np.abs(overlay[4, 13] - [114, 50, 50]).max() < 12  # maroon over grey


def slow_overlay(mask, image, clear):
    """The rule, pixel by pixel."""
    colours, painted = voc_palette(), image.copy()
    for y, x in np.ndindex(mask.shape):
        beside = [mask[r, c] for r, c in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)) if 0 <= r < len(mask) and 0 <= c < mask.shape[1]]
        share = 1.0 if any(value != mask[y, x] for value in beside) else 0.5
        if mask[y, x] not in clear:
            painted[y, x] = np.round(colours[mask[y, x]] * share + image[y, x] * (1 - share))
    return painted


@pytest.mark.parametrize("clear", [(0,), (), (0, 2)])
def test_classes_are_painted_with_their_outlines_and_the_background_is_left(clear) -> None:
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 3, (4, 5)), np.ones((3, 3), int)).astype(np.uint8)
    image = rng.integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
    np.testing.assert_array_equal(paint_over(mask, image, clear=clear), slow_overlay(mask, image, clear))


def test_ids_may_be_written_as_grey_values(tmp_path: Path) -> None:
    mask = np.array([[0, 2], [3, 255]], np.uint8)
    export_masks([("a", mask)], tmp_path, grey=True)
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), mask)
