"""What other programs computed is taken in as ordinary instances: features and score maps, from numpy files and zarr."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from labelseg.cli import program
from labelseg.data.scenes.drawing import write_scenes
from labelseg.errors import ItemsFailedError, LabelsegError, UsageError
from labelseg.pipeline.run.options import RunOptions
from labelseg.workspace import Workspace
from tests.stages.scene_files import data_table

HERE = RunOptions(workers=0, create=True)
STRIDE = 14


@pytest.fixture
def root(tmp_path):
    """Three scenes, with settings that walk over imported features from imported scores."""
    table = write_scenes(tmp_path, train=3, val=0, seed=0)
    settings = '[import-features]\nfiles = "features"\n[import-scores]\nfiles = "scores"\n'
    settings += '[propagate]\ncam = "import-scores"\nfeatures = "import-features"\naffinity_kind = "features"\niters = 8\n'
    (tmp_path / "labelseg.toml").write_text(data_table(table) + settings)
    for folder in ("features", "scores"):
        (tmp_path / folder).mkdir()
    return tmp_path


def sizes(root):
    """Image -> height and width."""
    dataset = Workspace(root).dataset
    return {image_id: dataset.image(image_id).shape[:2] for image_id in dataset.ids("train")}


def features_of(image_id, size, stride=STRIDE):
    rng = np.random.default_rng(int(image_id[-1]))
    return rng.standard_normal((-(-size[0] // stride), -(-size[1] // stride), 6)).astype(np.float32)


def scores_of(root, image_id, grid=(9, 12)):
    """Maps of all classes but the background, some values negative, with their names."""
    classes = Workspace(root).dataset.classes[1:]
    return np.random.default_rng(int(image_id[-1])).uniform(-0.2, 3, (len(classes), *grid)).astype(np.float32), classes


def write_all(root):
    """Write features and scores of every image as npz files."""
    for image_id, size in sizes(root).items():
        np.savez(root / "features" / f"{image_id}.npz", features=features_of(image_id, size), stride=STRIDE)
        scores, classes = scores_of(root, image_id)
        np.savez(root / "scores" / f"{image_id}.npz", scores=scores, classes=np.array(classes))


def write_features(folder, kind, image_id, values):
    """Write features in one of the forms there are."""
    if kind == "npz":
        np.savez_compressed(folder / f"{image_id}.npz", features=values, stride=STRIDE)
    elif kind == "npy":
        np.save(folder / f"{image_id}.npy", values)
    elif kind == "zarr array":
        zarr.create_array(folder / f"{image_id}.zarr", data=values, attributes={"stride": STRIDE})
    elif kind == "zarr group":
        group = zarr.open_group(folder / f"{image_id}.zarr", mode="w", attributes={"stride": STRIDE})
        group.create_array("features", data=values)
    else:
        zarr.open_group(folder, mode="a").create_array(image_id, data=values, attributes={"stride": STRIDE})


@pytest.mark.parametrize("kind", ["npz", "npy", "zarr array", "zarr group", "one zarr group"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_features_are_those_of_the_files(root, kind, dtype):
    given = {image_id: features_of(image_id, size).astype(dtype) for image_id, size in sizes(root).items()}
    for image_id, values in given.items():
        write_features(root / "features", kind, image_id, values)
    Workspace(root).run("import-features", "train", options=HERE, **({"stride": STRIDE} if kind == "npy" else {}))
    found = Workspace(root)["import-features", "train"]
    assert list(found) == list(given)
    for image_id, values in given.items():
        assert found[image_id]["features"].dtype == np.float16
        np.testing.assert_array_equal(found[image_id]["features"], values.astype(np.float16))
        assert found[image_id]["stride"] == STRIDE


@pytest.mark.parametrize("factor", [1e20, 1e-20])
def test_features_that_half_precision_does_not_hold_keep_their_directions(root, factor):
    given = {image_id: features_of(image_id, size) for image_id, size in sizes(root).items()}
    for image_id, values in given.items():
        write_features(root / "features", "npz", image_id, values * np.float32(factor))
    Workspace(root).run("import-features", "train", options=HERE)
    for image_id, values in given.items():
        found = Workspace(root)["import-features", "train"][image_id]["features"].astype(np.float32)
        np.testing.assert_allclose(found, values / np.abs(values).max(), atol=1e-3)


def test_centred_features_have_the_mean_taken_off(root):
    write_all(root)
    Workspace(root).run("import-features@centred", "train", options=HERE, centre=True)
    for image_id, size in sizes(root).items():
        values = features_of(image_id, size) - features_of(image_id, size).reshape(-1, 6).mean(axis=0)
        np.testing.assert_allclose(
            Workspace(root)["import-features@centred", "train"][image_id]["features"].astype(float), values, atol=3e-3
        )


def test_scores_are_those_of_the_tags_each_over_its_maximum(root):
    write_all(root)
    Workspace(root).run("import-scores", "train", options=HERE)
    workspace = Workspace(root)
    for image_id, size in sizes(root).items():
        item, (scores, classes) = workspace["import-scores", "train"][image_id], scores_of(root, image_id)
        assert item["class_ids"].tolist() == list(workspace.dataset.tags(image_id))
        assert item["size"].tolist() == list(size)
        for class_id, found in zip(item["class_ids"], item["scores"], strict=True):
            one = np.maximum(scores[classes.index(workspace.dataset.classes[class_id])], 0)
            np.testing.assert_allclose(found.astype(float), one / one.max(), atol=1e-3)


@pytest.mark.filterwarnings("error")
def test_scores_beyond_single_precision_are_taken_like_all_others(root):
    write_all(root)
    scores, classes = scores_of(root, "train_0000")
    np.savez(root / "scores" / "train_0000.npz", scores=scores.astype(float) * 1e300, classes=np.array(classes))
    Workspace(root).run("import-scores", "train", options=HERE)
    workspace = Workspace(root)
    found = workspace["import-scores", "train"]["train_0000"]
    tags = workspace.dataset.tags("train_0000")
    expected = np.maximum(scores[[class_id - 1 for class_id in tags]], 0)
    np.testing.assert_allclose(found["scores"], expected / expected.max((1, 2), keepdims=True), atol=1e-3)


def test_names_in_a_file_stand_for_those_the_files_lack_and_all_maps_are_taken_on_request(root):
    classes = Workspace(root).dataset.classes
    (root / "names.txt").write_text("\n".join([classes[2], "background", classes[1]]) + "\n")
    for image_id in sizes(root):
        np.save(root / "scores" / f"{image_id}.npy", np.stack([np.full((4, 5), k + 1.0) * np.arange(5) for k in range(3)]))
    Workspace(root).run("import-scores", "train", options=HERE, names="names.txt", tags="file")
    item = Workspace(root)["import-scores", "train"]["train_0000"]
    assert item["class_ids"].tolist() == [1, 2]
    np.testing.assert_allclose(item["scores"].astype(float), np.broadcast_to(np.arange(5) / 4, (2, 4, 5)), atol=1e-3)


def test_they_are_walked_and_scored_as_what_the_stages_compute(root):
    write_all(root)
    workspace = Workspace(root)
    workspace.run("propagate", "train", options=HERE)
    rows = {row.instance: row.state for row in Workspace(root).status() if row.split == "train"}
    assert {rows[name] for name in ("import-features", "import-scores", "propagate")} == {"fresh"}
    call = CliRunner().invoke
    scored = json.loads(call(program, ["-C", str(root), "evaluate", "import-scores", "--json"]).stdout)
    assert scored[0]["images"] == 3
    shown = json.loads(call(program, ["-C", str(root), "show", "import-features", "--json"]).stdout)
    assert shown["items"] == 3
    assert call(program, ["-C", str(root), "verify"]).exit_code == 0


def actions(root, instance="propagate"):
    """What a run does: instance -> images computed."""
    report = Workspace(root).run(instance, "train", options=HERE)
    return {result.instance: result.computed for result in report.results if result.computed}


def test_a_file_that_changes_costs_its_image_alone(root):
    write_all(root)
    assert actions(root) == {"import-features": 3, "import-scores": 3, "propagate": 3}
    assert actions(root) == {}
    scores, classes = scores_of(root, "train_0001")
    np.savez(root / "scores" / "train_0001.npz", scores=scores[:, ::-1], classes=np.array(classes))
    assert next(str(r) for row in Workspace(root).status() if row.instance == "import-scores" for r in row.reasons) == "1 changed"
    assert actions(root) == {"import-scores": 1, "propagate": 1}


@pytest.mark.parametrize("kind", ["zarr array", "one zarr group"])
def test_a_chunk_of_zarr_that_changes_costs_its_image_alone(root, kind):
    given = {image_id: features_of(image_id, size) for image_id, size in sizes(root).items()}
    for image_id, values in given.items():
        write_features(root / "features", kind, image_id, values)
    assert actions(root, "import-features") == {"import-features": 3}
    name = "train_0002.zarr" if kind == "zarr array" else "train_0002"
    zarr.open_array(root / "features" / name, mode="r+")[0, 0, 0] = 5.0
    assert actions(root, "import-features") == {"import-features": 1}


def test_the_same_files_in_another_folder_are_the_same_result(root):
    write_all(root)
    actions(root, "import-features")
    (root / "features").rename(root / "elsewhere")
    report = Workspace(root).run("import-features", "train", options=HERE, files="elsewhere")
    assert not any(result.computed for result in report.results)


def test_an_image_without_a_file_fails_alone_and_is_tried_again(root):
    write_all(root)
    held = (root / "features" / "train_0001.npz").rename(root / "held.npz")
    expected = r"^1 item failed.*expected train_0001\.npy, \.npz or \.zarr in .*, found none\. .* run again: labelseg import-features\."
    with pytest.raises(ItemsFailedError, match=expected):
        Workspace(root).run("import-features", "train", options=HERE)
    held.rename(root / "features" / "train_0001.npz")
    assert actions(root, "import-features") == {"import-features": 1}


def told(root, instance, **params):
    """The message of a run in which every image fails."""
    with pytest.raises(LabelsegError) as error:
        Workspace(root).run(instance, "train", options=HERE, **params)
    return str(error.value)


@pytest.mark.parametrize(("stage", "files"), [("import-features", ""), ("import-scores", "nowhere")])
def test_a_folder_has_to_be_named(root, stage, files):
    path = root / "labelseg.toml"
    path.write_text(path.read_text().replace(f'files = "{stage.removeprefix("import-")}"', f'files = "{files}"'))
    with pytest.raises(UsageError, match=rf"{stage}: expected a folder with a file for each image, but .*labelseg {stage} --files DIR"):
        Workspace(root).run(stage, "train", options=HERE)


@pytest.mark.parametrize(("content", "message"), [
    ({"features": np.ones((2, 2), np.float32), "stride": 14}, r"expected features (h, w, D), got the shape (2, 2)"),
    ({"features": np.ones((2, 3, 4)), "stride": 14}, r"at a stride of 14: expected"),
    ({"features": np.full((2, 3, 4), np.nan), "stride": 14}, r"expected finite numbers in 'features', found 24 that are not finite"),
    ({"features": np.ones((2, 3, 4))}, r"found none. Name it: labelseg import-features --stride 14"),
    ({"features": np.ones((2, 3, 4)), "stride": 7.5}, r"expected a whole number 'stride'"),
    ({"tokens": np.ones((2, 3, 4)), "more": 1}, r"expected an array 'features', found more, tokens"),
    ({"features": np.array([["a"]])}, r"expected finite numbers in 'features', found str"),
])  # fmt: skip
def test_features_of_another_form_are_refused_with_what_to_do(root, content, message):
    for image_id in sizes(root):
        np.savez(root / "features" / f"{image_id}.npz", **content)
    found = told(root, "import-features")
    assert message in found
    assert ".npz" in found


def test_objects_are_never_unpickled(root):
    for image_id in sizes(root):
        np.save(root / "scores" / f"{image_id}.npy", {"high_res": [1]}, allow_pickle=True)
    assert "found Python objects, which are never loaded. Save plain arrays" in told(root, "import-scores")


@pytest.mark.parametrize(("change", "message"), [
    (lambda scores, classes, size: {"scores": scores[0], "classes": classes}, r"got the shape (9, 12)"),
    (lambda scores, classes, size: {"scores": np.ones((len(classes), *size[::-1])), "classes": classes}, r"Write rows before columns"),
    (lambda scores, classes, size: {"scores": scores}, r"as 'classes', found 0 names. List them in a file"),
    (lambda scores, classes, size: {"scores": scores, "classes": [*classes[:-1], classes[0]]}, r"found a name twice"),
    (lambda scores, classes, size: {"scores": scores, "classes": [*classes[:-1], classes[-1] + "s"]}, r"Did you mean"),
    (lambda scores, classes, size: {"scores": scores[:0], "classes": []}, r"expected a map of each tag, found none of"),
])  # fmt: skip
def test_scores_of_another_form_are_refused_with_what_to_do(root, change, message):
    for image_id, size in sizes(root).items():
        scores, classes = scores_of(root, image_id)
        np.savez(root / "scores" / f"{image_id}.npz", **{k: np.array(v) for k, v in change(scores, list(classes), size).items()})
    found = told(root, "import-scores")
    assert message in found
    assert "labelseg import-scores" in found
