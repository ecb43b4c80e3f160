"""What a machine does to a run: memory, disks and files that fail, each told in one line with the remedy."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelseg.errors import DiskFullError, LabelsegError, OutOfMemoryError, UnreachableError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
SMALLER = "smaller images (labelseg config data.long_side 512)"
MAP_MEMORY = f"Take fewer processes (--workers 1), {SMALLER}, or fewer scales where the stage has them."
GPU_MAP_MEMORY = f"Take {SMALLER}, fewer scales where the stage has them, or --device cpu."
TRAINING_MEMORY = "Take a smaller --batch-size or --crop."
GOES_ON = "What is finished stays; the same command goes on from there."
ANEW = "The same command begins anew."
# How torch, its libraries and the loader of shared libraries say it; all of them raise RuntimeError.
_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|std::bad_alloc|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED", re.I
)
_ASKED = re.compile(r"(?:unable|tried) to allocate (?:up to )?([\d.,]+ ?[A-Za-z]+)", re.I)
# How safetensors, which is no Python, hands on the number of an error of the system.
_NUMBER = re.compile(r"\b(?:os error|code:) (\d+)\b")


class _Work:
    """What this process is at."""

    is_kept = False


def keep_finished(kept: bool = True) -> None:
    """Say whether what is finished from now on serves the same command again, as items of a map and checkpoints of a training do."""
    _Work.is_kept = kept


def what_stays() -> str:
    """Tell what the same command does after this one was cut short."""
    return GOES_ON if _Work.is_kept else ANEW


def one_line(error: BaseException) -> str:
    """Tell an error in one line: what is meant for a person as it stands, others with their type before."""
    text = " ".join(str(error).split())
    if isinstance(error, LabelsegError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, that of the machine or of a GPU."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and not isinstance(error, LabelsegError) and bool(_MEMORY.search(str(error)))


def is_disk_full(error: BaseException) -> bool:
    """Whether there was no room for what was to be written: the disk, a quota or a limit of the process."""
    return isinstance(error, DiskFullError) or _number(error) in FULL


def ends_all(error: BaseException) -> bool:
    """Whether an error met while one item is computed would meet every other item as well."""
    return isinstance(error, UnreachableError) or is_disk_full(error) or _number(error) in (errno.EROFS, errno.EMFILE, errno.ENFILE)


@contextmanager
def told_in_one_line(subject: str, folder: Path, memory: str) -> Iterator[None]:
    """Raise what the machine does to the work as one line with the remedy; see ``explained``."""
    try:
        yield
    except Exception as error:
        told = explained(error, subject, folder, memory)
        if told is None or told is error:
            raise
        raise told from error


def explained(error: BaseException, subject: str, folder: Path, memory: str = "Take smaller images.") -> LabelsegError | None:
    """Turn what the machine did into one line with the remedy.

    Args:
        error: Anything that was raised.
        subject: What was worked on.
        folder: Where it is written, if the error does not say.
        memory: What helps where memory ran out.

    Returns:
        The error to tell in its place; itself if it is meant for a person already, None where it is none of the machine.
    """
    if isinstance(error, LabelsegError):
        return error
    if is_out_of_memory(error):
        return out_of_memory(error, subject, memory)
    number = _number(error)
    if number in FULL:
        return DiskFullError(_full(error, subject, folder, number or 0))
    if isinstance(error, RecursionError):
        return LabelsegError(f"{subject}: a file that it reads is nested too deeply ({one_line(error)}).")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return LabelsegError(f"{subject}: the system gives no more threads. Take fewer processes (--workers 1), or raise: ulimit -u")
    if not isinstance(error, OSError):
        return None
    if isinstance(error, FileNotFoundError | NotADirectoryError) and not folder.is_dir():
        return LabelsegError(f"{subject}: {folder} is gone since the work began. Bring it back, or begin anew with: labelseg init")
    return LabelsegError(_of_the_system(error, subject))


def out_of_memory(error: BaseException, subject: str, remedy: str) -> OutOfMemoryError:
    """Tell that memory ran out."""
    text = str(error)
    gpu = "cuda" in text.lower() or "cublas" in text.lower() or "cudnn" in text.lower()
    if gpu and remedy == MAP_MEMORY:
        remedy = GPU_MAP_MEMORY
    asked = _ASKED.search(text)
    wanted = f", {asked[1]} were asked for" if asked else ""
    return OutOfMemoryError(f"{subject}: out of memory{' of the GPU' if gpu else ''}{wanted}. {remedy}")


def _number(error: BaseException) -> int | None:
    """Number of an error of the system, also where a library hands it on in words."""
    if isinstance(error, OSError):
        return error.errno
    if type(error).__name__ == "SafetensorError" and (found := _NUMBER.search(str(error))):
        return int(found[1])
    return None


def _full(error: BaseException, subject: str, folder: Path, number: int) -> str:
    """Say where there is no room, and how to make some."""
    named = getattr(error, "filename", None)
    place = Path(os.fsdecode(named)).parent if named and not isinstance(named, int) else folder
    if number == errno.EFBIG:
        return f"{subject}: a file in {place} grew beyond the limit on file sizes. Raise it (ulimit -f unlimited). {what_stays()}"
    if number == errno.EDQUOT:
        return f"{subject}: your quota is used up in {place}. Free some space there, for one with: labelseg gc. {what_stays()}"
    return f"{subject}: no space left in {place} ({_free(place)} free). Free some, for one with: labelseg gc. {what_stays()}"


def _free(folder: Path) -> str:
    """Free space of the disk of a folder, MB."""
    there = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), Path("/"))
    try:
        return f"{shutil.disk_usage(there).free / 1e6:,.1f} MB"
    except OSError:
        return "nothing"


def _of_the_system(error: OSError, subject: str) -> str:
    """Say what the system refused, of which file."""
    named = error.filename if not isinstance(error.filename, int) else None
    what = os.fsdecode(named) if named else subject
    reason = (error.strerror or one_line(error)).rstrip(".").lower() if error.errno else one_line(error)
    remedies = {
        errno.EACCES: "Give yourself the right to it, or work as its owner.",
        errno.EPERM: "Give yourself the right to it, or work as its owner.",
        errno.EROFS: "Work in a folder that can be written to.",
        errno.ENAMETOOLONG: "Choose a shorter name, of at most 255 bytes.",
        errno.EMFILE: "Raise the number of files a process may have open: ulimit -n 4096",
        errno.ENFILE: "The whole system has too many files open: end other programs.",
        errno.EIO: "The disk or the network failed: look at the log of the system, then run the same command again.",
        errno.ESTALE: "The network file system lost it: run the same command again.",
    }
    return f"{what}: {reason}. {remedies.get(error.errno or 0, '')}".rstrip()
