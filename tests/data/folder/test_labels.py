"""Class lists and label tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelseg.data.folder.labels import check_classes, infer_classes, read_classes, read_labels, read_voc_annotation, write_labels
from labelseg.errors import DataError

CLASSES = ("background", "cat", "dog", "polar bear")


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode())
    return path


def tags_of(path: Path, classes: tuple[str, ...] = CLASSES) -> dict[str, tuple[int, ...]]:
    return {row.image: row.class_ids for row in read_labels(path, classes)}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("dog", (2,)),
        ("dog;cat", (1, 2)),
        ("dog | cat", (1, 2)),
        ("dog cat", (1, 2)),
        ("polar bear", (3,)),
        ("polar bear;cat", (1, 3)),
        ("cat;", (1,)),
        ("cat cat", (1,)),
        ("", ()),
        ("background", ()),
        ("background dog", (2,)),
    ],
)
def test_a_cell_holds_labels_separated_by_semicolon_bar_or_space(tmp_path: Path, cell: str, expected: tuple[int, ...]) -> None:
    assert tags_of(table(tmp_path, f"image,labels\na,{cell}\n")) == {"a": expected}


def test_a_table_may_have_a_byte_order_mark_windows_line_ends_quotes_and_blank_lines(tmp_path: Path) -> None:
    path = table(tmp_path, '\ufeffImage, Labels\r\n"a, b.jpg","cat"\r\n\r\n,\r\nc,dog\r\n')
    assert tags_of(path) == {"a, b.jpg": (1,), "c": (2,)}


def test_class_0_is_a_label_where_there_is_no_background(tmp_path: Path) -> None:
    assert tags_of(table(tmp_path, "image,labels\na,sky road\n"), ("sky", "road")) == {"a": (0, 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,cat\n", r"line 1: expected the header image,labels, got 'a,cat'"),
        ("", r"line 1: expected the header image,labels, got ''"),
        ("image,labels\na,cat\nb,dgo\n", r"line 3: 'dgo' is no class\. Did you mean 'dog'\?"),
        ("image,labels\na,cat brid\n", r"line 2: 'brid' is no class\. Classes: "),
        ("image,labels\na,cat,dog\n", r"line 2: expected 2 columns, got 3\. Separate labels by ;"),
        ("image,labels\na\n", r"line 2: expected 2 columns, got 1"),
    ],
)
def test_a_wrong_table_is_an_error_that_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labels(table(tmp_path, text), CLASSES)


def test_a_missing_or_binary_table_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        read_labels(tmp_path / "none.csv", CLASSES)
    (tmp_path / "latin.csv").write_bytes(b"image,labels\nm\xfcnchen,cat\n")
    with pytest.raises(DataError, match=r"latin\.csv: expected UTF-8 text, found byte 0xfc"):
        read_labels(tmp_path / "latin.csv", CLASSES)


def test_written_labels_read_back(tmp_path: Path) -> None:
    tags = {"a,b": (1, 3), "c": (), 'd"': (2,)}
    write_labels(tmp_path / "labels.csv", tags, CLASSES)
    assert tags_of(tmp_path / "labels.csv") == tags


def test_classes_are_inferred_from_a_table(tmp_path: Path) -> None:
    assert infer_classes(table(tmp_path, "image,labels\na,dog cat\nb,\nc,cat\n")) == ("background", "cat", "dog")
    assert infer_classes(table(tmp_path, "image,labels\na,dog;polar bear\nb,cat\n")) == ("background", "cat", "dog", "polar bear")


def test_line_k_of_a_class_file_is_class_k(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("background\ncat\npolar bear\n\n")
    assert read_classes(tmp_path / "classes.txt") == ("background", "cat", "polar bear")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "got 0"),
        ([f"c{k}" for k in range(256)], "got 256"),
        (["a", "", "b"], "class 1 has no name"),
        (["a", "b;c"], "which separate labels"),
        (["a", "b", "a"], "class 'a' is listed twice"),
        (["cat", "background"], "must come first"),
    ],
)
def test_a_wrong_class_list_is_an_error(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_classes(names, "classes.txt")


def test_a_voc_annotation_names_each_class_once_and_counts_difficult_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    part = "<part><name>head</name></part>"
    objects = [f"<object><name>dog</name>{part}</object>", "<object><name>cat</name><difficult>1</difficult></object>"]
    path.write_text(f"<annotation>{objects[0]}{objects[0]}{objects[1]}</annotation>")
    assert read_voc_annotation(path, CLASSES) == (1, 2)
    with pytest.raises(DataError, match=r"a\.xml: 'cat' is no class"):
        read_voc_annotation(path, ("background", "dog"))
    path.write_text("<annotation>")
    with pytest.raises(DataError, match=r"a\.xml: expected a VOC annotation"):
        read_voc_annotation(path, CLASSES)
