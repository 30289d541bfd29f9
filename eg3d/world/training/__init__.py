"""Training of the small networks that score generators of the embedded world."""
