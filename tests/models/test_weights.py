from __future__ import annotations

import urllib.error

import pytest
import torch
from safetensors.torch import save_file

from labelseg.errors import DataError, UsageError
from labelseg.models.classifier import Classifier
from labelseg.models.encoders.registry import build_backbone
from labelseg.models.torchvision_shim import torchvision
from labelseg.models.weights.backbone_weights import load_weights


@pytest.fixture
def net():
    torch.manual_seed(1)
    return Classifier(build_backbone("tiny", 16), 3)


def assert_same_backbone(loaded, net):
    for name, value in net.backbone.named_parameters():
        assert torch.equal(loaded.get_parameter(name), value)


def write_safetensors(path, state):
    save_file({name: value.contiguous() for name, value in state.items()}, path)


@pytest.mark.parametrize(("suffix", "write"), [(".safetensors", write_safetensors), (".pth", lambda path, state: torch.save(state, path))])
@pytest.mark.parametrize(
    ("prefix", "extra"),
    [
        ("", {"fc.weight": torch.zeros(2), "classifier.1.bias": torch.zeros(2)}),
        ("module.", {}),
        ("backbone.", {"classify.weight": torch.zeros(2)}),
    ],
)
def test_files_load_and_heads_are_ignored(tmp_path, net, suffix, write, prefix, extra):
    path = tmp_path / f"weights{suffix}"
    write(path, {prefix + name: value for name, value in net.backbone.state_dict().items()} | extra)
    loaded = build_backbone("tiny", 8)
    load_weights(loaded, str(path))
    assert_same_backbone(loaded, net)


def test_state_dict_inside_a_training_checkpoint_loads(tmp_path, net):
    torch.save({"state_dict": net.backbone.state_dict(), "epoch": 3}, tmp_path / "a.pth")
    loaded = build_backbone("tiny", 8)
    load_weights(loaded, str(tmp_path / "a.pth"))
    assert_same_backbone(loaded, net)


def test_file_without_counters_of_batches_loads(tmp_path, net):
    state = {name: value for name, value in net.backbone.state_dict().items() if "num_batches" not in name}
    write_safetensors(tmp_path / "a.safetensors", state)
    load_weights(build_backbone("tiny", 8), str(tmp_path / "a.safetensors"))


def test_misfit_lists_missing_unexpected_and_misshaped(tmp_path, net):
    state = net.backbone.state_dict()
    del state["stem.0.0.weight"]
    state["layer9.weight"] = torch.zeros(1)
    state["stem.1.0.weight"] = torch.zeros(1, 2)
    write_safetensors(tmp_path / "a.safetensors", state)
    with pytest.raises(DataError) as caught:
        load_weights(build_backbone("tiny", 8), str(tmp_path / "a.safetensors"))
    assert "for tiny" in str(caught.value)
    assert "1 missing: stem.0.0.weight; 1 unexpected: layer9.weight;" in str(caught.value)
    assert "1 of another shape: stem.1.0.weight (expected (24, 16, 3, 3), got (1, 2))" in str(caught.value)


def test_a_misfit_names_tensors_as_the_file_does(tmp_path, net):
    state = {f"backbone.{name}": value for name, value in net.backbone.state_dict().items()}
    del state["backbone.stem.0.0.weight"]
    state["backbone.layer9.weight"] = torch.zeros(1)
    write_safetensors(tmp_path / "a.safetensors", state)
    with pytest.raises(DataError, match=r"1 missing: backbone\.stem\.0\.0\.weight; 1 unexpected: backbone\.layer9\.weight\."):
        load_weights(build_backbone("tiny", 8), str(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04nonsense"])
def test_damaged_file_is_a_data_error_with_its_path(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_weights(build_backbone("tiny", 8), str(tmp_path / name))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickled_code_is_refused(tmp_path, capsys):
    torch.save({"weight": Evil()}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="not a readable"):
        load_weights(build_backbone("tiny", 8), str(tmp_path / "a.pth"))
    assert capsys.readouterr().out == ""


def test_file_of_something_else_is_a_data_error(tmp_path):
    torch.save([1, 2], tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"named tensors, .*found list. Save the tensors"):
        load_weights(build_backbone("tiny", 8), str(tmp_path / "a.pth"))


def test_missing_file_and_unknown_suffix_say_what_is_possible(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_weights(build_backbone("tiny", 8), str(tmp_path / "a.pth"))
    with pytest.raises(DataError, match="a folder, no file"):
        load_weights(build_backbone("tiny", 8), str(tmp_path))
    (tmp_path / "a.h5").touch()
    with pytest.raises(UsageError, match=r"expected a .safetensors, .* found \.h5\. .* converted first"):
        load_weights(build_backbone("tiny", 8), str(tmp_path / "a.h5"))


def test_a_tensor_that_is_no_number_is_told_with_its_name(tmp_path, net):
    state = {**net.state_dict(), "classify.weight": net.classify.weight * float("nan")}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(DataError, match=r"net\.pth: values that are no finite numbers in classify\.weight\. .* get it anew"):
        load_weights(net.backbone, str(tmp_path / "net.pth"))


def test_none_keeps_the_random_weights():
    backbone = build_backbone("tiny", 8)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    load_weights(backbone, "none")
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_imagenet_without_network_says_what_to_do(monkeypatch):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", no_network)
    # By way of the shim: torchvision by its name may not load beside a CPU build of torch, unless something loaded it before.
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", no_network)
    with pytest.raises(DataError, match=r"resnet18.*no route to host.*--weights FILE or none"):
        load_weights(build_backbone("resnet18", 16), "imagenet")
    with pytest.raises(UsageError, match="tiny has no ImageNet weights"):
        load_weights(build_backbone("tiny", 16), "imagenet")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "it is a web page"),
        (b'<?xml version="1.0"?><Error/>', "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b"", "it is empty"),
        (b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94\x8c\x04eval\x94\x93.", "which are never loaded"),
        (b"\x1f\x8b\x08\x00aaaa", "it is packed"),
        (b"PK\x03\x04" + bytes(100), "cut short or changed"),
    ],
)
def test_a_file_of_weights_that_is_none_is_told_for_what_it_is(tmp_path, content, told):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(DataError, match="not a readable file of tensors") as caught:
        load_weights(build_backbone("tiny", 16), str(tmp_path / "w.pth"))
    assert told in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content", [b"PK\x03\x04broken", b"<html>proxy</html>"])
def test_a_damaged_download_is_named_and_nothing_is_written_to_stdout(tmp_path, monkeypatch, capsys, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = torchvision.models.get_model_weights("resnet18").DEFAULT.url.rpartition("/")[2]
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints" / name).write_bytes(content)
    with pytest.raises(DataError, match="Remove the file, and it is downloaded again") as caught:
        load_weights(build_backbone("resnet18", 16), "imagenet")
    assert str(tmp_path / "hub/checkpoints" / name) in str(caught.value)
    assert capsys.readouterr().out == ""
