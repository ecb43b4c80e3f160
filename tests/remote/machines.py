"""A machine: a folder with a toy workspace of its own, behind a bucket that it shares with others."""

from __future__ import annotations

from pathlib import Path

from labelseg import RunOptions
from labelseg.pipeline.declare.store_url import parse_url
from labelseg.pipeline.remote.bucket import Bucket
from labelseg.pipeline.remote.remote import Remote
from tests.pipeline import toy

HERE = RunOptions(workers=0)


class SharedToy(toy.ToyWorkspace):
    """A toy workspace on a bucket that is given, in place of one that its URL names."""

    def __init__(self, root: Path, bucket: Bucket) -> None:
        super().__init__(root)
        self.remote = Remote(self.folder, parse_url(bucket.url, "test"), self.config.instances(), bucket)


class Machine:
    """Runs things on a workspace as a new process would.

    Args:
        root: The folder.
        bucket: What is shared.
        images: Images to train on, where the folder is new.
    """

    def __init__(self, root: Path, bucket: Bucket, images: int = 6) -> None:
        self.root, self.bucket = root, bucket
        self.folder = root / ".labelseg"
        if not root.exists():
            toy.make(root, images)

    def open(self) -> SharedToy:
        return SharedToy(self.root, self.bucket)

    def run(self, instance: str | None = None, options: RunOptions = HERE, **params) -> list[str]:
        """Run, and tell what was done."""
        return [result.action for result in self.open().run(instance, options=options, **params).results]

    def computed(self) -> list[str]:
        """What was computed since the last call."""
        return toy.computed(self.root)

    def states(self) -> set[str]:
        return {row.state for row in self.open().status()}

    def digests(self) -> dict[str, str]:
        """What stands, by content."""
        return {f"{ref.instance} {ref.split} {ref.tag}".strip(): ref.digest for ref in self.open().catalog.refs(tagged=True)}

    def masks(self) -> dict[str, list]:
        """The arrays at the end of the chain, read back."""
        found = self.open()["spread", "train"]
        return {image_id: found[image_id]["mask"].tolist() for image_id in found.ids}

    def parts(self, stage: str = "*") -> set[str]:
        """Parts that lie here."""
        return {path.stem for path in self.folder.glob(f"objects/{stage}/*/*.zarr")}
