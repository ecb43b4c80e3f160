from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from labelseg.class_ids import IGNORE
from labelseg.data.dataset import open_dataset
from labelseg.data.domains.published_ids import CITYSCAPES, LABEL_MAPS, SYNTHIA, id_table
from labelseg.errors import DataError, UsageError
from labelseg.pipeline.files.fingerprint import FileIndex
from labelseg.pipeline.plan.data_digests import DataDigests

CITYSCAPES_IDS = "7:0 8:1 11:2 12:3 13:4 17:5 19:6 20:7 21:8 22:9 23:10 24:11 25:12 26:13 27:14 28:15 31:16 32:17 33:18"
SYNTHIA_IDS = "3:0 4:1 2:2 21:3 5:4 7:5 15:6 9:7 6:8 1:9 10:10 17:11 8:12 19:13 12:14 11:15"


def pairs(text):
    return {int(raw): int(train) for raw, train in (pair.split(":") for pair in text.split())}


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path):
    """Two folders with an image of one name, and masks."""
    for folder, names, ids in (("day", ("a", "b"), (0, 1)), ("dusk", ("a", "c"), (2, 1))):
        for name in names:
            write(tmp_path / folder / "images" / f"{name}.png", np.full((4, 6, 3), len(folder)))
            write(tmp_path / folder / "masks" / f"{name}.png", np.tile(ids, (4, 3)))
    return tmp_path


def table(target=(), **main):
    day = {"images": "day/images", "masks": "day/masks", "classes": ["background", "cat", "dog"], **main}
    return {**day, "target": {"images": "dusk/images", "masks": "dusk/masks", **dict(target)}}


def test_images_of_one_name_in_two_sets_are_two(folders):
    data = open_dataset(folders, table())
    assert data.ids("train") == data.ids("all") == ["a", "b"]
    assert data.ids("target:train") == ["target:a", "target:c"]
    assert data.splits() == ["train", "target:train", "target:all", "all"]
    assert data.image("a")[0, 0, 0] == 3
    assert data.image("target:a")[0, 0, 0] == 4
    assert data.mask("a")[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert data.mask("target:a")[0].tolist() == [2, 1, 2, 1, 2, 1]
    assert data.has("target:c", "mask")
    assert not data.has("c", "image")
    assert not data.has("target:b", "image")


def test_names_in_lists_find_images_of_either_set(folders):
    data = open_dataset(folders, table())
    assert data.matches("a.png") == ["a"]
    assert data.matches("target:a.png") == ["target:a"]
    assert data.resolve("target:c", "list line 1") == "target:c"
    with pytest.raises(DataError, match="list line 1: no image 'b'"):
        data.resolve("target:b", "list line 1")


def test_two_sets_travel_to_other_processes(folders):
    data = pickle.loads(pickle.dumps(open_dataset(folders, table())))
    assert data.ids("target:all") == ["target:a", "target:c"]


def test_an_unknown_split_names_those_of_both_sets(folders):
    data = open_dataset(folders, table())
    for split in ("val", "target:val"):
        with pytest.raises(UsageError, match=f"no split '{split}'.* Splits: train, target:train, target:all, all"):
            data.ids(split)


def test_a_file_that_is_named_like_another_set_is_refused(folders):
    write(folders / "day" / "images" / "target:z.png", np.zeros((4, 6, 3)))
    with pytest.raises(DataError, match="image 'target:z': its name begins like those of the data set 'target'"):
        open_dataset(folders, table()).ids("all")


def test_classes_in_another_order_are_matched_by_name(folders):
    data = open_dataset(folders, table({"classes": ["background", "dog", "cat"]}))
    assert data.classes == ("background", "cat", "dog")
    # 2 is cat there, 1 is dog
    assert data.mask("target:a")[0].tolist() == [1, 2, 1, 2, 1, 2]
    assert data.mask("a")[0].tolist() == [0, 1, 0, 1, 0, 1]


def test_an_id_beyond_the_classes_of_the_other_set_is_refused(folders):
    write(folders / "dusk" / "masks" / "c.png", np.full((4, 6), 3))
    with pytest.raises(DataError, match="value 3 at row 0"):
        open_dataset(folders, table({"classes": ["background", "dog", "cat"]})).mask("target:c")


def test_other_classes_are_refused_by_name(folders):
    message = r"\[data.target\]: its classes differ from those of \[data\]: it lacks dog; only it has cow, horse"
    with pytest.raises(DataError, match=message):
        open_dataset(folders, table({"classes": ["background", "cat", "cow", "horse"]}))
    with pytest.raises(DataError, match="only it has target"):
        open_dataset(folders, {**table(), "target": {"scenes": {"train": 3}}})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"pictures": "x"}, r"\[data.target\] has no key 'pictures'"),
        ({"images": 3}, r"\[data.target\] images: expected a path, got 3"),
        ({"label_map": "cityscape"}, "label_map: expected one of cityscapes, gta5, synthia.* got 'cityscape'. Did you mean 'cityscapes'"),
        ({"label_map": "gta5"}, "its classes differ"),
    ],
)
def test_a_wrong_table_of_another_set_is_told(folders, target, message):
    with pytest.raises((UsageError, DataError), match=message):
        open_dataset(folders, table(target))


@pytest.mark.parametrize("name", ["tar:get", "", "a b"])
def test_a_name_with_other_characters_is_refused(folders, name):
    with pytest.raises(UsageError, match="expected a name of letters"):
        open_dataset(folders, {"images": "day/images", name: {"images": "dusk/images"}})


@pytest.mark.parametrize(
    ("name", "ids", "classes"),
    [("cityscapes", CITYSCAPES_IDS, CITYSCAPES), ("gta5", CITYSCAPES_IDS, CITYSCAPES), ("synthia", SYNTHIA_IDS, SYNTHIA)],
)
def test_published_ids_lead_to_train_ids(name, ids, classes):
    table = id_table(LABEL_MAPS[name], tuple(LABEL_MAPS[name]))
    assert {raw: train for raw, train in enumerate(table) if train != IGNORE} == pairs(ids)
    assert tuple(LABEL_MAPS[name]) == classes


def test_the_classes_of_synthia_are_found_by_name_in_cityscapes():
    full, few = (id_table(LABEL_MAPS[name], tuple(LABEL_MAPS[name])) for name in ("cityscapes", "cityscapes-16"))
    for raw in range(256):
        named = CITYSCAPES[full[raw]] if full[raw] != IGNORE else ""
        assert few[raw] == (SYNTHIA.index(named) if named in SYNTHIA else IGNORE)


def test_a_published_map_gives_classes_and_reads_both_sets(folders):
    write(folders / "day" / "masks" / "a.png", np.tile([7, 26], (4, 3)))
    write(folders / "dusk" / "masks" / "a.png", np.tile([0, 33], (4, 3)))
    tables = {"images": "day/images", "masks": "day/masks", "label_map": "gta5"}
    data = open_dataset(folders, {**tables, "target": {"images": "dusk/images", "masks": "dusk/masks", "label_map": "cityscapes"}})
    assert data.classes == CITYSCAPES
    assert data.mask("a")[0].tolist() == [0, 13] * 3
    assert data.mask("target:a")[0].tolist() == [IGNORE, 18] * 3


def test_another_map_is_another_content_of_the_same_file(folders):
    def digests(**target):
        tables = {"images": "day/images", "masks": "day/masks", "classes": list(CITYSCAPES), **target}
        data = DataDigests(open_dataset(folders, tables), FileIndex(folders / "files.json"))
        return [data.item("a", kind) for kind in ("image", "mask")]

    plain, mapped = digests(), digests(label_map="gta5")
    assert plain[0] == mapped[0]
    assert plain[1] != mapped[1]


def test_the_first_set_stays_as_it_is_when_another_comes(folders):
    alone, joint = (
        DataDigests(open_dataset(folders, tables), FileIndex(folders / "files.json"))
        for tables in ({key: value for key, value in table().items() if key != "target"}, table())
    )
    for split in ("train", "all"):
        assert alone.split(split, ("image", "mask")) == joint.split(split, ("image", "mask"))


def test_scenes_have_their_dusk_as_another_set():
    data = open_dataset(None, {"scenes": {"train": 3}, "target": {"scenes": {"train": 2, "val": 2, "style": "dusk", "seed": 1}}})
    assert data.ids("target:val") == ["target:val_0000", "target:val_0001"]
    assert data.image("target:train_0000").mean() < data.image("train_0000").mean() - 20
    assert data.mask("target:train_0000").shape == data.image("target:train_0000").shape[:2]
