"""The built-in scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelseg.data.dataset import open_dataset
from labelseg.data.scenes.badges import BADGES, paint_badge
from labelseg.data.scenes.drawing import SIDES, Scene, _place_objects, make_scene, make_scenes, write_scenes
from labelseg.data.scenes.world import CLASSES
from labelseg.errors import UsageError


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(make_scenes(40, seed=3))


def test_scenes_have_tags_that_their_masks_show(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.tags == tuple(sorted(set(np.unique(scene.mask).tolist()) - {0, 255}))
        assert scene.tags
        assert scene.image.shape == (*scene.mask.shape, 3)
        assert scene.image.dtype == scene.mask.dtype == np.uint8
        assert 96 <= min(scene.mask.shape) <= max(scene.mask.shape) <= 160


def test_all_classes_and_sizes_occur_and_ground_and_objects_share_the_image(scenes: list[Scene]) -> None:
    assert {class_id for scene in scenes for class_id in scene.tags} == set(range(1, len(CLASSES)))
    assert len({scene.mask.shape for scene in scenes}) > 30
    assert {len(scene.tags) for scene in scenes} >= {1, 2, 3}
    assert 0.45 < np.mean([(scene.mask == 0).mean() for scene in scenes]) < 0.8
    assert 0 < np.mean([(scene.mask == 255).mean() for scene in scenes]) < 0.06


def test_where_objects_overlap_the_mask_shows_the_one_in_front() -> None:
    overlaps = 0
    for index in range(12):
        rng = np.random.default_rng([0, index])
        objects, depths = _place_objects(tuple(rng.integers(*SIDES, size=2)), rng)
        mask = make_scene(index).mask
        assert set(np.unique(mask[depths[-1] >= 1])) == {objects[-1].class_id}
        overlaps += sum((depth > 1).sum() + (depths[-1] > 1).sum() > ((depth > 1) | (depths[-1] > 1)).sum() for depth in depths[:-1])
    assert overlaps > 3


def test_a_scene_depends_on_index_and_seed_alone() -> None:
    np.testing.assert_array_equal(make_scene(5, 3).image, make_scene(5, 3).image)
    assert not np.array_equal(make_scene(5, 3).mask, make_scene(6, 3).mask)
    assert not np.array_equal(make_scene(5, 3).mask, make_scene(5, 4).mask)


def test_dusk_changes_the_light_and_not_the_geometry(scenes: list[Scene]) -> None:
    dusks = list(make_scenes(8, seed=3, style="dusk"))
    for day, dusk in zip(scenes, dusks, strict=False):
        np.testing.assert_array_equal(dusk.mask, day.mask)
        assert dusk.tags == day.tags
        assert np.corrcoef(dusk.image.mean(axis=2).ravel(), day.image.mean(axis=2).ravel())[0, 1] > 0.5
    assert np.mean([dusk.image.mean() for dusk in dusks]) < 0.75 * np.mean([day.image.mean() for day in scenes[:8]])


def test_without_ignore_border_every_pixel_has_a_class() -> None:
    with_border, without = make_scene(2), make_scene(2, ignore_border=False)
    assert 255 in with_border.mask
    assert 255 not in without.mask
    np.testing.assert_array_equal(with_border.image, without.image)
    agree = with_border.mask != 255
    np.testing.assert_array_equal(with_border.mask[agree], without.mask[agree])


def test_the_mean_colour_of_a_body_does_not_tell_its_class(scenes: list[Scene]) -> None:
    found = [(class_id, scene.image[scene.mask == class_id].mean(axis=0)) for scene in scenes for class_id in scene.tags]
    colours = np.array([colour for _, colour in found])
    classes = np.array([class_id for class_id, _ in found])
    within = np.mean([colours[classes == k].var(axis=0, ddof=1).sum() for k in np.unique(classes)])
    assert within > 0.8 * colours.var(axis=0, ddof=1).sum()


def test_badges_differ_from_each_other_and_cover_a_part_only() -> None:
    x, y = np.meshgrid(np.linspace(-1.3, 1.3, 33), np.linspace(-1.3, 1.3, 33))
    assert tuple(BADGES) == CLASSES[1:]
    painted = []
    for name in BADGES:
        colors, cover = paint_badge(name, x, y, 12)
        assert 0.2 < cover.mean() < 0.75
        painted.append(colors * cover[..., None])
    distances = [np.abs(a - b).mean() for k, a in enumerate(painted) for b in painted[:k]]
    assert min(distances) > 0.1


def test_an_unknown_style_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no style 'noon'"):
        make_scene(0, style="noon")  # type: ignore[arg-type]


def test_written_scenes_open_as_a_dataset(tmp_path: Path) -> None:
    data = open_dataset(tmp_path, write_scenes(tmp_path, train=4, val=2, seed=7))
    drawn = open_dataset(tmp_path, {"scenes": {"train": 4, "val": 2, "seed": 7}})
    assert data.classes == drawn.classes == CLASSES
    assert data.splits() == drawn.splits()
    for split in data.splits():
        assert data.ids(split) == drawn.ids(split)
    for image_id in data.ids("all"):
        assert data.tags(image_id) == drawn.tags(image_id)
        np.testing.assert_array_equal(data.mask(image_id), drawn.mask(image_id))
        assert np.abs(data.image(image_id).astype(int) - drawn.image(image_id)).mean() < 4
