"""What the formats of other tools say masks in: connected regions, polygons, run lengths."""
