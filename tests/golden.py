"""Summaries of what every stage computes on a few scenes. ``python -m tests.golden`` writes them anew.

A difference means that results changed: raise the version of the stage, and say *Rebuild needed* in the changelog.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from labelseg.workspace import Workspace

FILE = Path(__file__).parent / "reference" / "golden.json"


def summary(root):
    """Stage -> version, and mean and deviation of each of its arrays over all items."""
    workspace = Workspace(root)
    found = {}
    for ref in workspace.catalog.refs():
        stage = workspace.stages[ref.instance]
        if stage.kind == "model":
            arrays = {name: tensor.astype(np.float64).ravel() for name, tensor in workspace.model(ref.instance).tensors.items()}
            values = {"tensors": np.concatenate(list(arrays.values()))}
        else:
            items = list(workspace[ref.instance, ref.split].values())
            values = {name: np.concatenate([item[name].astype(np.float64).ravel() for item in items]) for name in items[0]}
        found[ref.instance] = {
            "version": stage.version,
            "arrays": {name: [value.size, float(value.mean()), float(value.std())] for name, value in values.items()},
        }
    return found


def main():
    """Run the chain and write the summaries."""
    from tests.stages.conftest import HERE, make_workspace

    with tempfile.TemporaryDirectory() as folder:
        root = make_workspace(Path(folder))
        Workspace(root).run(options=HERE)
        FILE.write_text(json.dumps(summary(root), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
