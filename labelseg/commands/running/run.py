"""``labelseg run``."""

from __future__ import annotations

from typing import Literal

import click

from labelseg.commands.carry_out import carry_out, run_options
from labelseg.commands.context import Invocation, pass_invocation
from labelseg.pipeline.run.options import RunOptions


@click.command()
@click.option("--until", metavar="STAGE", help="Stop at this stage.")
@click.option("--from", "from_", metavar="STAGE", help="Start at this stage; what comes before is used as it is.")
@click.option("--force", metavar="STAGE", multiple=True, help="Compute this stage again even if it is fresh; may be given several times.")
@run_options
@pass_invocation
def run(
    invocation: Invocation,
    until: str | None,
    from_: str | None,
    force: tuple[str, ...],
    retrain: bool,
    dry_run: bool,
    probe: bool,
    keep_going: bool,
    device: str,
    workers: int | None,
    engine: Literal["local", "dask"],
    scheduler: str | None,
) -> None:
    """Bring the target of labelseg.toml and everything it reads up to date.

    Only what is missing or changed is computed: `labelseg run --dry-run` shows what that is, and why.
    """
    options = RunOptions(
        until=until,
        from_=from_,
        force=frozenset(force),
        retrain=retrain,
        dry_run=dry_run,
        keep_going=keep_going,
        device=device,
        workers=workers,
        engine=engine,
        scheduler=scheduler,
    )
    carry_out(invocation, None, None, {}, options, probe=probe)
