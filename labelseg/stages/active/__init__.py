"""Stages that carry a segmenter over to a new domain, with the answers of a person to few pixels."""
