"""``labelseg report``."""

from __future__ import annotations

from pathlib import Path

import click

from labelseg.commands.context import Invocation, pass_invocation, talk
from labelseg.commands.tables import bytes_text
from labelseg.wording import counted


@click.command()
@click.argument("instance", metavar="[STAGE]", required=False)
@click.option("--split", metavar="SPLIT", help="Split whose images are shown.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="report.html", show_default=True, metavar="FILE",
    help="File to write.",
)  # fmt: skip
@click.option("--images", type=click.IntRange(0, 500), default=50, show_default=True, metavar="N", help="Images to show at most.")
@pass_invocation
def report(invocation: Invocation, instance: str | None, split: str | None, output: Path, images: int) -> None:
    """Write one HTML file of a workspace: what ran, scores, curves, and the images that deserve a look with what every stage made of them.

    The file holds everything it shows and asks for nothing from outside. Images are the worst by quality, confidence, agreement of
    stages and true IoU in turns; quality is that of the last masks of the chain, or of STAGE.
    """
    from labelseg.pages.report.collecting import collect
    from labelseg.pages.report.report_page import report_page
    from labelseg.pipeline.files.atomic import write_atomically

    workspace = invocation.workspace()
    facts = collect(workspace, split=split, instance=instance or "", images=images)
    workspace.index.save()
    page = report_page(facts).encode("utf-8", "replace")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, page)
    talk(f"Wrote {output}: {counted(len(facts.gallery), 'image')}, {bytes_text(len(page))}. Open it in a browser.")
    for line in facts.troubles:
        talk(line)
