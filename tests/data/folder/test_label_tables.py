"""Tables of tags as spreadsheets, data frames and labelling tools write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelseg.data.folder.findings import Finding
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.data.folder.labels import infer_classes, read_labels
from labelseg.errors import DataError

CLASSES = ("background", "cat", "dog", "polar bear")
THREE = {"a": (1,), "b": (1, 2), "c": ()}


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path) -> tuple[dict[str, tuple[int, ...]], list[Finding]]:
    findings: list[Finding] = []
    return {row.image: row.class_ids for row in read_labels(path, CLASSES, findings)}, findings


@pytest.mark.parametrize(
    "text",
    [
        "filename;class\na;cat\nb;cat|dog\nc;\n",
        "file_name\ttags\na\tcat\nb\tcat, dog\nc\t\n",
        "sep=;\nImage;Labels\na;cat\nb;dog|cat\nc;\n",
        "id,width,height,category\na,5,5,cat\nb,5,5,cat|dog\nc,5,5,\n",
        "image,cat,dog\na,1,0\nb,1,1\nc,0,0\n",
        "dog;Filename;cat\n0.0;a;1.0\n1.0;b;1.0\n0.0;c;0.0\n",
        "image,cat,dog,polar bear,source\na,True,False,False,phone\nb,True,True,False,web\nc,False,False,False,web\n",
        'image,labels\na,"[\'cat\']"\nb,"[""cat"", ""dog""]"\nc,[]\n',
        'image,labels\na,cat,,\nb,"cat,dog",,\nc,,,\n'.replace("image,labels", "image,labels,,"),
        "image,labels\na,Cat\nb,DOG;cat\nc,\n",
    ],
)
def test_what_other_programs_write_is_read(tmp_path: Path, text: str) -> None:
    assert read(write(tmp_path, text))[0] == THREE


def test_unicode_text_of_spreadsheets_is_read(tmp_path: Path) -> None:
    assert read(write(tmp_path, "\ufeffimage\tlabels\r\na\tcat\r\nb\tcat;dog\r\nc\t\r\n", "utf-16-le"))[0] == THREE


def test_a_workbook_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(DataError, match=r"Excel workbook\. Save the table as CSV"):
        read_labels(path, CLASSES)


@pytest.mark.parametrize("mark", ["nan", "NaN", "N/A", "None", "?"])
def test_a_missing_value_is_no_class_and_leaves_tags_unknown(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path, f"image,labels\na,cat\nb,{mark}\nc,{mark}\n")
    assert infer_classes(path) == ("background", "cat")
    tags, findings = read(path)
    assert tags == {"a": (1,)}
    assert [(finding.level, finding.where.endswith("line 3")) for finding in findings] == [("warning", True)]
    assert "1 line more alike" in findings[0].what


def test_a_mark_that_is_listed_as_a_class_is_one(tmp_path: Path) -> None:
    path = write(tmp_path, "image,labels\na,none\nb,cat\n")
    assert [row.class_ids for row in read_labels(path, ("background", "cat", "none"))] == [(2,), (1,)]


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ('image,labels\na,"cat,dog"\nb,polar bear\n', ("background", "cat", "dog", "polar bear")),
        ("image,labels\na,\"['cat', 'polar bear']\"\n", ("background", "cat", "polar bear")),
        ("image,dog,polar bear\na,1,0\n", ("background", "dog", "polar bear")),
        ("image;label\na;cat\na;dog\n", ("background", "cat", "dog")),
    ],
)
def test_classes_are_taken_from_every_form(tmp_path: Path, text: str, classes: tuple[str, ...]) -> None:
    assert infer_classes(write(tmp_path, text)) == classes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('image,labels\na,"cat,dog"\n', "line 2: 'cat,dog' is read as cat and dog"),
        ("file;w;h;label\na;5;5;cat\n", "columns separated by semicolons, images in 'file', labels in 'label'; passed over: w, h"),
        ("image,cat,dog\na,1,0\n", "a column for each class"),
        ("image,labels\na,CAT\nb,Dog\n", "in case alone are read as these: 'CAT' as 'cat' (line 2), 'Dog' as 'dog' (line 3)"),
    ],
)
def test_what_was_understood_is_told(tmp_path: Path, text: str, told: str) -> None:
    assert any(told in str(finding) for finding in read(write(tmp_path, text))[1])


def test_the_documented_form_needs_no_word(tmp_path: Path) -> None:
    assert read(write(tmp_path, "image,labels\na,cat;dog\nb,polar bear\nc,\n"))[1] == []


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).touch()
    return root / "images"


def test_a_folder_for_each_class_is_a_table(tmp_path: Path) -> None:
    images = folder_of(tmp_path, "cat/1.jpg", "dog/1.jpg", "dog/day two/3.jpg", "loose.jpg")
    data = FolderDataset(images, labels=images)
    assert data.classes == ("background", "cat", "dog")
    assert {name: data.tags(name) for name in data.ids("all")} == {"cat/1": (1,), "dog/1": (2,), "dog/day two/3": (2,), "loose": None}


def test_rows_of_boxes_add_up_and_rows_of_gone_images_are_left_out(tmp_path: Path) -> None:
    images = folder_of(tmp_path, "a.jpg", "b.jpg")
    data = FolderDataset(
        images, labels=write(tmp_path, "filename,class,xmin\na.jpg,dog,1\na.jpg,cat,3\ngone.jpg,cat,2\nb.jpg,cat,2\nz.jpg,cat,2\n")
    )
    assert (data.tags("a"), data.tags("b")) == ((1, 2), (1,))
    (gone,) = [finding for finding in data.findings() if finding.level == "warning"]
    assert "line 4: no image 'gone.jpg'" in str(gone)
    assert "and 1 row more of no image: these rows are left out" in str(gone)


def test_a_table_that_names_no_image_at_all_is_an_error(tmp_path: Path) -> None:
    data = FolderDataset(folder_of(tmp_path, "a.jpg"), labels=write(tmp_path, "image,labels\nx,cat\ny,dog\n"))
    with pytest.raises(DataError, match=r"line 2: no image 'x' in .*, and no row names one; images are called a\. Write these names"):
        data.tags("a")
