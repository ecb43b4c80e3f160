"""Folders of images and masks as mmsegmentation reads them, with the lines of its configuration."""

from __future__ import annotations

from labelseg.data.formats.palette import voc_palette
from labelseg.data.formats.png import write_grey_png
from labelseg.exchange.writers.samples import Sample, Target, write_text


class MmsegWriter:
    """Writes ``img_dir/SPLIT/``, ``ann_dir/SPLIT/NAME.png`` and ``dataset.py``.

    Its configuration names one suffix for all images, so that all are saved as PNG unless they have one in common.

    Source: mmsegmentation.readthedocs.io, ``BaseSegDataset``.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def add(self, sample: Sample) -> None:
        """Write one mask."""
        sample.picture.save(self._target.folder / "img_dir" / sample.split, sample.id, self._target.common_suffix)
        path = self._target.folder / "ann_dir" / sample.split / f"{sample.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_grey_png(sample.mask, path)

    def finish(self) -> None:
        """Write the lines of the configuration."""
        classes = self._target.classes
        palette = voc_palette()[: len(classes)].tolist()
        lines = [
            "# For a configuration of mmsegmentation; set data_root to this folder.",
            f"metainfo = dict(classes={classes!r}, palette={palette!r})",
            f"data_root = {self._target.name!r}",
        ]
        for split in self._target.splits:
            lines += [
                f"{split.replace('-', '_')}_dataset = dict(",
                '    type="BaseSegDataset",',
                "    metainfo=metainfo,",
                "    data_root=data_root,",
                f"    data_prefix=dict(img_path={f'img_dir/{split}'!r}, seg_map_path={f'ann_dir/{split}'!r}),",
                f"    img_suffix={self._target.common_suffix!r},",
                '    seg_map_suffix=".png",',
                "    reduce_zero_label=False,",
                "    ignore_index=255,",
                f"    test_mode={split not in ('train',)!r},",
                '    pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")],',
                ")",
            ]
        write_text(self._target.folder / "dataset.py", "\n".join(lines) + "\n")

    def losses(self) -> list[str]:
        """Say that nothing is lost."""
        return []
