"""How far the masks of a workspace can be trusted, image by image: measured from what its stages say, and kept for who asks again."""
