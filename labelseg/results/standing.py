"""What stands for an instance, or under a tag: found by name, with the classes of its own record."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from labelseg.errors import DataError, MissingArtifactError, UsageError
from labelseg.pipeline.declare.stage import Stage
from labelseg.pipeline.instances import UNSAVED, command_on, run_command, stage_of
from labelseg.pipeline.plan.class_lists import class_changes, mix_text, mixed_ids, recorded_classes
from labelseg.suggestions import suggestion, unknown_split

if TYPE_CHECKING:
    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.pipeline.store.manifests import Manifest, Ref
    from labelseg.workspace import Workspace


class Named(NamedTuple):
    """An instance, or what a tag keeps of one: ``propagate``, ``propagate@b16``, ``propagate:before``."""

    instance: str
    tag: str = ""

    @classmethod
    def parse(cls, text: str) -> Named:
        """Read ``INSTANCE`` or ``INSTANCE:TAG``."""
        instance, _, tag = text.partition(":")
        return cls(instance, tag)

    def __str__(self) -> str:
        return f"{self.instance}:{self.tag}" if self.tag else self.instance


def missing_items(ref: Ref) -> str:
    """Say that an artifact lacks items, which failed or were damaged, and how they come back; empty where it has all of them."""
    if not ref.failed or not ref.split:
        return ""
    again = f"Run: {run_command(ref.instance, ref.split)}"
    if ref.tag:
        listing = command_on("show", ref.instance, "", "--tag", ref.tag)
        again = f"Run {ref.instance} with the parameters that `{listing}` lists, and it has them again"
    return f"{ref_name(ref)} lacks {ref.failed:,} of {ref.count + ref.failed:,} images, which failed or were damaged. {again}"


def ref_name(ref: Ref) -> str:
    """Name an artifact as a person would: ``propagate:before (train)``."""
    name = str(Named(ref.instance, ref.tag))
    return f"{name} ({ref.split})" if ref.split else name


def maker(workspace: Workspace, ref: Ref) -> Stage:
    """Find the stage that made an artifact; its instance may have left the configuration."""
    return workspace.stages[stage_of(ref.instance)]


def find_refs(workspace: Workspace, name: Named, split: str | None = None) -> list[Ref]:
    """List what stands under a name, in every split or in one of them.

    Raises:
        UsageError: there is no such instance, and never was; the data has no such split.
        MissingArtifactError: nothing stands under the name.
    """
    own = workspace.catalog.refs(tagged=True, instance=name.instance)
    there = [ref for ref in own if ref.tag == name.tag and split in (None, ref.split) and _known(workspace, ref)]
    if there:
        return there
    for damage in workspace.catalog.damaged_refs(tagged=bool(name.tag), instance=name.instance):
        raise damage
    under = [ref for ref in workspace.catalog.refs(tagged=True) if ref.tag == name.tag]
    where = f" on {split}" if split else ""
    if name.tag in ("", UNSAVED) or not under:
        workspace.config.stage(name.instance)
    if split is not None and split not in workspace.dataset.splits():
        raise UsageError(unknown_split(split, workspace.dataset.splits()))
    if name.tag in ("", UNSAVED):
        command = workspace.config.command(name.instance, split or "", unsaved=bool(name.tag))
        raise MissingArtifactError(f"{name.instance} has never run here{where}. Run: {command}")
    if not under:
        tags = dict.fromkeys(ref.tag for ref in workspace.catalog.refs(tagged=True) if ref.tag)
        raise MissingArtifactError(f"there is no tag '{name.tag}'.{suggestion(name.tag, tags)} See: labelseg tag --list")
    raise MissingArtifactError(f"the tag '{name.tag}' keeps nothing of {name.instance}{where}. See: labelseg tag --list")


def load_manifest(workspace: Workspace, ref: Ref) -> Manifest:
    """Read the manifest that a ref names.

    Raises:
        MissingArtifactError: it is gone.
    """
    try:
        return workspace.catalog.named(ref)
    except MissingArtifactError:
        lost = f"the manifest of {ref_name(ref)} is gone."
        if ref.tag not in ("", UNSAVED):
            raise MissingArtifactError(f"{lost} See what makes it again: labelseg verify") from None
        command = workspace.config.command(ref.instance, ref.split, unsaved=bool(ref.tag))
        raise MissingArtifactError(f"{lost} Run: {command}") from None


def open_ref(workspace: Workspace, ref: Ref) -> Artifact:
    """Open the artifact that a ref names.

    Raises:
        MissingArtifactError: its manifest is gone.
    """
    from labelseg.pipeline.store.artifacts import Artifact

    return Artifact(workspace.store, load_manifest(workspace, ref), ref_name(ref))


def find_items(workspace: Workspace, name: str, held: Collection[str]) -> list[str]:
    """List the images of an artifact that a name may mean: its own id, else what the data calls so, a bare file name for one."""
    if name in held:
        return [name]
    return [image_id for image_id in workspace.dataset.matches(name) if image_id in held]


def classes_of(ref: Ref, manifest: Manifest) -> tuple[str, ...]:
    """Name the classes that an artifact was made with; id k is the k-th. The data may have others by now."""
    return recorded_classes(manifest.recipe, ref_name(ref), run_command(ref.instance, ref.split, force=True, unsaved=ref.tag == UNSAVED))


def changes_of_data(workspace: Workspace, classes: tuple[str, ...]) -> str:
    """Tell how the classes of the data differ now from those of an artifact; empty where they do not."""
    return class_changes(workspace.dataset.classes, classes)


def common_classes(workspace: Workspace, ref: Ref, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Join the classes of an artifact and those of the data, where each id means the same to both.

    Returns:
        The longer list.

    Raises:
        DataError: an id means another class to the data than to the artifact.
    """
    now = workspace.dataset.classes
    if mixed_ids(classes, now):
        raise DataError(
            f"{ref_name(ref)} was made with other classes than the data has now: {mix_text(classes, now)}, and its masks and the true ones "
            "would mix. Make it again: labelseg run, or set the classes back."
        )
    return max(classes, tuple(now), key=len)


def _known(workspace: Workspace, ref: Ref) -> bool:
    """Whether a ref is that of a stage there is."""
    return stage_of(ref.instance) in workspace.stages
