"""A working size: sides, pixels and masks of one size in the other; photos decoded at a fraction; a dataset that reads at it."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from labelseg.data.dataset import open_dataset
from labelseg.data.folder.images import image_size, read_image
from labelseg.errors import DataError, UsageError
from labelseg.working_size import Scaling, enlarged, places, working_size

SIZES = [(1, 1), (64, 64), (65, 64), (100, 301), (301, 100), (97, 61), (4000, 3), (3, 4000), (127, 128)]
ORIENTATIONS = (1, 2, 3, 4, 5, 6, 7, 8)


def photo(height, width):
    """A smooth picture whose corners and sides differ, so that turns and shifts show."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = np.stack([np.sin(5 * y + 2 * x), np.cos(7 * x - y), np.sin(3 * x * y + 4 * y)], axis=2)
    return np.round(127.5 + 120 * waves).astype(np.uint8)


def averaged(image, size):
    """Averages over the area of each pixel, exact: the slow version of a shrunk picture."""
    for axis, after in ((0, size[0]), (1, size[1])):
        before = image.shape[axis]
        weights = np.zeros((after, before))
        for one, other in itertools.product(range(after), range(before)):
            start, end = one * before / after, (one + 1) * before / after
            weights[one, other] = max(min(end, other + 1) - max(start, other), 0) * after / before
        image = np.moveaxis(np.tensordot(weights, image, (1, axis)), 0, axis)
    return image


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("long_side", [0, 64, 99, 5000])
def test_the_longer_side_becomes_what_is_asked_for_and_the_other_follows(size, long_side):
    height, width = working_size(size, long_side)
    assert working_size(size[::-1], long_side) == (width, height)
    if not 0 < long_side < max(size):
        assert (height, width) == size
        return
    assert max(height, width) == long_side
    for side, whole in ((height, size[0]), (width, size[1])):
        exact = Fraction(whole * long_side, max(size))
        assert side == max(math.floor(exact + Fraction(1, 2)), 1)


@pytest.mark.parametrize(("before", "after"), [(5, 5), (7, 3), (3, 7), (100, 64), (64, 100), (1, 9), (9, 1), (4032, 512)])
def test_a_pixel_is_sampled_where_its_centre_lies(before, after):
    exact = [math.floor(Fraction(2 * place + 1, 2) * before / after) for place in range(after)]
    assert places(before, after) == exact


@pytest.mark.parametrize(("file", "work"), [((301, 100), (64, 21)), ((65, 64), (64, 63)), ((4000, 3), (64, 1)), ((97, 61), (97, 61))])
def test_what_is_worked_on_comes_back_from_the_file(file, work):
    scaling = Scaling(file, work)
    mask = np.random.default_rng(0).integers(0, 256, work, dtype=np.uint8)
    large = scaling.enlarge(mask)
    assert large.shape == file
    np.testing.assert_array_equal(scaling.shrink(large), mask)
    for row, column in itertools.product(range(work[0]), range(work[1])):
        there = scaling.to_file(row, column)
        assert there[0] < file[0] and there[1] < file[1]
        assert scaling.to_work(*there) == (row, column)
        assert large[there] == mask[row, column]
    outside = scaling.to_work(*file)
    assert outside[0] >= work[0] and outside[1] >= work[1]


def test_every_pixel_of_a_file_has_the_value_of_the_one_it_is_worked_on_in():
    scaling, rng = Scaling((33, 50), (7, 11)), np.random.default_rng(1)
    mask = rng.integers(0, 5, scaling.work, dtype=np.uint8)
    large = scaling.enlarge(mask)
    assert all(large[row, column] == mask[scaling.to_work(row, column)] for row, column in np.ndindex(33, 50))
    whole = rng.choice(np.array([0, 7, 255], np.uint8), scaling.file)
    assert set(np.unique(scaling.shrink(whole))) <= {0, 7, 255}
    with pytest.raises(ValueError, match="expected a mask of 33 x 50 pixels, got one of 7 x 11"):
        scaling.shrink(mask)


def test_only_a_mask_of_a_size_that_the_file_is_worked_on_at_is_spread_over_it():
    assert enlarged(np.zeros((64, 21), np.uint8), (301, 100)).shape == (301, 100)
    for odd in ((64, 22), (63, 22), (21, 64), (400, 133)):
        assert enlarged(np.zeros(odd, np.uint8), (301, 100)).shape == odd


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("size", [(301, 403), (640, 481), (257, 1023)])
def test_a_shrunk_photo_is_the_average_of_its_pixels(tmp_path, suffix, size):
    image = photo(*size)
    Image.fromarray(image).save(tmp_path / f"a{suffix}", quality=98, **({"subsampling": 0} if suffix == ".jpg" else {}))
    small = read_image(tmp_path / f"a{suffix}", 64)
    expected = averaged(image.astype(np.float64), working_size(size, 64))
    assert small.shape == expected.shape
    assert small.flags.writeable
    assert np.abs(small - expected).max() < 8
    assert np.abs((small - expected).mean()) < 0.5  # no shift, of colours or of pixels


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_a_photo_that_is_no_larger_is_read_to_the_bit(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 41, 3), dtype=np.uint8)).save(path)
    for long_side in (64, 65, 1000):
        np.testing.assert_array_equal(read_image(path, long_side), read_image(path))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_a_photo_turned_by_exif_is_turned_alike_at_every_size(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo(331, 203)).save(tmp_path / f"a{suffix}", exif=exif, quality=98)
    whole, small = read_image(tmp_path / f"a{suffix}"), read_image(tmp_path / f"a{suffix}", 64)
    assert whole.shape[:2] == image_size(tmp_path / f"a{suffix}")
    assert small.shape[:2] == working_size(whole.shape[:2], 64)
    assert np.abs(small - averaged(whole.astype(np.float64), small.shape[:2])).max() < 8


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_averaged_before_they_become_8(tmp_path, suffix):
    deep = np.zeros((200, 300), np.uint16)
    deep[:, :150] = 65535
    deep[::2, 150:] = 257 * 100  # rows of 100 and 0
    Image.fromarray(deep).save(tmp_path / f"a{suffix}")
    small = read_image(tmp_path / f"a{suffix}", 75)
    assert small.shape == (50, 75, 3)
    assert set(np.unique(small[:, :36])) == {255}
    assert np.abs(small[:, 40:].astype(int) - 50).max() <= 2
    assert (small == small[..., :1]).all()
    low = np.full((100, 100), 40, np.uint16)
    low[::2] = 300  # 0.16 and 1.17 of 255: their mean is 1, that of what they are rounded to a half
    Image.fromarray(low).save(tmp_path / f"low{suffix}")
    assert set(np.unique(read_image(tmp_path / f"low{suffix}", 64))) <= {0, 1}
    assert read_image(tmp_path / f"low{suffix}", 64).mean() > 0.6


def test_values_out_of_range_are_refused_at_every_size(tmp_path):
    grey = np.zeros((100, 100), np.float32)
    grey[3, 4] = 2.0
    Image.fromarray(grey).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="expected values in 0 to 1, got 0 to 2"):
        read_image(tmp_path / "a.tif", 64)


def test_what_is_transparent_shows_white_and_palettes_are_not_averaged(tmp_path):
    clear = np.zeros((128, 128, 4), np.uint8)
    clear[:, 64:] = (200, 10, 30, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    small = read_image(tmp_path / "clear.png", 64)
    assert (small[:, :31] == 255).all() and (small[:, 33:] == (200, 10, 30)).all()
    grid = np.indices((128, 128)).sum(axis=0) % 2 * 4  # palette entries 0 and 4, between which others lie
    image = Image.fromarray(grid.astype(np.uint8))
    image.putpalette([0, 0, 0, *[9, 200, 9] * 3, 100, 100, 100])
    image.save(tmp_path / "p.png")
    assert np.abs(read_image(tmp_path / "p.png", 64).astype(int) - 50).max() <= 1


def test_a_damaged_photo_is_told_at_every_size(tmp_path):
    Image.fromarray(photo(300, 400)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path / "a.jpg", 64)


@pytest.fixture
def data(tmp_path):
    """A large photo turned on its side, with a mask that fits it upright, and a small one."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(203, 331)).save(tmp_path / "images/large.jpg", exif=exif)
    Image.fromarray(photo(50, 40)).save(tmp_path / "images/small.png")
    rng = np.random.default_rng(2)
    Image.fromarray(rng.choice(np.array([0, 2, 255], np.uint8), (331, 203))).save(tmp_path / "masks/large.png")
    Image.fromarray(rng.choice(np.array([0, 1], np.uint8), (50, 40))).save(tmp_path / "masks/small.png")
    return tmp_path


TABLE = {"images": "images", "masks": "masks", "classes": ["background", "cat", "dog"]}


def test_images_and_masks_are_read_at_one_size(data):
    whole, sized = open_dataset(data, TABLE), open_dataset(data, {**TABLE, "long_side": 100})
    assert sized.image("large").shape == (100, 61, 3) and sized.mask("large").shape == (100, 61)
    np.testing.assert_array_equal(sized.image("large"), read_image(data / "images/large.jpg", 100))
    assert sized.scaling("large") == Scaling((331, 203), (100, 61))
    np.testing.assert_array_equal(sized.mask("large"), sized.scaling("large").shrink(whole.mask("large")))
    assert set(np.unique(sized.mask("large"))) == {0, 2, 255}
    for kind in ("image", "mask"):
        np.testing.assert_array_equal(getattr(sized, kind)("small"), getattr(whole, kind)("small"))
        np.testing.assert_array_equal(getattr(sized.at_file_size(), kind)("large"), getattr(whole, kind)("large"))
    assert sized.scaling("small") is None and whole.scaling("large") is None
    assert whole.at_file_size() is whole


def test_the_size_is_part_of_what_identifies_images_and_masks_and_nothing_else(data):
    (data / "labels.csv").write_text("image,labels\nlarge,dog\nsmall,\n")
    table = {**TABLE, "labels": "labels.csv"}
    whole, sized, other = (open_dataset(data, {**table, **more}) for more in ({}, {"long_side": 100}, {"long_side": 101}))
    for kind in ("image", "mask"):
        found = [dataset.identity("large", kind) for dataset in (whole, sized, other)]
        assert found[1] == (found[0], "long_side 100") and found[2] == (found[0], "long_side 101")
    assert whole.identity("large", "tags") == sized.identity("large", "tags") == "2/3"
    off = open_dataset(data, {**table, "long_side": 0})
    assert off.identity("large", "image") == whole.identity("large", "image") and off.scaling("large") is None


def test_masks_of_published_ids_are_mapped_and_shrunk(data):
    Image.fromarray(np.full((331, 203), 7, np.uint8)).save(data / "masks/large.png")
    table = {"images": "images", "masks": "masks", "label_map": "cityscapes"}
    whole, sized = open_dataset(data, table), open_dataset(data, {**table, "long_side": 64})
    assert sized.mask("large").shape == (64, 39) and set(np.unique(sized.mask("large"))) == {0}
    assert sized.identity("large", "mask")[1] == f"{whole.identity('large', 'mask')[1]} long_side 64"


def test_a_further_data_set_has_the_size_of_the_first_unless_it_names_one(data):
    for value, expected in ((None, (100, 61)), (0, (331, 203)), (64, (64, 39))):
        more = {} if value is None else {"long_side": value}
        joint = open_dataset(data, {**TABLE, "long_side": 100, "target": {**TABLE, **more}})
        assert joint.image("large").shape[:2] == (100, 61)
        assert joint.image("target:large").shape[:2] == joint.mask("target:large").shape == expected
        assert (joint.scaling("target:large") or Scaling((0, 0), (331, 203))).work == expected
        assert joint.at_file_size().image("target:large").shape[:2] == (331, 203)


@pytest.mark.parametrize("value", [63, -1, True, "512", 512.0, 1])
def test_a_size_that_is_none_is_refused(data, value):
    with pytest.raises(UsageError, match=r"\[data\] long_side: expected the pixels of the longer side"):
        open_dataset(data, {**TABLE, "long_side": value})
