"""Label Studio: tasks with the masks as brushes, the labelling config, and the images."""

from __future__ import annotations

import hashlib
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from labelseg.class_ids import IGNORE
from labelseg.data.formats.palette import voc_colours
from labelseg.exchange.shapes.brush_rle import encode_brush
from labelseg.exchange.writers.samples import JsonList, Sample, Target, write_text
from labelseg.file_kinds import naming

FROM, TO = "mask", "image"  # names of the two parts of the labelling config


class LabelStudioWriter:
    """Writes ``tasks.json``, ``config.xml`` and ``images/``.

    A task holds one brush for each class in its image, as a prediction, which people turn into an annotation and correct. Images are named
    as Label Studio serves local files, when the folder above this one is its document root.

    Source: labelstud.io, "Import pre-annotations" and "Local storage".
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._tasks = JsonList(target.folder / "tasks.list")
        self._has_unknown = False

    def add(self, sample: Sample) -> None:
        """Write one mask."""
        file = sample.picture.save(self._target.folder / "images", sample.id)
        height, width = sample.size
        results = []
        for class_id in np.unique(sample.mask).tolist():
            if class_id not in self._target.things and class_id != IGNORE:
                continue
            name = self._target.things.get(class_id, self._target.ignored)
            results.append(
                {
                    "id": hashlib.blake2b(f"{sample.id}\n{class_id}".encode("utf-8", "surrogatepass"), digest_size=5).hexdigest(),
                    "type": "brushlabels",
                    "from_name": FROM,
                    "to_name": TO,
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "value": {"format": "rle", "rle": encode_brush(sample.mask == class_id), "brushlabels": [name]},
                }
            )
        self._has_unknown |= bool((sample.mask == IGNORE).any())
        place = quote(f"{self._target.name}/images/{file}", errors="surrogateescape")
        data = {"image": f"/data/local-files/?d={place}", "labelseg": sample.id, "split": sample.split}
        self._tasks.add({"data": data, "predictions": [{"model_version": "labelseg", "result": results}]})

    def finish(self) -> None:
        """Write the list of tasks and the labelling config."""
        path = self._target.folder / "tasks.json"
        with naming(path), path.open("x", encoding="ascii") as file:
            self._tasks.pour(file)
            file.write("\n")
        labels = dict(self._target.things)
        if self._has_unknown:
            labels[IGNORE] = self._target.ignored
        colours = voc_colours(np.array([*labels], np.int64)).tolist()
        lines = [
            f'    <Label value={quoteattr(name)} background="#{"".join(f"{part:02x}" for part in colour)}"/>'
            for name, colour in zip(labels.values(), colours, strict=True)
        ]
        config = [
            "<View>",
            f'  <Image name="{TO}" value="$image" zoom="true"/>',
            f'  <BrushLabels name="{FROM}" toName="{TO}">',
            *lines,
            "  </BrushLabels>",
            "</View>",
        ]
        write_text(self._target.folder / "config.xml", "\n".join(config) + "\n")

    def losses(self) -> list[str]:
        """Say how unknown pixels are called."""
        return [f"Unknown pixels (255) are a brush of the label '{self._target.ignored}'."] if self._has_unknown else []
