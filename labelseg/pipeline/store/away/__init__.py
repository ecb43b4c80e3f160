"""Parts that lie in an object store and not here."""
