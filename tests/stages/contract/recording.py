"""Stages that note what they read: of their parameters, of the data, and of other instances."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass, field, fields, replace

from labelseg.pipeline.engines.inputs import Inputs, Item, Items


@dataclass
class Reading:
    """What a stage was given and read of it: names of parameters; split -> kinds of data; roles of sources."""

    given: object = None
    result: object = None
    params: set = field(default_factory=set)
    kinds: dict = field(default_factory=lambda: defaultdict(set))
    roles: set = field(default_factory=set)


class RecordingDataset:
    """A dataset that notes which kinds of data are read of the images of which split.

    Args:
        dataset: The data.
        splits: Splits without a common image.
        reading: Where to note.
    """

    def __init__(self, dataset, splits, reading):
        self._dataset, self._reading = dataset, reading
        self._split = {image_id: split for split in splits for image_id in dataset.ids(split)}

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def image(self, image_id):
        return self._read("image", image_id)

    def tags(self, image_id):
        return self._read("tags", image_id)

    def mask(self, image_id):
        return self._read("mask", image_id)

    def at_file_size(self):
        return self

    def _read(self, kind, image_id):
        self._reading.kinds[self._split[image_id]].add(kind)
        return getattr(self._dataset, kind)(image_id)


def recording_params(params, read):
    """Parameters equal to others, which note the names of those that are read; a copy made of them notes on, and is no reading."""
    names = {declared.name for declared in fields(params)}

    class Recording(type(params)):
        def __getattribute__(self, name):
            caller = sys._getframe(1).f_code
            if name in names and caller.co_name != "__post_init__" and caller.co_filename != sys.modules["dataclasses"].__file__:
                read.add(name)
            return super().__getattribute__(name)

    return Recording(**{name: getattr(params, name) for name in names})


def recording_stages(stages, reading, splits):
    """The stages, of which each run notes what it reads."""
    return tuple(replace(stage, run=_recording_run(stage, reading, splits)) for stage in stages)


def _recording_run(stage, reading, splits):
    def run(inputs, params):
        reading.given = params
        data = RecordingDataset(inputs.dataset, splits, reading)
        work = stage.run(RecordingInputs.of(inputs, data, reading), recording_params(params, reading.params))
        reading.result = work
        return work if stage.kind == "model" else lambda item: work(RecordingItem.of(item, data, reading))

    run.__doc__ = stage.run.__doc__
    return run


class RecordingItem(Item):
    """An item that notes which sources are read of it. The truth as a source is no reading of the data: its role is read."""

    @classmethod
    def of(cls, item, dataset, reading):
        found = cls(item.id, dataset, item.store, item.reads, item.truth, item.answers, item.correction, item.attached)
        object.__setattr__(found, "reading", reading)
        return found

    def __getattribute__(self, name):
        if name == "answers" and "reading" in self.__dict__:
            self.reading.roles.add("asked")
        return super().__getattribute__(name)

    def read(self, role):
        self.reading.roles.add(role)
        return {"mask": self.dataset._dataset.mask(self.id)} if role in self.truth else super().read(role)


class RecordingItems(Items):
    """Items of that kind."""

    def __getitem__(self, index):
        found = super().__getitem__(index)
        if isinstance(index, slice):
            return RecordingItems.of(found, self.reading)
        return RecordingItem.of(found, self._dataset, self.reading)

    @classmethod
    def of(cls, items, reading):
        found = cls(items._entries, items._dataset, items._store, items._truth)
        found.reading = reading
        return found


class RecordingInputs(Inputs):
    """Inputs that note which models are read."""

    @classmethod
    def of(cls, inputs, dataset, reading):
        found = cls(**{**{f.name: getattr(inputs, f.name) for f in fields(inputs)}, "dataset": dataset})
        object.__setattr__(found, "reading", reading)
        return found

    def model(self, role):
        self.reading.roles.add(role)
        return super().model(role)

    def items(self, *split_param):
        return RecordingItems.of(super().items(*split_param), self.reading)
