"""Whole networks of files take the place of a training: published ones give what is recorded of them, through the stage."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from labelseg.cli import program
from labelseg.data.dataset import VOC_CLASSES
from labelseg.data.scenes.drawing import write_scenes
from labelseg.errors import DataError, UsageError
from labelseg.models.affinity_net import AffinityNet, BoundaryNet
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.networks import build_from
from labelseg.models.segmenter import Segmenter
from labelseg.models.weights.whole_networks import layout_of, own_names
from labelseg.stages import STAGES
from labelseg.workspace import Workspace
from tests.models.filled import fill
from tests.reference_files import HERE
from tests.stages.scene_files import data_table

STAGE = next(stage for stage in STAGES if stage.name == "import-network")
RECORDED = HERE / "psa" / "net_irn.npz"


def listed(system, name):
    """Names and shapes of the tensors of a published network."""
    return {key: tuple(shape) for key, shape in json.loads((HERE / system / f"{name}.json").read_text()).items()}


def taken(path, classes=VOC_CLASSES, **params):
    """What the stage makes of a file, and what it logs."""
    logged = []
    inputs = SimpleNamespace(
        instance="import-network", classes=tuple(classes), has_background=classes[0] == "background", log=logged.append
    )
    model = STAGE.run(inputs, STAGE.params(weights=str(path), **params))
    return build_from(model.meta, model.tensors), model, logged[-1]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The files of IRN, filled as they were recorded, with the copies of the backbone that they hold."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("cam", "irn"):
        state = {key: fill(key, shape) if shape else torch.tensor(0) for key, shape in listed("psa", f"net_irn_{name}_params").items()}
        torch.save({**state, "stage1.0.weight": state["resnet50.conv1.weight"]}, folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="module")
def recorded():
    return {name: torch.from_numpy(value) for name, value in np.load(RECORDED).items()}


@torch.no_grad()
def test_the_published_classifier_of_irn_gives_its_logits_and_maps(published, recorded):
    net, _, log = taken(published / "cam.pth")
    torch.testing.assert_close(net(recorded["x"]), recorded["logits"], rtol=1e-4, atol=1e-4)
    maps = net.cam(recorded["x"])[0] + net.cam(recorded["x"].flip(-1))[0].flip(-1)
    torch.testing.assert_close(maps, recorded["cam_flipsum"], rtol=1e-4, atol=1e-4)
    assert (log["network"], log["left"]) == ("classifier of IRN", ["stage1.0.weight"])


@torch.no_grad()
def test_outputs_go_by_name_whatever_the_order_of_the_classes(published, recorded):
    net, model, _ = taken(published / "cam.pth", ("background", "sheep", "cat"))
    columns = [VOC_CLASSES.index(name) - 1 for name in ("sheep", "cat")]
    torch.testing.assert_close(net(recorded["x"]), recorded["logits"][:, columns], rtol=1e-4, atol=1e-4)
    assert model.meta["classes"] == ["background", "sheep", "cat"]
    without, _, _ = taken(published / "cam.pth", ("cat", "dog"))
    assert without.settings["n_classes"] == 2


@torch.no_grad()
def test_the_published_boundaries_of_irn_are_the_recorded_ones(published, recorded):
    net, _, log = taken(published / "irn.pth", ("background", "cat"), kind="irn")
    assert isinstance(net, BoundaryNet)
    images = torch.cat([recorded["x"], recorded["x"].flip(-1)])
    torch.testing.assert_close(net(images), recorded["edge_logits"], rtol=1e-4, atol=1e-4)
    assert {name.split(".")[0].rstrip("1234567") for name in log["left"]} == {"stage", "fc_dp", "mean_shift"}


def test_over_boundaries_propagate_walks_as_irn_does_and_the_kind_says_so(published):
    with pytest.raises(UsageError, match=r"is a boundary network of IRN, .* labelseg import-network --kind irn$"):
        taken(published / "irn.pth")


def meta_state(net):
    """Names and shapes of a network as tensors that hold nothing."""
    return {name: value.to("meta") for name, value in net.state_dict().items()}


def shaped(kind, name, stride, *args, **settings):
    with torch.device("meta"):
        return kind(build_backbone(name, stride), *args, **settings)


@pytest.mark.parametrize(
    ("heads", "kind", "args", "settings"),
    [
        (["fc8.weight"], Classifier, (20,), {}),
        (["f8_3.weight", "f8_4.weight", "f8_5.weight", "f9.weight"], AffinityNet, (), {"norm": "none"}),
    ],
)
def test_every_tensor_of_psa_on_resnet38_finds_its_place(heads, kind, args, settings):
    names = json.loads((HERE / "psa" / "net_resnet38_names.json").read_text())
    shapes = {**names["backbone"], **{name: names["heads"][name] for name in heads}}
    state = {name: torch.zeros((), device="meta").expand(shape) for name, shape in shapes.items()}
    layout = layout_of(state, "res38.pth")
    backbone, head, left = own_names(state, layout)
    own = shaped(kind, layout.backbone, layout.output_stride, *args, **settings)
    given = {**{f"backbone.{name}": value for name, value in backbone.items()}, **head}
    expected = {name: value.shape for name, value in own.state_dict().items() if not name.endswith("tracked")}
    assert {name: value.shape for name, value in given.items()} == expected
    assert left == ()


def test_every_tensor_of_unimatch_finds_its_place():
    recorded = json.loads((HERE / "unimatch" / "state_dict_resnet50.json").read_text())
    shapes = {name: tuple(entry["shape"] if isinstance(entry, dict) else entry) for name, entry in recorded.items()}
    state = {name: torch.zeros((), device="meta").expand(shape) for name, shape in shapes.items()}
    layout = layout_of(state, "unimatch.pth")
    backbone, head, left = own_names(state, layout)
    classes = len(state["classifier.weight"])
    own = shaped(Segmenter, layout.backbone, layout.output_stride, classes, **layout.settings)
    given = {**{f"backbone.{name}": value.shape for name, value in backbone.items()}, **{name: value.shape for name, value in head.items()}}
    assert {n: s for n, s in given.items() if "tracked" not in n} == {n: v.shape for n, v in own.state_dict().items() if "tracked" not in n}
    assert (layout.backbone, left) == ("resnet50_deep", ())


def test_every_tensor_of_the_second_unimatch_finds_its_place():
    pytest.importorskip("timm")
    own = shaped(Segmenter, "timm:vit_small_patch14_dinov2", 14, 21, head="dpt", width=64)
    idle = {f"head.scratch.refinenet4.resConfUnit1.conv{k}.weight": torch.zeros((), device="meta") for k in (1, 2)}
    state = {**meta_state(own), **idle}
    layout = layout_of(state, "v2.pth")
    backbone, head, left = own_names(state, layout)
    assert (layout.backbone, layout.settings, set(left)) == ("timm:vit_small_patch14_dinov2", {"head": "dpt", "width": 64}, set(idle))
    assert {f"backbone.{name}" for name in backbone} | set(head) == set(meta_state(own))


@pytest.fixture
def root(tmp_path):
    """Two scenes, and the settings of a chain whose classifier and AffinityNet come from files."""
    table = write_scenes(tmp_path, train=2, val=0, seed=0)
    settings = '[import-network]\nweights = "classifier.safetensors"\nnames = "names.txt"\nbackbone = "tiny"\noutput_stride = 8\n'
    settings += '[import-network.near]\nweights = "near.safetensors"\nbackbone = "tiny"\n'
    settings += '[cam]\nmodel = "import-network"\nscales = [1.0]\nstore = "full"\n'
    settings += '[propagate]\naffinity = "import-network@near"\niters = 4\nscales = [1.0]\n'
    (tmp_path / "labelseg.toml").write_text(data_table(table) + settings)
    return tmp_path


def command(root, *words, code=0):
    result = CliRunner().invoke(program, ["-C", str(root), *words])
    assert result.exit_code == code, result.output
    return result.output


@torch.no_grad()
def test_a_chain_runs_on_imported_networks_and_only_what_read_a_changed_file_runs_again(root):
    torch.manual_seed(5)
    classes = Workspace(root).dataset.classes
    names = [*reversed(classes[1:]), "unicorn"]
    (root / "names.txt").write_text("\n".join(names) + "\n")
    net = Classifier(build_backbone("tiny", 8), len(names)).eval()
    save_file(net.state_dict(), root / "classifier.safetensors", metadata={"license": "CC0-1.0"})
    near = AffinityNet(build_backbone("tiny", 16), (8, 8, 16), "group").eval()
    save_file(near.state_dict(), root / "near.safetensors")
    told = command(root, "propagate", "--workers", "0")
    assert re.search(r"import-network: imported in .*: classifier of this project on tiny\n", told)
    assert "import-network@near: imported in" in told
    assert "imported import-network, import-network@near; computed cam" in command(root, "log")
    assert re.search(r"^import-network@near +imported +", command(root, "log", "--run", "last"), re.MULTILINE)
    workspace = Workspace(root)
    model = workspace.model("import-network")
    assert (model.meta["licence"], model.meta["imported"], model.meta["output_stride"]) == ("CC0-1.0", "classifier of this project", 8)
    rows = [names.index(name) for name in classes[1:]]
    np.testing.assert_array_equal(model.tensors["classify.weight"], net.classify.weight.numpy()[rows])
    near_model = workspace.model("import-network@near")
    assert near_model.meta["settings"] == {"widths": [8, 8, 16], "norm": "group"}
    np.testing.assert_array_equal(near_model.tensors["mix.0.weight"], near.mix[0].weight.numpy())
    before = workspace["cam", "train"]
    first = {image_id: before[image_id]["scores"] for image_id in before}
    near.mix[0].weight.mul_(2)
    save_file(near.state_dict(), root / "near.safetensors")
    again = command(root, "propagate", "--retrain", "--workers", "0")
    assert "import-network@near" in again
    assert "cam (train)" not in again.partition("[1/")[2]
    after = Workspace(root)["cam", "train"]
    assert all((first[image_id] == after[image_id]["scores"]).all() for image_id in first)


def test_an_imported_network_names_the_setting_that_has_it_read(root):
    net = Classifier(build_backbone("tiny", 8), 6)
    state = {**net.state_dict(), "classify.weight": torch.zeros(20, *net.classify.weight.shape[1:])}
    names = [*Workspace(root).dataset.classes[1:], *(f"other {k}" for k in range(14))]
    (root / "names.txt").write_text("\n".join(names) + "\n")
    save_file(state, root / "other.safetensors")
    words = ("--weights", "other.safetensors", "--names", "names.txt", "--backbone", "tiny", "--output-stride", "8")
    told = command(root, "import-network", "--as", "other", *words)
    assert told.rstrip().endswith("config cam.model import-network@other")
    again = command(root, "import-network", "--as", "same", *words)  # its key is that of the other
    assert re.search(r"import-network@same +a model\n", again)
    assert again.rstrip().endswith("config cam.model import-network@same")
    command(root, "config", "cam.model", "import-network@other")
    assert command(root, "import-network", "--as", "other", "--force").rstrip().endswith(" run")


WRONG = {
    "no file": ({}, {"weights": ""}, UsageError, r"expected the file of a network, none is.*labelseg import-network --weights FILE"),
    "of something else": ({"a.weight": (2,)}, {}, DataError, r"found tensors named a\.weight, .*labelseg config train-classifier\.weights"),
    "no backbone told": ({"backbone.a": (1,), "classify.weight": (2, 3, 1, 1)}, {}, UsageError, "not tell its backbone.*--backbone NAME"),
    "half of a network": ({"backbone.a": (1,), "mix.0.weight": (2, 2, 1, 1)}, {}, DataError, "found tensors named backbone"),
    "other classes": (
        {"backbone.a": (1,), "classify.weight": (2, 3, 1, 1)},
        {"backbone": "tiny", "names": "names.txt"},
        DataError,
        r"found none for dog among cat, cow.*labelseg import-network --names FILE",
    ),
    "nobody knows the outputs": (
        {"backbone.a": (1,), "classify.weight": (5, 3, 1, 1)},
        {"backbone": "tiny"},
        DataError,
        r"5 outputs.*labelseg import-network --names FILE",
    ),
    "no layer": ({"backbone.a": (1,), "classify.weight": ()}, {"backbone": "tiny"}, DataError, "to have 4 axes, outputs first; it has 0"),
    "too few names": (
        {"backbone.a": (1,), "classify.weight": (3, 3, 1, 1)},
        {"backbone": "tiny", "names": "names.txt"},
        UsageError,
        r"names of the 3 outputs of .*, found 2\.",
    ),
    "other tensors": (
        {"backbone.a": (1,), "classify.weight": (2, 3, 1, 1)},
        {"backbone": "tiny"},
        DataError,
        r"a classifier of this project on tiny: .*missing.*1 unexpected: backbone\.a; .*labelseg import-network --backbone NAME",
    ),
    "a head of another shape": (
        {"resnet50.conv1.weight": (64, 3, 7, 7), "resnet50.extra.weight": (1,), "classifier.weight": (20, 512, 1, 1)},
        {"classes": VOC_CLASSES},
        DataError,
        r"missing: resnet50\.bn1\.weight, .*1 unexpected: resnet50\.extra\.weight; 1 of another shape: classifier\.weight \(expected",
    ),
    "no tensor": ({}, {}, DataError, r"found no tensors\."),
    "no psa": (
        {"conv1a.weight": (1,), **{f"{name}.weight": (8, 1, 1, 1) for name in ("f8_3", "f8_4", "f8_5", "f9")}},
        {"kind": "irn"},
        UsageError,
        r"is an AffinityNet of PSA, and .* labelseg import-network --kind psa$",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("shapes", "params", "kind", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_told_with_the_command(tmp_path, monkeypatch, shapes, params, kind, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ncow\n")
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "net.safetensors")
    with pytest.raises(kind, match=told):
        taken(
            **{
                "path": "net.safetensors",
                "classes": ("background", "cat", "dog"),
                **{("path" if k == "weights" else k): v for k, v in params.items()},
            }
        )
