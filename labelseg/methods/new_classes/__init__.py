"""Class-incremental learning: steps that add classes to a segmenter, from masks or from image tags."""
