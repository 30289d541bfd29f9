"""The world of people: heads from MakeHuman's CC0 data, whose every number is known."""
