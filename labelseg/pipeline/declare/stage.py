"""How a stage declares itself: its parameters, what it reads, and the function that does the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from labelseg.protocols import Kind

SourceKind = Literal["map", "model", "labels", "questions", "features"]
AUTO = "auto"


@dataclass(frozen=True)
class Follow:
    """What ``auto`` stands for: it follows from a parameter of an instance that is read.

    Attributes:
        source: The parameter that names the instance.
        param: The parameter of that instance.
        values: Its value -> what ``auto`` stands for then.
        otherwise: What it stands for under any other value.
    """

    source: str
    param: str
    values: Mapping[str, str]
    otherwise: str


def option(
    default: Any,
    *,
    help: str,
    choices: tuple[str, ...] | None = None,
    beyond: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    multiple: int | None = None,
    shared: bool = False,
    effective: Callable[[Any], bool] | None = None,
    formerly: str = "",
    neutral: bool = False,
    follows: Follow | None = None,
) -> Any:
    """Declare a parameter of a stage; it becomes an option of the command and part of the artifact's key.

    Args:
        default: Its default.
        help: One sentence.
        choices: Values it may have.
        beyond: How other values than these look, such as ``timm:NAME``: they begin as it does up to the colon, and go on.
        minimum, maximum: Its bounds.
        multiple: What it is a multiple of.
        shared: Whether all links of a chain have it in common: given for one of them, it is written to the table of the stage.
        effective: Tells from the parameters whether this one has an effect on results; where it has none, it stays out of the key.
        formerly: Its name before it was given another one: still read in ``labelseg.toml`` and the environment, and the name that it
            goes by in keys, so that these stay as they are.
        neutral: Whether the default asks for nothing, so that it stays out of the key: of a parameter that came later, so that what was
            made before keeps its key.
        follows: What the value ``auto`` stands for; keys and records hold that.
    """
    limits = {"choices": choices, "beyond": beyond, "minimum": minimum, "maximum": maximum, "multiple": multiple}
    ways = {"shared": shared, "effective": effective, "formerly": formerly, "neutral": neutral, "follows": follows}
    return field(default=default, metadata={"help": help, **limits, **ways})


def source(
    default: str,
    *,
    help: str,
    kind: SourceKind,
    effective: Callable[[Any], bool] | None = None,
    formerly: str = "",
    link: tuple[str, int] | None = None,
) -> Any:
    """Declare a parameter that names the instance to read, such as ``cam`` or ``cam@wide``; ``""`` reads nothing.

    Kind ``labels`` takes any instance that writes masks, or ``masks`` for the data's own ground truth;
    kind ``questions`` takes any instance that asks people, kind ``features`` any that writes features of places.
    In keys the content digest stands in place of the name. ``effective`` tells from the parameters whether it is read at all.
    A former name is the role that the source plays for the work function, too. A link is an instance of one stage alone, whose number
    in the chain is so many below that of the one that reads it: a chain that left out a number would lose what was done there.
    """
    return field(default=default, metadata={"help": help, "source": kind, "effective": effective, "formerly": formerly, "link": link})


def split_option(default: str, *, help: str, effective: Callable[[Any], bool] | None = None) -> Any:
    """Declare a parameter that names the split a training reads; ``""`` reads none; ``effective`` as of a source."""
    return field(default=default, metadata={"help": help, "split": True, "effective": effective})


def file_option(default: str, *, help: str, words: tuple[str, ...] = (), effective: Callable[[Any], bool] | None = None) -> Any:
    """Declare a parameter that may be the path of a file, or one of some words; in keys the digest of its content stands for the path."""
    return field(default=default, metadata={"help": help, "file": True, "words": words, "effective": effective})


def folder_option(*, help: str) -> Any:
    """Declare a parameter that names a folder with a file for each image; in keys the content of the item's file stands in its place."""
    return field(default="", metadata={"help": help, "folder": True})


def like(owner: type, name: str, **changes: Any) -> Any:
    """Declare a parameter as another class declares it, but for what is given anew.

    Args:
        owner: A dataclass of parameters.
        name: The parameter.
        changes: ``default`` or anything else that ``option`` takes.
    """
    declared = next(f for f in fields(owner) if f.name == name)
    return field(default=changes.pop("default", declared.default), metadata={**declared.metadata, **changes})


@dataclass(frozen=True)
class Source:
    """One thing a stage reads.

    Attributes:
        role: What it is to the stage: the name of the parameter, or its former one.
        kind: What it provides.
        instance: The instance that provides it.
        param: Name of the parameter.
        link: Stage that it has to be of, and how many numbers before; None takes any.
    """

    role: str
    kind: SourceKind
    instance: str
    param: str
    link: tuple[str, int] | None = None


@dataclass(frozen=True)
class Stage:
    """The declaration of a stage.

    Attributes:
        name: Command, module and artifact name, words joined by ``-``.
        version: Bumped by hand whenever results change.
        kind: ``map`` writes arrays for each item of a split; ``model`` trains once and writes named tensors.
        params: Frozen keyword-only dataclass whose fields come from the declaring functions above.
        run: map: ``run(inputs, params)`` returns ``compute(item) -> dict of arrays``, called once a worker;
            model: ``run(inputs, params)`` returns a ``Model``.
        uses: Kinds of the data (``image``, ``tags``, ``mask``) that an item's result depends on: for a map stage
            a function from params to a tuple; for a model a function from params to a mapping from the name of
            a split parameter to a tuple.
        has_masks: Whether the items hold an array ``mask`` and so can serve as a label source.
        has_scores: Whether the items hold arrays ``scores`` and ``class_ids`` in place of a mask, which a threshold on the background
            would make: they are compared with true masks at many thresholds.
        has_features: Whether the items hold ``features`` (h, w, D) of places and ``stride`` (), the pixels between them.
        has_network: Whether a map runs a network that it reads from no model, so that it belongs on the device.
        asks: Whether the items hold questions for a person: ``points`` (n, 2), rows and columns, and ``guesses`` (n,), class ids, -1
            where nothing is guessed; where whole regions are asked also ``regions`` (n,), the number of the region of each point.
        answered: Role of the source that asks, for a map whose items depend on the answers too, or empty. Until all of its questions are
            answered a run waits, unless the parameters have a true ``partial``.
        overridden: Whether an item depends on the mask that was imported for it under the name of the instance, if there is one.
        attached: Parameter that names a folder of files, one for each image, on which its item depends; or empty.
        numbered: Parameter that counts the links of a chain, or empty: then the instance ``stage@2`` is number 2 and reads, by
            default, number 1; those before the highest one need no table.
        first: Number of the first link.
        chain: Name of a chain that several numbered stages make together, or empty: their numbers reach equally far.
        home: Split that the stage is made for where that is one of a further data set: a map works on it where none is named.
    """

    name: str
    version: int
    kind: Literal["map", "model"]
    params: type
    run: Callable[..., Any]
    uses: Callable[[Any], tuple[Kind, ...] | Mapping[str, tuple[Kind, ...]]]
    has_masks: bool = False
    has_scores: bool = False
    has_features: bool = False
    has_network: bool = False
    asks: bool = False
    answered: str = ""
    overridden: bool = False
    attached: str = ""
    numbered: str = ""
    first: int = 0
    chain: str = ""
    home: str = ""

    def sources(self, params: Any) -> tuple[Source, ...]:
        """List what the stage reads under ``params``, in the order of declaration; empty names are left out."""
        declared = (
            Source(key_name(f), f.metadata["source"], getattr(params, f.name), f.name, f.metadata["link"])
            for f in fields(self.params)
            if "source" in f.metadata and is_effective(f, params)
        )
        return tuple(s for s in declared if s.instance)

    def takes_loose_images(self, params: Any) -> bool:
        """Whether the stage makes masks from images and models alone; tags, where it looks at them, may be unknown."""
        uses = self.uses(params)
        return (
            self.has_masks
            and not self.overridden
            and {*uses} <= {"image", "tags"}
            and all(source.kind == "model" for source in self.sources(params))
        )

    def option(self, role: str) -> str:
        """Name the parameter that says who plays a role; a role of earlier declarations stays as it is."""
        return next((f.name for f in fields(self.params) if "source" in f.metadata and key_name(f) == role), role)

    def splits(self, params: Any) -> dict[str, str]:
        """Map the name of each split parameter that is read under ``params`` to its value; empty names are left out."""
        named = {f.name: getattr(params, f.name) for f in fields(self.params) if f.metadata.get("split") and is_effective(f, params)}
        return {name: value for name, value in named.items() if value}

    def unread(self, params: Any) -> dict[str, str]:
        """Map each parameter that names a source or a split, and is not read under ``params``, to its value; empty names are left out."""
        named = [f for f in fields(self.params) if "source" in f.metadata or f.metadata.get("split")]
        return {f.name: getattr(params, f.name) for f in named if getattr(params, f.name) and not is_effective(f, params)}

    @property
    def help(self) -> str:
        """The first paragraph of the work function's docstring."""
        return " ".join((self.run.__doc__ or "").strip().partition("\n\n")[0].split())


def is_effective(declared: Field, params: Any) -> bool:
    """Whether a parameter has an effect under the others."""
    effective = declared.metadata.get("effective")
    return effective is None or effective(params)


def enters_key(declared: Field, params: Any) -> bool:
    """Whether a parameter is part of keys: it has an effect, and asks for something."""
    asks = not declared.metadata.get("neutral") or getattr(params, declared.name) != declared.default
    return asks and is_effective(declared, params)


def names_path(declared: Field) -> bool:
    """Whether a parameter names a file or a folder, so that a relative path starts from the workspace."""
    return bool(declared.metadata.get("file") or declared.metadata.get("folder"))


def key_name(declared: Field) -> str:
    """The name that a parameter goes by in keys: its former one where it has one."""
    return declared.metadata.get("formerly") or declared.name
