"""``labelseg view``."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

from labelseg.commands.context import Invocation, pass_invocation, talk, user_name
from labelseg.errors import MissingExtraError, UsageError
from labelseg.pipeline.instances import command_on
from labelseg.wording import counted


@click.command()
@click.argument("instance", metavar="[STAGE]", required=False)
@click.option("--split", metavar="SPLIT", help="Split whose images are shown.")
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535), metavar="PORT", help="Port to listen on.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--list", "listed", type=click.Choice(("good", "bad", "fix")), help="Write the ids of the images with this mark, and serve nothing."
)
@pass_invocation
def view(invocation: Invocation, instance: str | None, split: str | None, port: int, open_browser: bool, listed: str | None) -> None:
    """Look through the masks of a split on a local web page, and mark them good, bad or to fix: the last masks of the chain, or STAGE's.

    Writes its address to stdout and serves until Ctrl-C. Marks are on the disk, in marks/, at once; `labelseg view --list fix` writes
    the ids of those to fix, as a split list is written. What `labelseg quality` has measured sorts the images.
    """
    from labelseg.answers.marks import marks_path, read_marks
    from labelseg.pages.gallery.panels import Panels
    from labelseg.pages.view.view_service import ViewService
    from labelseg.quality.chain import masked_ref, other_refs
    from labelseg.quality.kept import kept_measured
    from labelseg.results.standing import ref_name

    workspace = invocation.workspace()
    ref = masked_ref(workspace, instance or "", split)
    path = marks_path(Path(workspace.root), ref.instance, ref.split)
    if listed:
        marks, bad = read_marks(path)
        for image_id, mark in sorted(marks.items()):
            if mark == listed:
                click.echo(os.fsencode(image_id))
        for wrong in bad:
            talk(str(wrong))
        return
    try:
        from labelseg.pages.serving.local_server import LOCAL, address_of, listen, serve
        from labelseg.pages.view.view_server import make_view_app
    except ImportError as error:
        raise MissingExtraError("view needs starlette and uvicorn. Run: pip install 'labelseg[web]'") from error
    measured = kept_measured(workspace.folder, ref.instance, ref.split)
    if measured is None or not measured.current(ref, other_refs(workspace, ref)):
        remedy = command_on("quality", ref.instance, ref.split)
        talk(f"The quality of {ref_name(ref)} is not known as it stands now. To sort by it: {remedy}")
    panels = Panels(workspace, ref.split, ref.instance)
    if not panels.ids:
        raise UsageError(f"{ref_name(ref)} has no images that the data still holds.")
    service = ViewService(panels, measured.images if measured else (), path, ref_name(ref), user_name())
    for line in (*panels.troubles, *map(str, service.bad_marks)):
        talk(line)
    token = secrets.token_urlsafe(18)
    with listen("view", LOCAL, port) as opened:
        address = address_of(LOCAL, opened, token)
        click.echo(address)
        talk(f"{counted(len(panels.ids), 'image')} of {ref.split}. Ctrl-C ends it.")
        if open_browser:
            click.launch(address)
        serve(make_view_app(service, token, LOCAL), opened)
    talk(f"Marks lie in {path}. List them: {command_on('view', ref.instance, ref.split, '--list', 'fix')}")
