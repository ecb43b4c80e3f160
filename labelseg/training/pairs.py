"""Samples of two images at once, for trainings that learn from two lists of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator
from numpy.typing import NDArray

from labelseg.pipeline.engines.inputs import Item
from labelseg.training.samples import Samples

Sample = dict[str, NDArray[Any]]
MakeSample = Callable[[Item, Generator], Sample]


@dataclass(frozen=True)
class PairedSamples:
    """An image of each of two lists a sample, such as a labelled and an unlabelled one.

    An epoch passes once over the longer list and repeats the other.

    Each list has its own fixed partner places, so that within an epoch every image of the shorter list comes equally often, give or
    take one. An image that cannot be read is replaced by the next one that can.

    Attributes:
        labelled, unlabelled: The images.
        make_labelled, make_unlabelled: Make the parts of a sample; their names differ. Without the second one unlabelled images only
            tell how long an epoch is.
    """

    labelled: Sequence[Item]
    unlabelled: Sequence[Item]
    make_labelled: MakeSample
    make_unlabelled: MakeSample | None

    def __len__(self) -> int:
        return max(len(self.labelled), len(self.unlabelled))

    def sample(self, index: int, rng: Generator) -> Sample:
        """Make both parts at a place of the epoch."""
        sample: Sample = Samples(self.labelled, self.make_labelled).sample(index % len(self.labelled), rng)  # type: ignore[arg-type,assignment]
        if self.make_unlabelled is not None:
            sample |= Samples(self.unlabelled, self.make_unlabelled).sample(index % len(self.unlabelled), rng)  # type: ignore[arg-type,operator]
        return sample
