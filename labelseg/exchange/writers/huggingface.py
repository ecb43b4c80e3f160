"""Folders of images and masks as the library ``datasets`` of Hugging Face reads them."""

from __future__ import annotations

import json

from labelseg.data.formats.png import write_grey_png
from labelseg.exchange.writers.samples import Sample, Target, write_text
from labelseg.file_kinds import naming


class HuggingFaceWriter:
    """Writes ``SPLIT/images/``, ``SPLIT/masks/NAME.png``, ``SPLIT/metadata.jsonl`` and ``README.md``, which names the classes.

    Source: huggingface.co, "Create an image dataset", ImageFolder.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def add(self, sample: Sample) -> None:
        """Write one mask."""
        folder = self._target.folder / sample.split
        file = sample.picture.save(folder / "images", sample.id)
        path = folder / "masks" / f"{sample.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_grey_png(sample.mask, path)
        row = {"file_name": f"images/{file}", "mask_file_name": f"masks/{sample.id}.png", "id": sample.id}
        with naming(folder / "metadata.jsonl"), (folder / "metadata.jsonl").open("a", encoding="ascii") as lines:
            lines.write(json.dumps(row) + "\n")

    def finish(self) -> None:
        """Write the card of the data set."""
        names = "".join(f"- {class_id}: {name}\n" for class_id, name in enumerate(self._target.classes))
        text = (
            "---\ntask_categories:\n- image-segmentation\n---\n\n# Masks of labelseg\n\n"
            "```python\nfrom datasets import load_dataset\n\n"
            f'dataset = load_dataset("imagefolder", data_dir={self._target.name!r})\n```\n\n'
            f"`mask` holds class ids, 255 where nothing is known:\n\n{names}"
        )
        write_text(self._target.folder / "README.md", text)

    def losses(self) -> list[str]:
        """Say that nothing is lost."""
        return []
