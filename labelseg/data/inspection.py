"""Looking at data before anything is computed: what will make the result wrong, end a run later, or was read otherwise than meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations

from labelseg.class_ids import BACKGROUND
from labelseg.data.domains.joint_dataset import JointDataset
from labelseg.data.domains.mapped_masks import MappedMasks
from labelseg.data.folder.findings import Finding, by_weight
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.errors import LabelsegError
from labelseg.protocols import Dataset
from labelseg.wording import counted, some_of

# How other tools call what is no class, with what is to be done about it.
LIKE_BACKGROUND = frozenset({"background", "_background_", "bg", "__background__", "back ground", "backgrounds", "hintergrund"})
LIKE_IGNORE = frozenset({"__ignore__", "ignore", "void", "unlabeled", "unlabelled"})
FEW = 3  # images of a class below which that is told
ENOUGH = 6  # tagged images from which their classes are compared


def inspect(dataset: Dataset, *, tags: bool, validation: str = "val", quick: bool = False) -> list[Finding]:
    """List what is found in data, the worst first.

    Args:
        dataset: The data.
        tags: Whether the chain learns from tags.
        validation: Split that trainings are evaluated on, if there is such a split.
        quick: Look at a few files only, and tell no notes.
    """
    found = [*_class_findings(dataset, tags), *_split_findings(dataset, validation)]
    if tags:
        found += _tag_findings(dataset)
    for part in dataset.parts if isinstance(dataset, JointDataset) else [dataset]:
        folder = part.dataset if isinstance(part, MappedMasks) else part
        if isinstance(folder, FolderDataset):
            from labelseg.data.folder.file_checks import file_findings

            found += [*_spellings(folder), *folder.findings(), *file_findings(folder, masks=part is folder, quick=quick)]
    return [finding for finding in by_weight(found) if not (quick and finding.level == "note")]


def _class_findings(dataset: Dataset, tags: bool) -> Iterator[Finding]:
    """Tell of a class list that names the background otherwise, or not at all."""
    classes, where = dataset.classes, _class_file(dataset)
    if classes[0] == BACKGROUND:
        return
    for k, name in enumerate(classes):
        if name.casefold() in LIKE_BACKGROUND:
            remedy = f"Rename '{name}' to {BACKGROUND}" + ("" if k == 0 else " and put it first; ids in masks have to follow")
            yield _without_background(where, f"class {k} is '{name}', which is not known as {BACKGROUND}", tags, f"{remedy}.")
            return
    if classes[0].casefold() in LIKE_IGNORE:
        yield Finding(
            "error" if tags else "warning", where, f"class 0 is '{classes[0]}'", "it is learned like any class",
            f"Remove the line: what does not count is 255 in masks, and class 0 is {BACKGROUND}.",
        )  # fmt: skip
    elif tags:
        yield _without_background(
            where, f"no {BACKGROUND} among the classes {some_of(classes)}", tags, f"Write {BACKGROUND} as the first line."
        )


def _without_background(where: str, what: str, tags: bool, remedy: str) -> Finding:
    """Tell what comes of a list without background."""
    effect = "refine and propagate weigh every class against it, and the run would end there" if tags else "it is learned like any class"
    return Finding("error" if tags else "warning", where, what, effect, remedy)


def _split_findings(dataset: Dataset, validation: str) -> Iterator[Finding]:
    """Tell of images that are learned from and scored on."""
    splits = dataset.splits()
    for name in dict.fromkeys((validation, "val", "test")):
        if name in splits and "train" in splits and name != "train":
            shared = sorted({*_ids(dataset, name)} & {*_ids(dataset, "train")})
            if shared:
                yield Finding(
                    "warning", f"splits {name} and train", f"they share {counted(len(shared), 'image')}: {some_of(shared)}",
                    f"scores on {name} are of images that were learned, and flatter", "Take them out of one of the lists.",
                )  # fmt: skip


def _ids(dataset: Dataset, split: str) -> list[str]:
    """List the images of a split; none where it holds none."""
    try:
        return dataset.ids(split)
    except LabelsegError:
        return []


def _tag_findings(dataset: Dataset) -> Iterator[Finding]:
    """Tell of classes from whose tags nothing can be learned."""
    tags = _tags(dataset)
    counts = Counter(k for held in tags.values() for k in held)
    first = 1 if dataset.has_background else 0
    where = str(getattr(dataset, "labels", None) or "tags")
    if tags and not counts:
        yield Finding(
            "error",
            where,
            f"{counted(len(tags), 'image')} tagged, and none with a class",
            "there is nothing to learn",
            "Fill in the labels.",
        )
        return
    if len(tags) >= ENOUGH:
        everywhere = [dataset.classes[k] for k, count in counts.items() if count == len(tags)]
        if everywhere:
            yield Finding(
                "warning", where, f"every tagged image holds {some_of(everywhere)}", "a classifier cannot tell where that is",
                "Add images without it, with an empty cell if they hold nothing.",
            )  # fmt: skip
        pairs = Counter(pair for held in tags.values() for pair in combinations(held, 2))
        for k, count in counts.items():
            beside = [j for j in counts if j != k and counts[j] < len(tags) and pairs[min(j, k), max(j, k)] == count]
            if count >= FEW and beside and dataset.classes[k] not in everywhere:
                what = f"'{dataset.classes[k]}' never stands without '{dataset.classes[beside[0]]}'"
                yield Finding("warning", where, what, "one may be taken for the other", f"Add images of '{dataset.classes[k]}' alone.")
    never = [dataset.classes[k] for k in range(first, len(dataset.classes)) if tags and not counts[k]]
    rare = [f"'{dataset.classes[k]}' {count}" for k, count in counts.items() if 0 < count < FEW]
    if never:
        yield Finding("note", where, f"no image holds {some_of(never)}", "such a class is not learned")
    if rare:
        yield Finding("note", where, f"classes in one or two images: {some_of(rare)}", "too few to learn from")


def _tags(dataset: Dataset) -> Mapping[str, tuple[int, ...]]:
    """Read the tags of all images that have any; those that cannot be read are left to whoever needs them."""
    found = {}
    for image_id in _ids(dataset, "all"):
        try:
            held = dataset.tags(image_id) if dataset.has(image_id, "tags") else None
        except LabelsegError:
            continue
        if held is not None:
            found[image_id] = held
    return found


def _spellings(dataset: FolderDataset) -> Iterator[Finding]:
    """Tell of classes taken from a table that differ in case alone."""
    if dataset.classes_from is not None:
        return
    by_case: dict[str, list[str]] = {}
    for name in dataset.classes:
        by_case.setdefault(name.casefold(), []).append(name)
    groups = [names for names in by_case.values() if len(names) > 1]
    twice = [" and ".join(f"'{name}' (line {dataset.line_of(name)})" for name in names) for names in groups]
    if twice:
        yield Finding(
            "error", str(dataset.labels), f"{some_of(twice)} differ in case alone", "they would be two classes",
            "Spell them alike, or list the classes, by which both are read: --classes FILE",
        )  # fmt: skip


def _class_file(dataset: Dataset) -> str:
    """Name where the classes come from."""
    listed = getattr(dataset, "classes_from", None)
    return "[data] classes" if isinstance(listed, tuple) else str(listed or getattr(dataset, "labels", None) or "classes")
