"""Folders of images and masks as FiftyOne imports them."""

from __future__ import annotations

from labelseg.data.formats.png import write_grey_png
from labelseg.exchange.writers.samples import Sample, Target, write_text

LINES = '''"""Opens this folder in FiftyOne: python load.py"""

from pathlib import Path

import fiftyone as fo

TARGETS = {targets!r}
HERE = Path(__file__).resolve().parent
SPLITS = {splits!r}

dataset = fo.Dataset()
for split in SPLITS:
    dataset.add_dir(
        dataset_type=fo.types.ImageSegmentationDirectory,
        data_path=str(HERE / split / "data"),
        labels_path=str(HERE / split / "labels"),
        tags=split,
    )
dataset.default_mask_targets = TARGETS
dataset.save()

if __name__ == "__main__":
    fo.launch_app(dataset).wait()
'''


class FiftyOneWriter:
    """Writes ``SPLIT/data/``, ``SPLIT/labels/NAME.png`` and ``load.py``, which names the classes.

    Source: docs.voxel51.com, ``ImageSegmentationDirectory``.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def add(self, sample: Sample) -> None:
        """Write one mask."""
        sample.picture.save(self._target.folder / sample.split / "data", sample.id)
        path = self._target.folder / sample.split / "labels" / f"{sample.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_grey_png(sample.mask, path)

    def finish(self) -> None:
        """Write the lines that open it."""
        targets = {**dict(enumerate(self._target.classes)), 255: self._target.ignored}
        write_text(self._target.folder / "load.py", LINES.format(targets=targets, splits=list(self._target.splits)))

    def losses(self) -> list[str]:
        """Say that nothing is lost."""
        return []
