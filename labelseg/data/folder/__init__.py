"""A folder of images, with tables of tags, masks and lists of splits."""
