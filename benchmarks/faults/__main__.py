"""Run the campaign: ``python -m benchmarks.faults [--short] [--only KIND] [--seed N]``; a table, and JSON under ``benchmarks/results``."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from pkgutil import walk_packages

import labelseg
from benchmarks.faults.ground.places import Places
from benchmarks.faults.kinds.corruptions import Corruptions
from benchmarks.faults.kinds.hostile import Hostile
from benchmarks.faults.kinds.hostilities import all_hostilities
from benchmarks.faults.kinds.kills import SCENARIOS, TOYS, Kills
from benchmarks.faults.kinds.races import Races
from benchmarks.faults.outcomes import BAD, Trial, table, text
from benchmarks.recording import origin

RESULT = Path(__file__).parent.parent / "results" / "faults.json"
LONG = {"kills": 1_000, "races": 200, "full disks": 300, "corruptions": 500, "hostile folders": len(all_hostilities())}
SHORT = {"kills": 3, "races": 1, "full disks": 1, "corruptions": 2, "hostile folders": 3}
SHORT_STEP = 400  # of the hostile folders every so many in the short form
Try = Callable[[int, random.Random], Trial]


def kinds(places: Places, words: Collection[str], *, short: bool) -> dict[str, Try]:
    """What is tried, by kind; of commands that are killed only some, where these are named."""
    kills = Kills(places, [s for s in (TOYS if short else SCENARIOS) if not words or s.words[0] in words])
    return {
        "kills": kills.kill,
        "races": Races(places).race,
        "full disks": kills.fill,
        "corruptions": Corruptions(places).corrupt,
        "hostile folders": Hostile(places, SHORT_STEP if short else 1).meet,
    }


def load() -> None:
    """Load once what every forked process uses: a process that loads modules of its own takes longer for that than for its trial."""
    for found in walk_packages(labelseg.__path__, "labelseg."):
        if not found.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(found.name)
    for name in ("torch", "zarr", "PIL.Image", "safetensors.torch", "safetensors.numpy", "click.testing"):
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # forked processes look at their own objects only, and so copy little memory


def campaign(base: Path, seed: int, counts: dict[str, int], stop: float, words: Collection[str], *, short: bool) -> list[Trial]:
    """Try what was not tried yet, all kinds in proportion, until a time; every trial is written down as it ends."""
    journal = base / f"trials-{seed}.jsonl"
    lines = journal.read_text().splitlines() if journal.exists() else []
    found = {(trial.kind, trial.number): trial for trial in (Trial(**json.loads(line)) for line in lines)}
    tries = kinds(Places(base), words, short=short)
    wanted = sorted((number / count, kind, number) for kind, count in counts.items() for number in range(count))
    for _, kind, number in wanted:
        if (kind, number) in found:
            continue
        if time.monotonic() > stop:
            break
        trial = tries[kind](number, random.Random(f"{seed} {kind} {number}"))
        found[kind, number] = trial
        with journal.open("a") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
        if trial.outcome in BAD:
            print(f"{kind} {number}: {trial.outcome.upper()} {trial.what}: {trial.told}", flush=True)
    return [found[kind, number] for kind, count in counts.items() for number in range(count) if (kind, number) in found]


def main() -> None:
    """Run what was asked for and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few trials of each kind; the results are printed, not written")
    parser.add_argument("--only", metavar="KIND", choices=list(LONG), help="one kind of fault alone")
    parser.add_argument("--count", type=int, help="how many trials of a kind")
    parser.add_argument("--commands", nargs="+", default=(), metavar="COMMAND", help="kill these commands alone")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this time; with --folder the same command goes on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work and to go on from; a temporary one by default")
    parser.add_argument("--json", type=Path, help="file for the trials of a short form")
    parser.add_argument("--record", type=Path, metavar="FILE", help=f"file for the table; {RESULT.name} for the whole campaign")
    options = parser.parse_args()
    load()
    counts = dict(SHORT if options.short else LONG)
    if options.only:
        counts = {options.only: counts[options.only]}
    if options.count:
        counts = dict.fromkeys(counts, options.count)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labelseg-faults-") as temporary:
        base = options.folder or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        trials = campaign(base, options.seed, counts, started + 60 * options.minutes, options.commands, short=options.short)
    print(text(table(trials)))
    print(f"{time.monotonic() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=1))
    result = options.record or (RESULT if not (options.short or options.only or options.count or options.commands) else None)
    if result is not None:
        bad = [asdict(trial) for trial in trials if trial.outcome in BAD]
        own = [word for word in sys.argv[1:] if not word.startswith(("/", "benchmarks/")) and word not in ("--folder", "--record")]
        record = {
            **origin(shlex.join(["python", "-m", "benchmarks.faults", *own])),
            "seed": options.seed,
            "kinds": table(trials),
            "found": bad,
        }
        result.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
