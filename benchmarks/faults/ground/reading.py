"""What a workspace says through every reader there is: arrays in Python, and the commands that read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults.ground.places import stages_of
from benchmarks.faults.ground.processes import call
from labelseg.errors import LabelsegError
from labelseg.workspace import Workspace

Readings = dict[str, Any]
# Of an answer that is an error: ours, or one that nobody meant to give.
ERROR, CRASH = "error", "crash"
DIFF = ("diff", "spread", "spread@wide", "--split", "train", "--json")


def contents(root: Path) -> Readings:
    """Digest every artifact, array by array, as Python reads it; where something stands for nothing readable, its error.

    Returns:
        ``instance|split|tag`` -> name of an item -> digest of its arrays; for a model also what rebuilds the network.
    """
    names = guarded(
        lambda: [(ref.instance, ref.split, ref.tag) for ref in Workspace(root, stages=stages_of(root)).catalog.refs(tagged=True)]
    )
    if isinstance(names, dict):
        return {"refs": names}
    return {f"{i}|{s}|{t}": guarded(lambda i=i, s=s, t=t: artifact(root, i, s, t)) for i, s, t in names}  # type: ignore[misc]


def artifact(root: Path, instance: str, split: str, tag: str) -> Readings:
    """Digest one artifact."""
    from labelseg.pipeline.store.artifacts import Artifact, read_model

    workspace = Workspace(root, stages=stages_of(root))
    ref = workspace.catalog.ref(instance, split, tag or None)
    if ref is None:
        raise LabelsegError(f"{instance} has no ref")
    manifest = workspace.catalog.load(instance.partition("@")[0], ref.key)
    if manifest is None:
        raise LabelsegError(f"the manifest of {instance} is gone")
    if split:
        found = Artifact(workspace.store, manifest)
        items = {image_id: _digest(found[image_id]) for image_id in found}
        return {**items, "failed": [row["id"] for row in manifest.failed]}
    model = read_model(workspace.store, manifest)
    rest = {"meta": model.meta, "metrics": model.metrics, "curves": model.curves}
    return {**{name: _digest({"": tensor}) for name, tensor in model.tensors.items()}, "rest": json.loads(json.dumps(rest))}


def said_of(root: Path, expected: Readings) -> Readings:
    """Ask every command that reads.

    Args:
        root: The workspace.
        expected: Its contents before the fault: what is asked for.

    Returns:
        Command -> what it said on stdout or wrote, or its error.
    """
    found: Readings = {"status": _json(root, "status", "--json")}
    for words in (("evaluate", "--json"), ("evaluate", "--unsaved", "--json"), ("dag", "--json"), ("log", "--json"), DIFF):
        found[" ".join(words)] = _json(root, *words)
    for name, items in expected.items():
        instance, split, tag = name.split("|")
        if tag:
            continue
        on = ["--split", split] if split else []
        found[f"show {name}"] = _json(root, "show", instance, *on, "--json")
        if split:
            first = next(key for key in items if key != "failed")
            found[f"show {name} {first}"] = _json(root, "show", instance, first, *on, "--json")
        output = root / ".out"
        if not split:
            found[f"export {name}"] = _written(root, output, "export", instance, "--model", str(output / "m.safetensors"))
        elif instance.startswith(("spread", "segment")):
            found[f"export {name}"] = _written(root, output, "export", instance, *on, "-o", str(output))
    return found


def files(folder: Path) -> dict[str, str]:
    """Digest every file below a folder, links as links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def guarded(work: Callable[[], Any]) -> Any:
    """Do something; of an error give its kind and text."""
    try:
        return work()
    except LabelsegError as error:
        return {ERROR: str(error)}
    except OSError as error:
        return {ERROR: str(error)}
    except Exception as error:
        return {CRASH: f"{type(error).__name__}: {error}"[:300]}


def failure(answer: Any) -> str:
    """Tell whether an answer is an error of ours or a crash; empty where it is neither."""
    if isinstance(answer, dict) and len(answer) == 1:
        (key,) = answer
        return key if key in (ERROR, CRASH) else ""
    return ""


def _json(root: Path, *words: str) -> Any:
    """What a command says in JSON, with what it tells a person beside it."""
    done = call(root, words, stages_of(root))
    if done.crash:
        return {CRASH: done.crash}
    if done.code:
        return {ERROR: done.last}
    facts, now = json.loads(done.out), ""
    if words[0] == "show":
        facts.pop("bytes", None)  # counted on the disk: true whatever lies there
        # How the artifact stands to the configuration and to what stands for its parents now: that is to change with them.
        now = json.dumps([facts.pop(name, None) for name in ("origins", "parents")])
    return [facts, re.sub(r"trial-\d+-\d+", "trial", done.err) + now]


def _written(root: Path, output: Path, *words: str) -> Any:
    """What a command writes into a folder."""
    import shutil

    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    done = call(root, words, stages_of(root))
    found: Readings = {name: value for name, value in files(output).items() if not name.endswith(".safetensors")}
    found |= {path.name: _tensors(path) for path in output.glob("*.safetensors")}
    shutil.rmtree(output, ignore_errors=True)
    return {CRASH: done.crash} if done.crash else {ERROR: done.last} if done.code else found


def _tensors(path: Path) -> Readings:
    """Digest a file of tensors by what it holds: the order of its header is not fixed."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        tensors = {name: _digest({"": file.get_tensor(name)}) for name in file.keys()}  # noqa: SIM118
        return {**tensors, "header": dict(sorted((file.metadata() or {}).items()))}


def _digest(arrays: Any) -> str:
    """Digest arrays by their bytes, independently of the store."""
    import numpy as np

    hasher = hashlib.sha256()
    for name in sorted(arrays):
        value = np.asarray(arrays[name])
        hasher.update(f"{name} {value.dtype.str} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    return hasher.hexdigest()[:16]
