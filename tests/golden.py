"""Summaries of what every stage computes on a few scenes. ``python -m tests.golden`` writes them anew.

A difference means that results changed: raise the version of the stage, and say *Rebuild needed* in the changelog.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np

from labelseg.workspace import Workspace

FILE = Path(__file__).parent / "reference" / "golden.json"
PLACES = 128


def sample(values):
    """Values at places spread evenly over an array, as text: six digits tell two results apart and take little space."""
    places = np.linspace(0, values.size - 1, min(values.size, PLACES)).astype(int)
    return " ".join(f"{value:.6g}" for value in values[places])


def summary(root):
    """Instance -> version of its stage, and of each of its arrays over all items the size, mean, deviation and values at some places."""
    workspace = Workspace(root)
    found = {}
    for ref in workspace.catalog.refs():
        stage = workspace.config.stage(ref.instance)
        if stage.kind == "model":
            model = workspace.model(ref.instance)
            arrays = {name: tensor.astype(np.float64).ravel() for name, tensor in model.tensors.items()}
            values = {"tensors": np.concatenate(list(arrays.values())), "loss": np.array([row["loss"] for row in model.curves])}
        else:
            items = list(workspace[ref.instance, ref.split].values())
            values = {name: np.concatenate([item[name].astype(np.float64).ravel() for item in items]) for name in items[0]}
        found[ref.instance] = {
            "version": stage.version,
            "arrays": {name: [value.size, float(value.mean()), float(value.std()), sample(value)] for name, value in values.items()},
        }
    return found


def main():
    """Run the chains and write the summaries."""
    from tests.stages import conftest, labor_chain, wilson_chain

    with contextlib.ExitStack() as folders:
        chain, steps, few, rounds = (folders.enter_context(tempfile.TemporaryDirectory()) for _ in range(4))
        Workspace(conftest.make_workspace(Path(chain))).run(options=conftest.HERE)
        conftest.run_clicks(Path(chain))
        wilson_chain.run_steps(Path(steps))
        conftest.run_few_masks(conftest.make_few_masks(Path(few)))
        labor_chain.run_rounds(Path(rounds))
        found = labor_rounds(rounds) | summary(few) | summary(chain) | wilson_steps(steps)
        FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def labor_rounds(root):
    """Summaries of two rounds of questions; how many points there are may hang on a single pixel, so only maps of fixed size are told."""
    found = summary(root)
    for instance in ("labor-select@1", "labor-select@2", "labor-annotate@1", "labor-annotate@2"):
        arrays = found[instance]["arrays"]
        found[instance]["arrays"] = {name: arrays[name] for name in ("asked", "inconsistent", "mask") if name in arrays}
    return {instance: values for instance, values in found.items() if instance.rpartition("@")[2] in "012"}


def wilson_steps(root):
    """Summaries of what only a chain of steps computes."""
    return {instance: values for instance, values in summary(root).items() if instance.startswith("wilson")}


if __name__ == "__main__":
    main()
