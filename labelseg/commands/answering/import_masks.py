"""``labelseg import-masks``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Invocation, pass_invocation, talk, user_name
from labelseg.errors import ItemsFailedError, UsageError
from labelseg.exchange import READ
from labelseg.pipeline.instances import instance_parts, run_command, stage_of
from labelseg.wording import counted, some_of

if TYPE_CHECKING:
    from labelseg.pipeline.store.artifacts import Artifact
    from labelseg.results.exchange.mask_import import Imported
    from labelseg.workspace import Workspace

SHOWN = 20  # refusals that are told one by one


@click.command("import-masks")
@click.argument("path", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--format", "form", type=click.Choice(READ), show_default="as the path looks", help="What the path holds.")
@click.option(
    "--to", "instance", default="override", show_default=True, metavar="STAGE", help="Instance of override whose masks they become."
)
@click.option("--who", metavar="NAME", show_default="name of the user", help="Who made the masks, where the file does not tell.")
@click.option(
    "--changed-from",
    metavar="STAGE",
    help="Take only masks that differ from those of STAGE: those that came back untouched go on following it.",
)
@click.option(
    "--withdraw", multiple=True, metavar="IMAGE", help="Have the imported mask of an image count no longer; may be given several times."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: what was taken, what was there before, what was refused and why.")
@pass_invocation
def import_masks(
    invocation: Invocation,
    path: Path | None,
    form: str | None,
    instance: str,
    who: str | None,
    changed_from: str | None,
    withdraw: tuple[str, ...],
    as_json: bool,
) -> None:
    """Bring masks back: corrected ones, or those of another program, image by image.

    PATH is a folder of PNG masks (class ids in a palette or in grey), a zip archive of CVAT ("Segmentation mask 1.1"), or a JSON file
    of COCO instances or of Label Studio. Masks are kept in corrections/, with who made them and when; then `labelseg override` puts
    them in place of those of a stage. A mask that cannot be used is told and costs no other; the exit code is then 3.
    """
    workspace = invocation.workspace()
    _demand_override(workspace, instance)
    who = user_name() if who is None else who
    if (path is None) == (not withdraw):
        raise UsageError("import-masks: expected one of PATH and --withdraw IMAGE.")
    if path is None:
        from labelseg.results.exchange.mask_import import withdraw as withdraw_masks

        images = withdraw_masks(workspace, instance, withdraw, who)
        command = _next(workspace, instance, images)
        talk(
            f"{counted(len(images), 'imported mask')} of {instance} {'counts' if len(images) == 1 else 'count'} no longer. Next: {command}"
        )
        return
    from labelseg.results.exchange.mask_import import import_masks as take

    done = take(workspace, instance, path, form, who, _sent(workspace, changed_from) if changed_from else ())
    for line in done.bad:
        talk(line)
    if as_json:
        facts = {
            "format": done.form,
            "instance": instance,
            "taken": done.taken,
            "same": done.same,
            "untouched": done.untouched,
            "refused": done.refused,
        }
        click.echo(json.dumps(facts, indent=2))
    _tell(done, instance, _next(workspace, instance, done.taken, changed_from or ""))


def _tell(done: Imported, instance: str, command: str) -> None:
    """Tell what became of the masks.

    Raises:
        ItemsFailedError: some were refused.
    """
    for reason in list(done.refused.values())[:SHOWN]:
        talk(reason)
    same = f", {counted(len(done.same), 'mask')} there before" if done.same else ""
    same += f", {counted(len(done.untouched), 'mask')} untouched" if done.untouched else ""
    talk(f"Read as {done.form}: {counted(len(done.taken), 'mask')} taken for {instance}{same}.{f' Next: {command}' if done.taken else ''}")
    if done.refused:
        rest = len(done.refused) - SHOWN
        more = f" {rest:,} more are not listed; all: --json." if rest > 0 else ""
        raise ItemsFailedError(f"{counted(len(done.refused), 'mask')} could not be taken: {some_of(list(done.refused))}.{more}")


def _demand_override(workspace: Workspace, instance: str) -> None:
    """Refuse an instance that reads no imported masks.

    Raises:
        UsageError: it is of another stage, or its name is none.
    """
    stage = workspace.stages.get(stage_of(instance))
    able = [name for name, other in workspace.stages.items() if other.overridden]
    if not able:
        raise UsageError(f"import-masks: no stage here reads imported masks. Known: {', '.join(workspace.stages)}.")
    if stage is None or not stage.overridden:
        raise UsageError(
            f"import-masks --to {instance}: it reads no imported masks. Name an instance of {', '.join(able)}, such as {able[0]}@sam."
        )
    name = instance_parts(instance)[1]
    if instance != stage.name and (not name or not name.replace("-", "").replace("_", "").isalnum()):
        raise UsageError(f"import-masks --to {instance}: expected a name of letters, digits, - and _ after '@'.")


def _sent(workspace: Workspace, name: str) -> list[Artifact]:
    """Open the masks of a stage, in every split; ``STAGE:TAG`` means what a tag keeps.

    Raises:
        UsageError: it makes no masks.
    """
    from labelseg.results.standing import Named, find_refs, maker, open_ref

    refs = find_refs(workspace, Named.parse(name))
    if not maker(workspace, refs[0]).has_masks:
        raise UsageError(f"import-masks --changed-from {name}: it makes no masks.")
    return [open_ref(workspace, ref) for ref in refs]


def _next(workspace: Workspace, instance: str, images: Sequence[str], changed_from: str = "") -> str:
    """Write the command that puts the masks to use: over those that went out, where that is told, in a split that holds the images."""
    from labelseg.results.standing import Named

    config, over = workspace.config, ""
    sent = Named.parse(changed_from).instance if changed_from else ""
    known = instance in config.instances()
    if (sent and not (known and config.params(instance).of == sent)) or not known:
        over = f" --of {shlex.quote(sent or 'STAGE')}"
    splits, wanted = [config.split_of(instance), "train", *workspace.dataset.splits()], set(images)
    held = next((split for split in splits if wanted & set(workspace.dataset.ids(split))), splits[0]) if wanted else splits[0]
    return f"{run_command(instance, held if held != splits[0] else '')}{over}"
