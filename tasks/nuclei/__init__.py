"""A pure library of the numeric work: arrays in, arrays out."""
