"""The cartoon world: heads of simple solids with painted eyes, twice life size."""
