from __future__ import annotations

import numpy as np
import pytest

from labelseg.class_ids import IGNORE
from labelseg.data.label_maps import image_labels, label_map, select_images
from labelseg.ops.metrics import ConfusionMatrix
from tests.data.test_tasks import NAMES, RECORDED, VOC_IDS, step_ids
from tests.recorded import wilson

MAPS = wilson("10_label_maps")
SYNTHETIC = wilson("11_overlap_disjoint_synthetic")
REAL = wilson("11_overlap_disjoint_voc_real")
MODES = {"train_masked": (True, 0), "train_unmasked": (False, 0), "val": (False, IGNORE), "test": (False, IGNORE)}


@pytest.mark.parametrize("key", sorted({key.rsplit("|", 1)[0] for key in MAPS}))
def test_label_maps_and_image_labels_are_those_of_the_published_code(key):
    dataset, task, step, mode = key.split("|")
    ids, n_old = step_ids(*NAMES[f"{dataset}|{task}"], int(step))
    only_new, void = MODES[mode]
    first = n_old if only_new else 1
    np.testing.assert_array_equal(label_map(ids, first, void), MAPS[f"{key}|label_map"])
    columns = np.random.default_rng(0).integers(0, 2, max(ids))
    expected = columns[MAPS[f"{key}|onehot_order"]] * MAPS[f"{key}|onehot_mask"]
    np.testing.assert_array_equal(image_labels(np.flatnonzero(columns) + 1, ids, first), expected)


@pytest.mark.parametrize("example", ["15-5/1", "10-5/2", "19-1b/1", "15-5/0"])
def test_worked_examples_of_label_maps_hold(example):
    recorded, (task, step) = RECORDED["examples"][example], example.split("/")
    ids, n_old = step_ids(task, VOC_IDS, int(step))
    assert label_map(ids, n_old, 0)[np.array(recorded["label"])].tolist() == recorded["mapped"]
    tags = np.flatnonzero(recorded["onehot_in"]) + 1
    assert image_labels(tags, ids, n_old).tolist() == recorded["onehot_out"]


@pytest.mark.parametrize("key", [key for key in SYNTHETIC if key != "label_maps"])
def test_images_of_a_step_are_those_of_the_published_code(key):
    task, step, scenario = key.split("|")
    present = [set(np.unique(labels).tolist()) for labels in SYNTHETIC["label_maps"]]
    ids, n_old = step_ids("voc-offline" if task == "offline" else task, VOC_IDS, int(step))
    assert select_images(present, ids, ids[n_old:], scenario) == SYNTHETIC[key].tolist()


@pytest.mark.parametrize("key", [key for key in REAL if key.startswith("real|")])
def test_images_of_a_step_of_voc_are_the_published_lists(key):
    _, task, step, scenario = key.split("|")
    shape = REAL["onehot_shape"]
    held = np.unpackbits(REAL["voc_train_aug_onehot"], axis=1)[:, : shape[1]]
    present = [(np.flatnonzero(row) + 1).tolist() for row in held]
    ids, n_old = step_ids(task, VOC_IDS, int(step))
    assert select_images(present, ids, ids[n_old:], scenario) == REAL[key].tolist()


def test_separate_datasets_keep_images_without_a_later_class_even_empty_ones():
    present = [(1,), (), (2,), (1, 2), (3,)]
    assert select_images(present, (0, 1), (1,), "separate") == [0, 1]
    assert select_images(present, (0, 1, 2, 3), (2, 3), "separate") == [0, 1, 2, 3, 4]


def test_confusion_and_iou_are_those_of_the_published_code():
    recorded = wilson("12_metrics")
    matrix = ConfusionMatrix(6)
    for truth, prediction in zip(recorded["gt"], recorded["pred"], strict=True):
        matrix.update(truth, prediction)
    np.testing.assert_array_equal(matrix.counts[:, :6], recorded["hist"])
    np.testing.assert_allclose(matrix.iou(), recorded["iou"], rtol=1e-6)
    np.testing.assert_allclose(matrix.recall(), recorded["cacc"], rtol=1e-6)
    assert matrix.miou() == pytest.approx(float(recorded["miou"]), rel=1e-6)
    assert matrix.accuracy() == pytest.approx(float(recorded["acc"]), rel=1e-6)
