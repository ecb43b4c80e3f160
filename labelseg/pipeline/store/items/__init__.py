"""The items of an artifact as its manifest names them; many of them lie in leaves, of which a reader opens those that it needs."""
