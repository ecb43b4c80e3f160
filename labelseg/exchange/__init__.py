"""Masks in the formats of other tools: written to be taken away, read to be brought back."""

WRITTEN = ("coco", "coco-semantic", "yolo-seg", "cvat", "label-studio", "mmseg", "fiftyone", "huggingface")
READ = ("png", "cvat", "cvat-images", "coco", "label-studio")
