"""Looking at data before anything is computed: what will make the result wrong, end a run later, or was read otherwise than meant."""

from __future__ import annotations

from collections.abc import Iterator

from labelseg.class_ids import BACKGROUND
from labelseg.data.balance import split_findings, tag_findings
from labelseg.data.domains.joint_dataset import JointDataset
from labelseg.data.domains.mapped_masks import MappedMasks
from labelseg.data.domains.sized_dataset import folder_of
from labelseg.data.folder.findings import Finding, by_weight
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.protocols import Dataset
from labelseg.wording import some_of

# How other tools call what is no class, with what is to be done about it.
LIKE_BACKGROUND = frozenset({"background", "_background_", "bg", "__background__", "back ground", "backgrounds", "hintergrund"})
LIKE_IGNORE = frozenset({"__ignore__", "ignore", "void", "unlabeled", "unlabelled"})


def inspect(dataset: Dataset, *, tags: bool, validation: str = "val", quick: bool = False) -> list[Finding]:
    """List what is found in data, the worst first.

    Args:
        dataset: The data.
        tags: Whether the chain learns from tags.
        validation: Split that trainings are evaluated on, if there is such a split.
        quick: Look at a few files only, and tell no notes.
    """
    found = [*_class_findings(dataset, tags), *split_findings(dataset, validation, quick=quick)]
    if tags:
        found += tag_findings(dataset)
    for part in dataset.parts if isinstance(dataset, JointDataset) else [dataset]:
        folder = folder_of(part)
        if isinstance(folder, FolderDataset):
            from labelseg.data.folder.file_checks import file_findings

            mapped = isinstance(part.at_file_size(), MappedMasks)
            found += [*_spellings(folder), *folder.findings(), *file_findings(folder, masks=not mapped, quick=quick, whole=part is folder)]
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
    folder = folder_of(dataset)
    listed = getattr(folder, "classes_from", None)
    return "[data] classes" if isinstance(listed, tuple) else str(listed or getattr(folder, "labels", None) or "classes")
