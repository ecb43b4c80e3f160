"""Files of masks, written and read."""
