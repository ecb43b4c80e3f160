"""Pure maths on arrays: class activation maps, affinities, random walks, dense CRFs, losses and metrics."""

"""The label of a pixel that takes part in nothing: no loss, no pair, no metric."""
