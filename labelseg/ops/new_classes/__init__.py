"""Class-incremental learning from tags: the composed target, its losses, and PAMR."""
