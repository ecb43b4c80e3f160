"""``labelseg answers``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelseg.commands.answering.annotate import only_one
from labelseg.commands.context import Invocation, pass_invocation, talk, tell, user_name
from labelseg.commands.tables import format_table, percent
from labelseg.errors import UsageError
from labelseg.wording import counted

if TYPE_CHECKING:
    from labelseg.answers.answer_files import Answers
    from labelseg.workspace import Workspace


@click.command()
@click.argument("instance", metavar="[STAGE]", required=False)
@click.option("--split", metavar="SPLIT", help="Split whose questions are meant, where there are several.")
@click.option("--truth", is_flag=True, help="Answer all open questions by the true masks: to try things out.")
@click.option(
    "--noise", type=click.FloatRange(0, 1), default=0.0, show_default=True, metavar="P", help="Share of these answers that are wrong."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Seed of the wrong ones.")
@click.option(
    "--import",
    "table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take answers from a CSV with the columns image, y, x and class, or a Label Studio export with keypoints.",
)
@click.option(
    "--who", metavar="NAME", show_default="name of the user", help="Who gave the answers of --import, where the file does not tell."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@pass_invocation
def answers(
    invocation: Invocation,
    instance: str | None,
    split: str | None,
    truth: bool,
    noise: float,
    seed: int,
    table: Path | None,
    who: str | None,
    as_json: bool,
) -> None:
    """Show what people answered, how quick they are and how sure; or take answers from elsewhere.

    SAME is the share of pixels that got the same answer when they were asked again, without a word, RIGHT GUESSES how often
    a person agreed with what was guessed.
    """
    from labelseg.answers.answer_files import answers_path, append_answers, read_answers
    from labelseg.answers.known_answers import Unknown
    from labelseg.pages.annotation.answer_sources import table_answers, true_answers
    from labelseg.pages.annotation.asked_items import asked_in, read_questions

    if truth and table is not None:
        raise UsageError("answers: expected one of --truth and --import FILE.")
    if (noise or seed) and not truth:
        raise UsageError("answers: --noise and --seed belong to --truth.")
    workspace = invocation.workspace()
    instance = only_one(workspace, instance, "answers")
    ref = asked_in(workspace, instance, split)
    questions, path = read_questions(workspace, ref), answers_path(workspace.root, instance)
    asked = {(question.image, *point) for question in questions for point in question.points}
    unknown = Unknown(workspace.dataset, asked)
    there = read_answers(path, unknown)
    standing = there.current()
    given = []
    if truth:
        still_open = [question for question in questions if any((question.image, *point) not in standing for point in question.points)]
        given = [one for one in true_answers(workspace.dataset.at_file_size(), still_open, noise, seed) if one.point not in standing]
    elif table is not None:
        read = table_answers(table, workspace.dataset, questions, who or user_name())
        now = dict(standing)
        for one in read:  # each row is compared with those before it: of several about a pixel the last one counts
            if not _stands(one, now.get(one.point)):
                given.append(one)
                now[one.point] = one
    if truth or table is not None:
        append_answers(path, given)
        talk(f"{len(given):,} answers were added to {path}.")
        there = read_answers(path, unknown)
    for line in there.complaints():
        talk(line)
    facts = _facts(workspace, there, asked)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        tell(_tables(f"{instance} ({ref.split})", facts))


def _stands(new: Any, old: Any) -> bool:
    """Whether the same person has said the same of the same pixel."""
    return old is not None and (old.who, old.label) == (new.who, new.label)


def _facts(workspace: Workspace, there: Answers, asked: set[tuple[str, int, int]]) -> dict[str, Any]:
    """Gather what there is to tell."""
    from labelseg.answers.agreement import agreement, people

    standing = {point: answer for point, answer in there.current().items() if point in asked}
    labels = [answer.label for answer in standing.values()]
    return {
        "asked": len(asked),
        "answered": len(labels),
        "labelled": len(labels) - labels.count(None),
        "not_asked": sum(point not in asked for point in there.current()),
        "no_answers": len(there.bad),
        "classes": {name: count for name in workspace.dataset.classes if (count := labels.count(name))},
        "people": [dataclasses.asdict(person) for person in people(there)],
        "agreement": [dataclasses.asdict(pair) for pair in agreement(there)],
    }


def _tables(title: str, facts: dict[str, Any]) -> str:
    """Write the facts for a person."""
    lines = [f"{title}: {facts['answered']:,} of {facts['asked']:,} answered, {facts['labelled']:,} with a class"]
    if facts["not_asked"]:
        lines.append(f"{counted(facts['not_asked'], 'answer')} to pixels that are not asked now")
    if facts["no_answers"]:
        lines.append(f"{counted(facts['no_answers'], 'line')} of no use, told above")
    if facts["classes"]:
        lines.append(", ".join(f"{name} {count:,}" for name, count in facts["classes"].items()))
    if facts["people"]:
        rows = [
            (
                person["who"] or "-",
                f"{person['answers']:,}",
                f"{person['unknown']:,}",
                _share(person["right"], person["guessed"]),
                "" if person["seconds"] is None else f"{person['seconds']:.1f}",
                _share(person["same"], person["repeats"]),
                f"{person['flags']:,}",
            )
            for person in facts["people"]
        ]
        header = ("WHO", "ANSWERS", "CANNOT TELL", "RIGHT GUESSES", "SECONDS", "SAME", "FLAGS")
        lines += ["", format_table(header, rows, right=header[1:])]
    if facts["agreement"]:
        pairs = [(pair["first"], pair["second"], f"{pair['both']:,}", _share(pair["alike"], pair["both"])) for pair in facts["agreement"]]
        lines += ["", format_table(("WHO", "AND", "BOTH ANSWERED", "ALIKE"), pairs, right=("BOTH ANSWERED", "ALIKE"))]
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    """Write a share in percent, and of how many."""
    return f"{percent(part / whole)} of {whole:,}" if whole else ""
