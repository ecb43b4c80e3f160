"""Keeping what stands under a name: refs beside the main ones, which no run moves and ``gc`` keeps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from labelseg.errors import MissingArtifactError, UsageError
from labelseg.pipeline.files.locks import WAIT_SECONDS, workspace_lock
from labelseg.pipeline.instances import UNSAVED, check_tag
from labelseg.pipeline.store.manifests import Ref
from labelseg.results.standing import Named, find_refs, load_manifest, ref_name
from labelseg.suggestions import suggestion

if TYPE_CHECKING:
    from labelseg.workspace import Workspace


def keep(workspace: Workspace, tag: str, instances: Sequence[str] = (), wait: float = WAIT_SECONDS) -> list[Ref]:
    """Keep what stands now under a tag: all of it or, where that is interrupted, nothing.

    Args:
        workspace: The workspace.
        tag: Name of the tag; one that is there already takes up more, but what it keeps is never replaced.
        instances: Instances to keep, in all their splits; empty keeps everything.
        wait: Seconds to wait for another process that works in the workspace.

    Returns:
        The refs under the tag that were asked for.

    Raises:
        UsageError: the name has another form or is reserved, or the tag keeps something else of the same name.
        MissingArtifactError: nothing stands for an instance.
        LockedError: another process works on the workspace.
    """
    _check_name(tag)
    with workspace_lock(workspace.folder, "labelseg tag", wait):
        chosen = [ref for name in instances for ref in find_refs(workspace, Named(name))] if instances else workspace.catalog.refs()
        if not chosen:
            raise MissingArtifactError("nothing stands here that could be kept. Run: labelseg run")
        catalog = workspace.catalog
        catalog.unfinished.clear(tag)
        kept = {(ref.instance, ref.split): ref for ref in tags(workspace).get(tag, ())}
        for ref in chosen:
            load_manifest(workspace, ref)
            there = kept.get((ref.instance, ref.split))
            if there is not None and there.key != ref.key:
                raise UsageError(
                    f"the tag '{tag}' keeps {ref_name(ref)} of {there.created} already. "
                    f"Choose another name, or remove that one: labelseg tag --delete {tag}"
                )
        new = [ref for ref in chosen if (ref.instance, ref.split) not in kept]
        with catalog.unfinished.together(tag, [catalog.ref_path(ref.instance, ref.split, tag) for ref in new]):
            for ref in new:
                catalog.set_ref(ref, tag)
        if workspace.remote is not None:
            workspace.remote.settle()
    return tags(workspace)[tag] if not instances else [ref for ref in tags(workspace)[tag] if ref.instance in instances]


def tags(workspace: Workspace) -> dict[str, list[Ref]]:
    """Map each tag to what it keeps, sorted by name.

    Raises:
        ArtifactError: a folder of refs cannot be read.
    """
    workspace.catalog.demand_seen()
    found: dict[str, list[Ref]] = {}
    for ref in workspace.catalog.refs(tagged=True):
        if ref.tag:
            found.setdefault(ref.tag, []).append(ref)
    return dict(sorted(found.items()))


def interrupted(workspace: Workspace) -> list[str]:
    """Say of each tag that an interruption left unfinished what became of it."""
    return [
        f"Keeping or removing the tag '{name}' was interrupted: what that began does not count. "
        f"Keep it again: labelseg tag {name}, or clear it: labelseg gc"
        for name in workspace.catalog.unfinished.names()
    ]


def delete(workspace: Workspace, tag: str, wait: float = WAIT_SECONDS) -> int:
    """Remove a tag; what it alone has kept stays until ``gc``.

    Returns:
        The number of artifacts that it kept.

    Raises:
        UsageError: the name is reserved.
        MissingArtifactError: there is no such tag.
        LockedError: another process works on the workspace.
    """
    if tag == UNSAVED:
        raise UsageError(f"--delete {tag}: that is what --no-save has tried. Remove it: labelseg gc --unsaved")
    with workspace_lock(workspace.folder, "labelseg tag", wait):
        unfinished = workspace.catalog.unfinished
        left = unfinished.clear(tag) if tag in unfinished.names() else 0
        there = tags(workspace)
        if tag not in there and left:
            return left
        if tag not in there:
            raise MissingArtifactError(f"there is no tag '{tag}'.{suggestion(tag, there)} See: labelseg tag --list")
        paths = [workspace.catalog.ref_path(ref.instance, ref.split, ref.tag) for ref in there[tag]]
        if workspace.remote is not None:
            workspace.remote.remove(paths)
        with suppress(OSError):  # a full disk must not keep anyone from clearing it
            unfinished.begin(tag, paths)
        for path in paths:
            path.unlink(missing_ok=True)
        unfinished.clear(tag)
    return len(there[tag])


def _check_name(tag: str) -> None:
    """Refuse a name that is reserved or no name of a tag."""
    if tag == UNSAVED:
        raise UsageError(f"'{tag}' is where --no-save puts what it tries. Choose another name.")
    check_tag(tag)
