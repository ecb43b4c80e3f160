"""The images of a split as a gallery shows them: what each stage made of an image, in pictures, and what was measured of it."""
