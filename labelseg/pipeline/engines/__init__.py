"""What computes the items of a map: workers, and a pool of them."""
