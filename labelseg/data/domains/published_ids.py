"""Class ids of published data sets of streets, and the classes that are trained on.

Source: the tables of Cityscapes and, for SYNTHIA, of RIPU; spec labor 1.10. GTA5 has the ids of Cityscapes.
"""

from __future__ import annotations

from labelseg.class_ids import IGNORE
from labelseg.errors import UsageError
from labelseg.suggestions import suggestion

CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person",
    "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
NOT_IN_SYNTHIA = ("terrain", "truck", "train")
SYNTHIA = tuple(name for name in CITYSCAPES if name not in NOT_IN_SYNTHIA)
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_SYNTHIA_IDS = (3, 4, 2, 21, 5, 7, 15, 9, 6, 1, 10, 17, 8, 19, 12, 11)
_STREETS = dict(zip(CITYSCAPES, _CITYSCAPES_IDS, strict=True))

# Name -> class -> id in the masks, classes in the order of their own ids.
LABEL_MAPS: dict[str, dict[str, int]] = {
    "cityscapes": _STREETS,
    "gta5": _STREETS,
    "synthia": dict(zip(SYNTHIA, _SYNTHIA_IDS, strict=True)),
    "cityscapes-16": {name: _STREETS[name] for name in SYNTHIA},
    "gta5-16": {name: _STREETS[name] for name in SYNTHIA},
}
IN_FIRST_CHANNEL = ("synthia",)  # maps whose masks are published in colour of 16 bits: class, instance, nothing


def label_map_ids(name: object, where: str) -> dict[str, int]:
    """Find a published label map: class -> id in the masks.

    Args:
        name: As it was given.
        where: Key of the configuration, to begin the error with.

    Raises:
        UsageError: there is none of that name.
    """
    if not isinstance(name, str) or name not in LABEL_MAPS:
        hint = suggestion(str(name), LABEL_MAPS, listed="")
        raise UsageError(f"{where}: expected one of {', '.join(LABEL_MAPS)}, got {name!r}.{hint}")
    return LABEL_MAPS[name]


def id_table(ids: dict[str, int], classes: tuple[str, ...]) -> bytes:
    """Make the table from ids in masks to class ids: 256 bytes, 255 for every id that is no class."""
    table = bytearray([IGNORE] * 256)
    for name, number in ids.items():
        table[number] = classes.index(name)
    return bytes(table)
