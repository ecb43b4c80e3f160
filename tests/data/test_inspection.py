"""What is told of data before anything runs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelseg.data import balance
from labelseg.data.dataset import open_dataset
from labelseg.data.inspection import inspect

TAGS = ("cat", "dog", "cat;dog", "", "dog", "cat", "cat", "dog")
PARTS = {"images": "images", "labels": "labels.csv", "masks": "masks", "classes": "classes.txt", "splits": "."}


@pytest.fixture
def root(tmp_path: Path, monkeypatch) -> Path:
    """Eight images in two classes with masks, and lists: nothing is wrong with them, but that they are few."""
    monkeypatch.setattr(balance, "FEWEST_MASKS", 2)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(8):
        Image.fromarray(np.full((20, 30, 3), 20 * number, np.uint8)).save(tmp_path / f"images/{number}.jpg")
        mask = np.zeros((20, 30), np.uint8)
        mask[4:9, 5:9], mask[0] = number % 2 + 1, 255
        Image.fromarray(mask).save(tmp_path / f"masks/{number}.png")
    (tmp_path / "labels.csv").write_text("image,labels\n" + "".join(f"{k},{tags}\n" for k, tags in enumerate(TAGS)))
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    (tmp_path / "train.txt").write_text("0\n1\n2\n3\n4\n5\n")
    (tmp_path / "val.txt").write_text("6\n7\n")
    return tmp_path


def told(root: Path, tags: bool = True, quick: bool = False, **parts: object) -> list[str]:
    table = {key: value for key, value in {**PARTS, **parts}.items() if value is not None}
    return [str(finding) for finding in inspect(open_dataset(root, table), tags=tags, quick=quick)]


def masks(root: Path, change) -> None:
    for path in sorted((root / "masks").glob("*.png")):
        change(np.array(Image.open(path)), path)


def test_of_sound_data_nothing_is_told(root):
    assert told(root) == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("cat\ndog\n", "error: {root}/classes.txt: no background among the classes cat, dog"),
        ("_background_\ncat\ndog\n", "error: {root}/classes.txt: class 0 is '_background_'"),
        ("__ignore__\ncat\ndog\n", "error: {root}/classes.txt: class 0 is '__ignore__': it is learned like any class"),
        ("cat\ndog\nBG\n", "Rename 'BG' to background and put it first"),
    ],
)
def test_a_list_without_the_background_is_told(root, names, expected):
    (root / "classes.txt").write_text(names)
    assert any(expected.format(root=root) in line for line in told(root, masks=None))


def test_data_learned_from_masks_alone_needs_no_background(root):
    (root / "classes.txt").write_text("road\ncat\ndog\n")
    assert told(root, tags=False) == []


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (
            ("cat", "cat;dog", "cat", "cat;dog", "cat", "cat", "cat;dog", "cat"),
            "every tagged image holds cat: a classifier cannot tell where that is. Add images without it,",
        ),
        (("cat;dog",) * 8, "every tagged image holds cat, dog: a classifier cannot tell where these are. Add images without each of them,"),
        (("cat;dog", "cat", "cat", "", "cat;dog", "cat", "cat;dog", "cat"), "'dog' never stands without 'cat'"),
        (("", "", "", "", "", "", "", ""), "error: {root}/labels.csv: 8 images tagged, and none with a class"),
        (("cat", "cat", "", "cat", "cat", "dog", "cat", "dog"), "note: {root}/labels.csv: classes in few images of train: 'dog' 1"),
        (("cat", "cat", "", "cat", "cat", "", "dog", "dog"), "no image of the split train holds 'dog' (2 images elsewhere): such"),
        (("cat", "cat", "", "cat", "cat", "", "cat", "cat"), "note: {root}/labels.csv: no image holds dog"),
    ],
)
def test_tags_from_which_nothing_can_be_learned_are_told(root, cells, expected):
    (root / "labels.csv").write_text("image,labels\n" + "".join(f"{k},{tags}\n" for k, tags in enumerate(cells)))
    assert any(expected.format(root=root) in line for line in told(root))


@pytest.mark.parametrize("cells", [("Cat", "cat", "dog"), ("dog", "cat;DOG", "cat")])
def test_classes_spelled_in_two_ways_are_told_with_their_lines(root, cells):
    (root / "labels.csv").write_text("image,labels\n" + "".join(f"{k},{tags}\n" for k, tags in enumerate(cells)))
    (line,) = [line for line in told(root, classes=None, masks=None) if line.startswith("error")]
    assert "differ in case alone: they would be two classes" in line
    assert "(line 2)" in line
    assert "(line 3)" in line


@pytest.mark.parametrize(("name", "listed"), [("val", "5\n6\n"), ("test", "0\n")])
def test_images_learned_and_scored_are_told(root, name, listed):
    (root / f"{name}.txt").write_text(listed)
    assert any(f"splits {name} and train: they share 1 image: {listed[0]}" in line for line in told(root))


def test_images_learned_and_scored_are_told_once_though_a_further_list_holds_them(root):
    (root / "val.txt").write_text("5\n6\n7\n")
    (root / "some.txt").write_text("5\n4\n")
    shared = [line for line in told(root) if "share" in line]
    assert len(shared) == 1
    (root / "some.txt").write_text("5\n6\n")
    shared = [line for line in told(root) if "share" in line]
    assert [line.partition(": they")[0] for line in shared] == ["warning: splits val and train", "warning: splits val and some"]
    assert "1 image: 6" in shared[1]


def test_images_chosen_and_scored_on_are_told(root):
    (root / "test.txt").write_text("7\n")
    assert any("splits test and val: they share 1 image: 7: what is chosen on val flatters scores on test" in line for line in told(root))


def test_copies_under_another_name_are_told(root):
    assert not any("same bytes" in line for line in told(root))
    (root / "images/7.jpg").write_bytes((root / "images/2.jpg").read_bytes())
    assert any("splits val and train: 1 image of val with the same bytes as one of train: 7 is 2: scores" in line for line in told(root))
    assert not any("same bytes" in line for line in told(root, quick=True))


def test_files_that_differ_in_the_middle_alone_are_no_copies(root):
    for name, value in (("2", 1), ("7", 2)):
        pixels = np.zeros((60, 80, 3), np.uint8)
        pixels[30, 40] = value
        Image.fromarray(pixels).save(root / f"images/{name}.bmp")
        (root / f"images/{name}.jpg").unlink()
    assert not any("same bytes" in line for line in told(root, masks=None))


def test_hardly_any_masks_to_score_on_are_told_with_the_classes_they_lack(root):
    (root / "masks/7.png").unlink()
    (line,) = (line for line in told(root) if "split val" in line)
    assert line.startswith(
        "warning: split val: 1 mask for 2 images, none with 'dog': scores on so few say little, and choose the epoch of a"
    )
    assert told(root, quick=True) == []
    (root / "masks/6.png").unlink()
    assert told(root) == []


@pytest.mark.parametrize(("fewest", "expected"), [(2, 0), (3, 1)])
def test_masks_to_score_on_are_few_below_a_number(root, monkeypatch, fewest, expected):
    monkeypatch.setattr(balance, "FEWEST_MASKS", fewest)
    assert sum("split val: 2 masks for 2 images: scores" in line for line in told(root)) == expected


def tagged(root, *rows, train=None):
    """Tell of data of three classes with images tagged so, all to learn from but the last."""
    (root / "classes.txt").write_text("background\ncat\ndog\nperson\n")
    for number in range(8, len(rows)):
        Image.fromarray(np.full((4, 4, 3), number % 256, np.uint8)).save(root / f"images/{number}.png")
    (root / "labels.csv").write_text("image,labels\n" + "".join(f"{k},{tags}\n" for k, tags in enumerate(rows)))
    (root / "train.txt").write_text("".join(f"{k}\n" for k in range(len(rows) - 1)))
    (root / "val.txt").write_text(f"{len(rows) - 1}\n")
    return told(root, masks=None)


def test_a_class_that_never_stands_alone_is_told_whatever_stands_beside_it(root):
    (line,) = tagged(root, "cat", "dog", "cat;person", "dog;person", "cat;person", "dog", "cat")
    assert "labels.csv: never alone in an image: 'person' (3 images): no tag tells such a class from what stands beside it. Add" in line
    assert tagged(root, "cat", "dog", "cat;person", "dog;person", "cat;person", "person", "dog", "cat") == []


def test_classes_bound_to_one_other_are_told_together(root):
    lines = tagged(root, "", *["cat"] * 2, *["cat;dog"] * 3, *["cat;person"] * 3, "cat")
    (line,) = [line for line in lines if "never stand without" in line]
    assert "'dog', 'person' never stand without 'cat': one may be taken for the other. Add images of 'dog', 'person' alone." in line


def test_beside_a_class_of_every_image_one_may_be_alone(root):
    lines = tagged(root, "cat;person", "dog;person", "cat;person", "dog;person", "cat;person", "dog;person", "cat;person")
    assert len(lines) == 1
    assert "every tagged image holds person" in lines[0]


def test_a_class_of_nearly_every_image_is_told(root):
    lines = tagged(root, *["cat"] * 20, *["cat;dog"] * 19, "dog", "cat")
    assert any("nearly every tagged image holds 'cat' (all but 1 of 41)" in line for line in lines)
    assert not any("nearly every" in line for line in tagged(root, *["cat"] * 18, *["dog"] * 3))


def test_uneven_classes_are_told(root):
    lines = tagged(root, *["cat"] * 30, "dog", "dog;cat", "dog", "cat")
    assert any("note: " in line and "classes in few images of train: 'dog' 3" in line for line in lines)
    assert not any("'cat' in" in line for line in lines)
    assert any("'dog' is in 1 image of train, 'cat' in 30: rare classes" in line for line in tagged(root, *["cat"] * 30, "dog", "cat"))


def test_images_of_which_a_table_tells_nothing_are_told(root):
    assert tagged(root, "cat", "dog", "cat;person", "dog;person", "cat;person", "person", "dog", "cat") == []
    (root / "labels.csv").write_text("".join(line for line in (root / "labels.csv").open() if line[0] not in "37"))
    (line,) = (line for line in told(root, masks=None) if "nothing is told" in line)
    assert line.startswith(f"note: {root}/labels.csv: nothing is told of 1 image of train: 3: no classifier learns from them")


@pytest.mark.parametrize("value", [0, 255])
def test_masks_of_0_and_255_are_told(root, value):
    masks(root, lambda mask, path: Image.fromarray(np.where(mask % 255, 255, value * (mask == 255)).astype(np.uint8)).save(path))
    assert any(line.startswith(f"error: {root}/masks: masks hold 0 and 255 only") for line in told(root))


def test_a_mask_of_0_and_255_among_others_is_told(root):
    for name in ("3", "5"):
        Image.fromarray(np.array([[0, 255]] * 20, np.uint8).repeat(15, 1)).save(root / f"masks/{name}.png")
    (line,) = told(root)
    expected = "2 of 8 masks looked at hold nothing but 0 and 255 while others hold classes, 3.png the first: they count as background"
    assert line.startswith(f"warning: {root}/masks: {expected}")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "masks/3.png")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "masks/5.png")
    assert told(root) == []


@pytest.mark.parametrize(
    ("usual", "side", "expected"),
    [(30, 1001, 512), (30, 1000, 0), (600, 1201, 600), (600, 1200, 0)],
)
def test_images_far_larger_than_the_others_are_told(root, usual, side, expected):
    for path in (root / "images").iterdir():
        Image.new("L", (3, usual), int(path.stem)).save(path)
    Image.new("L", (3, side)).save(root / "images/4.jpg")
    found = [line for line in told(root, masks=None) if "far larger" in line]
    what = (
        f"1 of 8 images looked at far larger than the median of {usual} pixels, 4.jpg of {side:,} the largest: each is worked on at its own"
    )
    assert [what in line and line.endswith(f"labelseg config data.long_side {expected}") for line in found] == [True] * bool(expected)
    assert not any("far larger" in line for line in told(root, masks=None, long_side=64))


@pytest.mark.parametrize(("frequent", "rare", "expected"), [(20, "Khu", True), (9, "Khu", False), (20, "Schaf", False)])
def test_a_rare_name_close_to_a_frequent_one_is_told_where_a_table_names_the_classes(root, frequent, rare, expected):
    for number in range(8, frequent + 1):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(root / f"images/{number}.png")
    cells = [rare, *["Kuh"] * frequent]
    (root / "labels.csv").write_text("image,labels\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells)))
    found = [line for line in told(root, classes=None, masks=None) if "close to a frequent" in line]
    what = "rare names close to a frequent one: 'Khu' (line 2, 1 image: did you mean 'Kuh'?): each is a class of its own"
    assert [what in line for line in found] == [True] * expected
    (root / "classes.txt").write_text(f"background\nKuh\n{rare}\n")
    assert not any("close to a frequent" in line for line in told(root, masks=None))


def test_masks_that_are_background_alone_are_told(root):
    masks(root, lambda mask, path: Image.fromarray(np.zeros_like(mask)).save(path))
    assert any("no pixel of any class but background" in line for line in told(root))


def test_a_palette_in_each_file_is_told_where_colours_disagree(root):
    def own_palette(mask, path):
        ids = np.unique(mask[mask < 255])
        image = Image.fromarray(np.searchsorted(ids, np.where(mask < 255, mask, 0)).astype(np.uint8))
        colours = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0]], np.uint8)[ids]
        image.putpalette(colours.tobytes())
        image.save(path)

    masks(root, own_palette)
    Image.fromarray(np.array([[0, 1, 2]] * 20, np.uint8).repeat(10, 1)).save(root / "masks/0.png")
    both = Image.open(root / "masks/0.png")
    both.putpalette(bytes([0, 0, 0, 200, 0, 0, 0, 200, 0]))
    both.save(root / "masks/0.png")
    (line,) = [line for line in told(root) if "palette of its own" in line]
    assert "colour (0, 200, 0) is 2 in 0.png and 1 in 1.png" in line


def test_one_palette_for_all_is_none_of_its_own(root):
    def with_palette(mask, path):
        image = Image.fromarray(mask)
        image.putpalette(np.arange(768).astype(np.uint8).tobytes())
        image.save(path)

    masks(root, with_palette)
    assert told(root) == []


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photos_turned_upright_are_told_where_they_have_masks(root, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (30, 20)).save(root / "images/1.jpg", exif=exif)
    assert any("1 photo with a mask turned upright by EXIF rotation, such as 1.jpg" in line for line in told(root))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: (root / "images/x.heic").touch(), "warning: {root}/images: 1 file passed over by format (1 .heic)"),
        (lambda root: (root / "images/x.gif").touch(), "1 file passed over by format (1 .gif)"),
        (lambda root: (root / "masks/0.npy").touch(), "warning: {root}/masks: 1 file of other formats (1 .npy): not read as masks"),
        (lambda root: (root / "masks/0.jpg").touch(), "JPEG changes values along every edge"),
        (lambda root: (root / "masks/0.png").rename(root / "masks/0_mask.png"), "1 mask with the name of no image: 0_mask.png: not used"),
        (lambda root: (root / "images/2.jpg").write_bytes(b"no"), "1 image cannot be read, the first: {root}/images/2.jpg"),
        (lambda root: (root / "masks/2.png").write_bytes(b"no"), "1 of 8 masks looked at cannot be used, the first: {root}/masks/2.png"),
        (lambda root: (root / "README.txt").write_text("Data\nof pets"), "note: {root}/README.txt: no list of images"),
        (lambda root: (root / "val.txt").write_text("6\n7\ngone\n"), "warning: {root}/val.txt: 1 line of no image: 'gone' (line 3)"),
        (lambda root: Image.new("RGB", (9000, 6000)).save(root / "images/3.jpg"), "1 image over 50 megapixels, 3.jpg of 54"),
    ],
)
def test_files_that_do_not_count_are_told(root, change, expected):
    change(root)
    assert any(expected.format(root=root) in line for line in told(root))


def test_files_passed_over_are_told_by_the_listing_that_found_the_images(root, monkeypatch):
    for name in ("x.GIF", "y.gif", "z.heic", ".hidden.gif", "note.txt"):
        (root / "images" / name).touch()
    data = open_dataset(root, {"images": "images", "classes": "classes.txt"})
    data.ids("all")
    monkeypatch.setattr(os, "scandir", None)
    assert any("3 files passed over by format (2 .gif, 1 .heic)" in str(finding) for finding in inspect(data, tags=False))


def test_scans_of_twelve_bits_in_files_of_sixteen_are_told(root):
    for suffix, top in (("png", 4095), ("tif", 65535)):
        Image.fromarray(np.linspace(0, top, 600).reshape(20, 30).astype(np.uint16)).save(root / f"images/s{top}.{suffix}")
    (line,) = [line for line in told(root) if "16 bits" in line]
    assert "s4095.png" in line
    assert "s65535" not in line


def test_a_quick_look_tells_no_notes(root):
    (root / "README.txt").write_text("Data\nof pets")
    (root / "images/x.gif").touch()
    assert [line.split(":")[0] for line in told(root, quick=True)] == ["warning"]


def test_voc_without_masks_or_lists_gives_tags(tmp_path):
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "JPEGImages/a.jpg")
    (tmp_path / "Annotations/a.xml").write_text("<annotation><object><name>dog</name></object></annotation>")
    data = open_dataset(tmp_path, {"voc": "."})
    assert (data.splits(), data.tags("a"), data.has("a", "mask")) == (["train", "all"], (12,), False)
