"""``labelseg annotate``."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from labelseg.commands.context import Invocation, pass_invocation, talk, user_name
from labelseg.errors import DataError, LockedError, MissingExtraError, UsageError
from labelseg.pipeline.instances import command_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labelseg.workspace import Workspace

LOCAL = "127.0.0.1"


def only_one(workspace: Workspace, instance: str | None, command: str) -> str:
    """Return the instance that is named, or the only one that has asked something.

    Raises:
        UsageError: none is named, and there is not one.
    """
    from labelseg.pages.annotation.asked_items import asking_instances

    if instance:
        return instance
    names = asking_instances(workspace)
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageError(f"{command}: nothing has been asked here. Ask something: labelseg ask")
    raise UsageError(f"{command}: {', '.join(names)} have asked. Name one: {command_on(command, names[0])}")


@click.command()
@click.argument("instance", metavar="[STAGE]", required=False)
@click.option("--split", metavar="SPLIT", help="Split whose questions are asked, where there are several.")
@click.option("--who", metavar="NAME", show_default="name of the user", help="Who answers; it is stored with each answer.")
@click.option("--all", "everyone", is_flag=True, help="Also ask what others answered: two people then give an agreement.")
@click.option(
    "--host",
    default=LOCAL,
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; others than this machine's are for networks you trust.",
)
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535), metavar="PORT", help="Port to listen on.")
@click.option("--no-token", is_flag=True, help="Leave the random token out of the address; on this machine only.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@pass_invocation
def annotate(
    invocation: Invocation,
    instance: str | None,
    split: str | None,
    who: str | None,
    everyone: bool,
    host: str,
    port: int,
    no_token: bool,
    open_browser: bool,
) -> None:
    """Answer questions on a local web page: which class has this pixel?

    Writes its address to stdout and serves until Ctrl-C. Each answer is on the disk, in answers/, before the next question
    appears. Then: labelseg run
    """
    workspace = invocation.workspace()
    instance = only_one(workspace, instance, "annotate")
    if no_token and host not in (LOCAL, "localhost", "::1"):
        raise UsageError(f"annotate --no-token --host {host}: anybody on the network could answer. Leave out --no-token.")
    who = user_name() if who is None else who
    if not (0 < len(who) <= 64 and who.isprintable()):
        raise UsageError("annotate --who: expected a name of 1 to 64 printable letters.")
    try:
        from labelseg.pages.annotation.server import make_app
        from labelseg.pages.serving.local_server import address_of, listen, serve
    except ImportError as error:
        raise MissingExtraError("annotate needs starlette and uvicorn. Run: pip install 'labelseg[web]'") from error
    from labelseg.answers.answer_files import answers_path, read_answers
    from labelseg.answers.desk import Desk
    from labelseg.answers.known_answers import Unknown
    from labelseg.pages.annotation.asked_items import AskedMasks, asked_in, read_questions
    from labelseg.pages.annotation.page_pictures import Pictures
    from labelseg.pages.annotation.service import Service

    ref = asked_in(workspace, instance, split)
    questions = read_questions(workspace, ref)
    if not questions:
        raise DataError(f"{instance} ({ref.split}) has no questions: nothing is in doubt. Go on: labelseg run")
    path = answers_path(workspace.root, instance)
    token = "" if no_token else secrets.token_urlsafe(18)
    with _alone(path):
        unknown = Unknown(workspace.dataset, {(question.image, *point) for question in questions for point in question.points})
        for line in read_answers(path, unknown).complaints():
            talk(line)
        desk = Desk(questions, path, everyone=everyone, unknown=unknown)
        pictures = Pictures(workspace.dataset.at_file_size(), AskedMasks(workspace, ref))
        service = Service(desk, questions, pictures, workspace.dataset.classes, f"{instance} ({ref.split})", who)
        with listen("annotate", host, port) as opened:
            address = address_of(host, opened, token)
            click.echo(address)
            talk(f"{_standing(desk, who)} Answer on that page; Ctrl-C ends it.")
            if open_browser:
                click.launch(address)
            serve(make_app(service, token, host), opened)
        talk(f"{_standing(desk, who)} They lie in {path}. Go on: labelseg run")


def _standing(desk, who: str) -> str:  # type: ignore[no-untyped-def]
    """Tell how far the work is."""
    progress = desk.progress(who)
    return f"{progress['done']:,} of {progress['total']:,} are answered."


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other servers from the same questions.

    Raises:
        LockedError: there is one.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.desk"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(
            f"{path.stem} is being annotated already. Open the address which that command printed, in any browser."
        ) from error
    try:
        yield
    finally:
        lock.release()
