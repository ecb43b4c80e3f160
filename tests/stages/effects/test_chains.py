"""Values of a chain are written as they were given: what stands for a value at one step stands for another at the next."""

from __future__ import annotations

from dataclasses import fields

from labelseg.pipeline.declare.config import Config
from labelseg.pipeline.declare.configfile import write_values
from labelseg.stages import STAGES


def test_epochs_of_0_stand_for_each_step_of_its_own(tmp_path):
    (tmp_path / "labelseg.toml").write_text("[wilson.1]\n")
    write_values(Config.load(tmp_path, STAGES, {}), "wilson", {"epochs": 0, "task": "a;b"})
    config = Config.load(tmp_path, STAGES, {})
    assert config.tables["wilson"]["epochs"] == 0
    assert [config.params(f"wilson@{step}").epochs for step in (0, 1)] == [30, 40]


def test_parameters_of_the_crf_have_one_name_in_every_stage_and_its_order():
    names = {stage.name: [name for name in stage.params.__dataclass_fields__ if name.startswith("crf_")] for stage in STAGES}
    shared = ["crf_iters", "crf_sxy", "crf_srgb", "crf_weight", "crf_backend"]
    assert {stage: found[:5] for stage, found in names.items() if found} == dict.fromkeys(("refine", "propagate", "segment"), shared)


def test_renamed_parameters_go_by_their_former_names_in_keys():
    former = {(stage.name, f.name): f.metadata["formerly"] for stage in STAGES for f in fields(stage.params) if f.metadata.get("formerly")}
    kernel = {"crf_sxy": "sxy", "crf_srgb": "srgb", "crf_weight": "weight"}
    refined = {"crf_iters": "iters", "crf_backend": "backend", "crf_tolerance": "tolerance"}
    refined |= {"crf_smooth_sxy": "smooth_sxy", "crf_smooth_weight": "smooth_weight"}
    resized = [(name, "resize") for name in ("train-affinity", "train-segmenter", "train-unimatch")]
    assert former == {
        **{(stage, new): old for stage in ("refine", "propagate", "segment") for new, old in kernel.items()},
        **{("refine", new): old for new, old in refined.items()},
        **dict.fromkeys(resized, "scale"),
        ("train-affinity", "affinity_labels"): "labels",
    }
