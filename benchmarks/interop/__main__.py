"""Writes every format by the command line, has it read by the program that owns it, and brings their files back: ``make interop``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.interop.odd_data import NAMES, write_odd_data
from benchmarks.recording import origin

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "interop.json"
EXPORTS = ("coco", "coco --polygons", "coco-semantic", "yolo-seg", "cvat", "label-studio", "mmseg", "fiftyone", "huggingface")
BACK = {"cvat": "cvat", "label-studio": "label-studio.json"}  # what programs write themselves


def labelseg(root: Path, *words: str) -> str:
    """Call the command line; what it said."""
    done = subprocess.run([sys.executable, "-m", "labelseg", "-C", str(root), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"labelseg {' '.join(words)}: {done.stderr}")
    return done.stderr


def main(reader: str) -> None:
    """Run all checks, print a table and write it down.

    Args:
        reader: Python of the environment that has the programs.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        truth = write_odd_data(root / "data")
        labelseg(root / "w", "init", "--from", str(root / "data"), "--recipe", "few-masks")
        labelseg(root / "w", "override", "--of", "masks", "--split", "all", "--workers", "0")
        exports, back = root / "exports", root / "back"
        back.mkdir()
        for name in EXPORTS:
            form, *more = name.split()
            more += ["--images"] if form == "coco-semantic" else []
            place = exports / name.replace(" --", "-")
            output = place.with_suffix(".zip") if form == "cvat" else place
            labelseg(root / "w", "export", "override", "--split", "all", "--format", form, *more, "-o", str(output))
        np.savez(root / "truth.npz", names=json.dumps([*truth]), **{f"m{n}": mask for n, mask in enumerate(truth.values())})
        command = [reader, str(HERE / "readers.py"), str(exports), str(root / "truth.npz"), str(back)]
        environ = {**os.environ, "HF_HOME": str(root / "hf"), "HF_HUB_OFFLINE": "1", "YOLO_CONFIG_DIR": str(root), "YOLO_OFFLINE": "true"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**environ, "FIFTYONE_DO_NOT_TRACK": "true"})
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        returned = []
        for name, file in BACK.items():
            if not (back / file).exists():
                returned.append({"format": name, "masks": len(NAMES), "identical": None})
                continue
            labelseg(root / "w", "import-masks", str(back / file), "--to", f"override@{name}")
            labelseg(root / "w", "override", "--as", name, "--of", "", "--split", "all", "--workers", "0")
            out = root / f"back-{name}"
            labelseg(root / "w", "export", f"override@{name}", "--split", "all", "--grey", "-o", str(out))
            returned.append({"format": name, "masks": len(NAMES), "identical": _identical(out, truth)})
    for row in rows:
        told = row.get("problem") or f"{row['identical']} of {row['masks']} identical"
        print(f"{row['format']:16} {row['reader']:18} {row.get('version', '-'):10} {told}")
    for row in returned:
        print(f"{row['format']:16} brought back: {row['identical']} of {row['masks']} identical")
    RESULTS.write_text(
        json.dumps({**origin("make interop"), "names": NAMES, "read": rows, "back": returned}, indent=2, ensure_ascii=False) + "\n"
    )


def _identical(folder: Path, truth: dict[str, np.ndarray]) -> int:
    """Count the masks of a folder that are the true ones."""
    from PIL import Image

    return sum(np.array_equal(np.asarray(Image.open(folder / f"{name}.png")), mask) for name, mask in truth.items())


if __name__ == "__main__":
    main(sys.argv[1])
