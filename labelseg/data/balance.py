"""What no method can mend: classes that never stand alone, are everywhere or hardly anywhere, and images that are learned and scored."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from labelseg.class_ids import IGNORE
from labelseg.data.dataset import image_file
from labelseg.data.domains.sized_dataset import folder_of
from labelseg.data.folder.findings import Finding
from labelseg.data.folder.folder_dataset import FolderDataset
from labelseg.data.folder.splits import ALL, HELD_OUT
from labelseg.errors import LabelsegError
from labelseg.file_kinds import demand_file, read_file
from labelseg.protocols import Dataset
from labelseg.suggestions import suggestion
from labelseg.wording import counted, some_of

FEW = 3  # images of a class below which nothing is said of what it stands beside
SMALL = 10  # images of a class below which that is told
FEWEST_MASKS = 10  # of the validation split, below which that is told
ENOUGH = 6  # tagged images from which their classes are compared
NEARLY = 0.95  # share of the tagged images from which a class is nearly everywhere
UNEVEN = 20  # times as many images as the rarest class has, from which that is told
LEARNED = "train"
END = 4096  # bytes at each end of a file that are compared before all of it is


def tag_findings(dataset: Dataset) -> Iterator[Finding]:
    """Tell of classes from whose tags nothing can be learned, or the wrong thing.

    Args:
        dataset: The data; tags of all its images are read.
    """
    tags = _tags(dataset)
    counts = Counter(k for held in tags.values() for k in held)
    where = str(getattr(folder_of(dataset), "labels", None) or "tags")
    if tags and not counts:
        what = f"{counted(len(tags), 'image')} tagged, and none with a class"
        yield Finding("error", where, what, "there is nothing to learn", "Fill in the labels.")
        return
    if len(tags) >= ENOUGH:
        everywhere = {k for k, count in counts.items() if count == len(tags)}
        yield from _everywhere(dataset, where, counts, len(tags))
        yield from _never_alone(dataset, where, tags, counts, everywhere)
    yield from _rare(dataset, where, tags, counts)
    yield from _misspelt(dataset, where, counts)
    yield from _unknown(dataset, tags)


def split_findings(dataset: Dataset, validation: str, *, quick: bool = False) -> Iterator[Finding]:
    """Tell of images that are learned from and scored on, by their ids or by their bytes, and of hardly any masks to score on.

    Args:
        dataset: The data.
        validation: Split that trainings are evaluated on, if there is such a split.
        quick: Leave out the comparison by bytes, for which files are read.
    """
    splits = dataset.splits()
    held_out = [name for name in dict.fromkeys((validation, *HELD_OUT)) if name in splits and name != LEARNED]
    ids = {name: _ids(dataset, name) for name in splits if name != ALL}
    told: dict[str, set[str]] = defaultdict(set)
    for name in held_out:
        for other in (LEARNED, *(other for other in ids if other not in (LEARNED, *held_out))):
            shared = sorted({*ids[name]} & {*ids.get(other, ())} - told[name])
            told[name] |= {*shared}  # what lies in train too is told of that alone
            if shared:
                effect = f"scores on {name} are of images that were learned, and flatter"
                yield _shared(name, other, shared, effect)
    for name, other in combinations(held_out, 2):
        if shared := sorted({*ids[name]} & {*ids[other]}):
            yield _shared(other, name, shared, f"what is chosen on {name} flatters scores on {other}")
    if not quick:
        for name in held_out:
            yield from _copies(dataset, name, ids[name], ids.get(LEARNED, []))
        yield from _few_masks(dataset, validation, ids.get(validation, []))


def _few_masks(dataset: Dataset, name: str, ids: Sequence[str]) -> Iterator[Finding]:
    """Tell of a split with so few masks that scores on it say little; a split without any scores nothing."""
    import numpy as np

    masked = [image_id for image_id in ids if dataset.has(image_id, "mask")]
    if not 0 < len(masked) < FEWEST_MASKS:
        return
    present: set[int] = set()
    for image_id in masked:
        with suppress(LabelsegError):  # told where masks are looked at
            present.update(np.unique(dataset.mask(image_id)).tolist())
    lacking = [f"'{class_name}'" for k, class_name in enumerate(dataset.classes) if k not in present and k != IGNORE]
    what = f"{counted(len(masked), 'mask')} for {counted(len(ids), 'image')}{f', none with {some_of(lacking)}' if lacking else ''}"
    effect = 'scores on so few say little, and choose the epoch of a segmenter where keep = "best"'
    remedy = (
        f"Give {name} {FEWEST_MASKS} masks or more, of every class: draw some, or list images with masks in {name}.txt; "
        "or keep the last epoch: labelseg config train-segmenter.keep last"
    )
    yield Finding("warning", f"split {name}", what, effect, remedy)


def _shared(name: str, other: str, shared: Sequence[str], effect: str) -> Finding:
    """Tell of images that two splits have in common."""
    what = f"they share {counted(len(shared), 'image')}: {some_of(shared)}"
    return Finding("warning", f"splits {name} and {other}", what, effect, "Take them out of one of the lists.")


def _everywhere(dataset: Dataset, where: str, counts: Mapping[int, int], total: int) -> Iterator[Finding]:
    """Tell of classes that all images hold, or nearly all."""
    every = [dataset.classes[k] for k, count in counts.items() if count == total]
    nearly = [
        f"'{dataset.classes[k]}' (all but {total - count:,} of {total:,})" for k, count in counts.items() if NEARLY * total <= count < total
    ]
    for names, whose, effect in ((every, "every", "cannot tell"), (nearly, "nearly every", "learns little of")):
        if names:
            one = len(names) == 1
            what = f"{whose} tagged image holds {some_of(names)}"
            remedy = f"Add images without {'it' if one else 'each of them'}, with an empty cell if they hold nothing."
            yield Finding("warning", where, what, f"a classifier {effect} where {'that is' if one else 'these are'}", remedy)


def _never_alone(
    dataset: Dataset, where: str, tags: Mapping[str, tuple[int, ...]], counts: Mapping[int, int], everywhere: set[int]
) -> Iterator[Finding]:
    """Tell of classes that stand beside others in each of their images, always the same one or different ones."""
    pairs = Counter(pair for held in tags.values() for pair in combinations(held, 2))
    alone = {held[0] for held in tags.values() if len(held) == 1}
    never, bound = [], defaultdict(list)
    for k, count in counts.items():
        if count < FEW or k in everywhere or k in alone:
            continue
        beside = [j for j in counts if j != k and counts[j] < len(tags) and pairs[min(j, k), max(j, k)] == count]
        if beside:
            bound[dataset.classes[beside[0]]].append(f"'{dataset.classes[k]}'")
        elif any(len({*held} - everywhere) > 1 for held in tags.values() if k in held):
            never.append(f"'{dataset.classes[k]}' ({counted(count, 'image')})")
    for other, names in bound.items():
        what = f"{some_of(names)} never {'stands' if len(names) == 1 else 'stand'} without '{other}'"
        yield Finding("warning", where, what, "one may be taken for the other", f"Add images of {some_of(names)} alone.")
    if never:
        yield Finding(
            "warning", where, f"never alone in an image: {some_of(never)}", "no tag tells such a class from what stands beside it",
            "Add images that hold it alone, or masks of some that hold it.",
        )  # fmt: skip


def _rare(dataset: Dataset, where: str, tags: Mapping[str, tuple[int, ...]], counts: Mapping[int, int]) -> Iterator[Finding]:
    """Tell of classes with no image or few of them, in what is learned from."""
    first = 1 if dataset.has_background else 0
    learned = Counter(k for image_id in _ids(dataset, LEARNED) for k in tags.get(image_id, ()))
    never = [dataset.classes[k] for k in range(first, len(dataset.classes)) if tags and not counts[k]]
    elsewhere = [f"'{dataset.classes[k]}' ({counted(count, 'image')} elsewhere)" for k, count in sorted(counts.items()) if not learned[k]]
    most, least = max(learned.values(), default=0), min(learned.values(), default=0)
    below = SMALL if most >= 3 * SMALL else FEW
    few = [f"'{dataset.classes[k]}' {count}" for k, count in sorted(learned.items(), key=lambda pair: pair[1]) if count < below]
    if never:
        yield Finding("note", where, f"no image holds {some_of(never)}", "such a class is not learned")
    if elsewhere:
        what = f"no image of the split {LEARNED} holds {some_of(elsewhere)}"
        yield Finding("warning", where, what, "such a class is not learned", f"Move images of it to {LEARNED}.")
    if few:
        yield Finding(
            "note", where, f"classes in few images of {LEARNED}: {some_of(few)}", "too few to learn much from", "Add images of them."
        )
    if learned and most >= UNEVEN * least:
        rarest, largest = (dataset.classes[next(k for k, count in learned.items() if count == wanted)] for wanted in (least, most))
        what = f"'{rarest}' is in {counted(least, 'image')} of {LEARNED}, '{largest}' in {most:,}"
        yield Finding("note", where, what, "rare classes are learned late and badly", f"Add images of '{rarest}'.")


def _misspelt(dataset: Dataset, where: str, counts: Mapping[int, int]) -> Iterator[Finding]:
    """Tell of rare classes spelled nearly as a frequent one, where a table alone names the classes."""
    folder = folder_of(dataset)
    if not isinstance(folder, FolderDataset) or folder.classes_from is not None or folder.labels is None:
        return
    told = []
    for k, count in sorted(counts.items()):
        name = dataset.classes[k]
        frequent = [dataset.classes[j] for j, other in counts.items() if other >= SMALL * count]
        hint = suggestion(name, frequent, listed="").strip().rstrip("?")
        if count < FEW and hint:
            told.append(f"'{name}' (line {folder.line_of(name)}, {counted(count, 'image')}: {hint[0].lower()}{hint[1:]}?)")
    if told:
        remedy = "Correct the table; or list the classes, so that no other name is read as one: --classes FILE"
        yield Finding("warning", where, f"rare names close to a frequent one: {some_of(told)}", "each is a class of its own", remedy)


def _unknown(dataset: Dataset, tags: Mapping[str, tuple[int, ...]]) -> Iterator[Finding]:
    """Tell of images of which a table of tags says nothing, in what is learned from."""
    table = getattr(folder_of(dataset), "labels", None)
    missing = [image_id for image_id in _ids(dataset, LEARNED) if image_id not in tags]
    if table and tags and missing:
        what = f"nothing is told of {counted(len(missing), 'image')} of {LEARNED}: {some_of(missing)}"
        effect = "no classifier learns from them, and cam leaves them out with exit code 3"
        yield Finding("note", str(table), what, effect, "Add a line for each, with an empty cell if it holds nothing.")


def _copies(dataset: Dataset, name: str, held: Sequence[str], learned: Sequence[str]) -> Iterator[Finding]:
    """Tell of images under two names, one of them learned from and the other scored on."""
    if {*held} & {*learned}:
        return  # told by their ids
    scored, twins = {*held}, []
    files = {}
    for image_id in (*held, *learned):
        path = image_file(dataset, image_id)
        if path is not None and path.is_file():
            files[image_id] = path
    groups = [list(files)]
    for look in (_size, _ends, _whole):  # each on what the one before could not tell apart
        groups = [part for group in groups for part in _alike(group, files, look) if len({one in scored for one in part}) == 2]
    for alike in groups:
        other = next(one for one in alike if one not in scored)
        twins += [f"{one} is {other}" for one in alike if one in scored]
    if twins:
        what = f"{counted(len(twins), 'image')} of {name} with the same bytes as one of {LEARNED}: {some_of(twins)}"
        effect = f"scores on {name} are of images that were learned, and flatter"
        yield Finding("warning", f"splits {name} and {LEARNED}", what, effect, "Remove one of each two.")


def _alike(group: Sequence[str], files: Mapping[str, Path], look: Callable[[Path], object]) -> list[list[str]]:
    """Sort images into groups that look alike."""
    found: dict[object, list[str]] = defaultdict(list)
    for image_id in group:
        found[look(files[image_id])].append(image_id)
    return list(found.values())


def _size(path: Path) -> int:
    return path.stat().st_size


def _ends(path: Path) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file."""
    demand_file(path)
    with path.open("rb") as file:
        first = file.read(END)
        file.seek(max(path.stat().st_size - END, 0))
        return first, file.read(END)


def _whole(path: Path) -> bytes:
    return hashlib.blake2b(read_file(path)).digest()


def _ids(dataset: Dataset, split: str) -> list[str]:
    """List the images of a split; none where it holds none."""
    try:
        return dataset.ids(split)
    except LabelsegError:
        return []


def _tags(dataset: Dataset) -> Mapping[str, tuple[int, ...]]:
    """Read the tags of all images that have any; those that cannot be read are left to whoever needs them."""
    found = {}
    for image_id in _ids(dataset, ALL):
        try:
            held = dataset.tags(image_id) if dataset.has(image_id, "tags") else None
        except LabelsegError:
            continue
        if held is not None:
            found[image_id] = held
    return found
