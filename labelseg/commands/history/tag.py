"""``labelseg tag``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Invocation, no_wait, pass_invocation, talk, tell
from labelseg.commands.tables import format_table, one_line
from labelseg.errors import UsageError

if TYPE_CHECKING:
    from labelseg.pipeline.store.manifests import Ref
    from labelseg.workspace import Workspace


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.argument("instances", nargs=-1, metavar="[STAGE]...")
@click.option("--list", "listed", is_flag=True, help="List the tags and what they keep; so does no NAME.")
@click.option("--delete", metavar="NAME", help="Remove a tag; what it alone has kept stays until `labelseg gc`.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: what the tag keeps, or what all keep.")
@no_wait
@pass_invocation
def tag(invocation: Invocation, name: str | None, instances: tuple[str, ...], listed: bool, delete: str | None, as_json: bool) -> None:
    """Keep what stands now under a name, so that later runs and `labelseg gc` leave it there.

    Without STAGE everything that stands is kept. `evaluate`, `export` and `show` read it with `--tag NAME`, `diff` as
    STAGE:NAME. Nothing is copied: a tag names what is there.
    """
    from labelseg.results import tags as kept

    workspace = invocation.workspace()
    if sum((name is not None, listed, delete is not None)) > 1:
        raise UsageError("tag: expected one of NAME, --list and --delete NAME.")
    if delete is not None:
        count = kept.delete(workspace, delete, invocation.wait)
        talk(f"Removed the tag '{delete}', which kept {_count(count)}. To free what nothing else stands for: labelseg gc")
        return
    if name is not None:
        found = kept.keep(workspace, name, instances, invocation.wait)
        talk(f"Kept {_count(len(found))} under '{name}'.")
    else:
        for line in kept.interrupted(workspace):
            talk(line)
        found = [ref for refs in kept.tags(workspace).values() for ref in refs]
        if not found:
            talk("No tag keeps anything. To keep what stands: labelseg tag NAME")
    rows = _rows(workspace, found)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif name is None and rows:
        header = ("TAG", "STAGE", "SPLIT", "ITEMS", "MADE", "STANDS")
        cells = [
            (one_line(ref.tag), ref.instance, ref.split, f"{ref.count:,}", ref.created, "yes" if row["stands"] else "no")
            for ref, row in zip(found, rows, strict=True)
        ]
        tell(format_table(header, cells, right=("ITEMS",)))


def _count(number: int) -> str:
    """Count artifacts."""
    return f"{number:,} {'artifact' if number == 1 else 'artifacts'}"


def _rows(workspace: Workspace, refs: list[Ref]) -> list[dict[str, object]]:
    """Tell of each ref what it keeps, and whether that is what stands now."""
    standing = {(ref.instance, ref.split): ref.key for ref in workspace.catalog.refs()}
    return [
        {
            "tag": ref.tag,
            "instance": ref.instance,
            "split": ref.split,
            "key": ref.key,
            "items": ref.count,
            "failed": ref.failed,
            "created": ref.created,
            "stands": standing.get((ref.instance, ref.split)) == ref.key,
        }
        for ref in refs
    ]
