"""Options that name data: folders, files, shares and scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from labelseg.pipeline.declare.store_url import SCHEME, parse_url

SCENES_TRAIN = 200


def folder_option(help: str) -> dict[str, Any]:
    """Declare an option that names a folder."""
    return {"type": click.Path(exists=True, file_okay=False, path_type=Path), "metavar": "DIR", "help": help}


def path_option(metavar: str, help: str) -> dict[str, Any]:
    """Declare an option that names a folder or a file."""
    return {"type": click.Path(exists=True, path_type=Path), "metavar": metavar, "help": help}


class PathOrUrl(click.Path):
    """A path that is there, or the URL of images in an object store."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.startswith(SCHEME):
            return str(parse_url(value, "--images"))
        return super().convert(value, param, ctx)


class FileOrNone(click.Path):
    """A file that is there, or the word ``none``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "none" else super().convert(value, param, ctx)


def file_option(help: str) -> dict[str, Any]:
    """Declare an option that names a file."""
    return {"type": click.Path(exists=True, dir_okay=False, path_type=Path), "metavar": "FILE", "help": help}


def ending_option(whose: str) -> dict[str, Any]:
    """Declare an option that gives what names end in."""
    return {"metavar": "ENDING", "help": f"What names of {whose} end in before the extension, where an image and its mask differ in that."}


def share_option(help: str) -> dict[str, Any]:
    """Declare an option that gives a share between 0 and 1."""
    return {"type": click.FloatRange(0, 1, min_open=True, max_open=True), "metavar": "SHARE", "help": help}


def scenes_option(what: str) -> dict[str, Any]:
    """Declare an option for built-in scenes, whose number may be left out."""
    told = f"{what}: N to train on ({SCENES_TRAIN}) and half as many to evaluate on."
    return {"type": click.IntRange(min=1), "is_flag": False, "flag_value": SCENES_TRAIN, "metavar": "[N]", "help": told}
