"""Datasets: images, tags, masks and splits as files or as built-in scenes; reading, augmenting and exporting them."""
