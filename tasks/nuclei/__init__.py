"""The method as a pure library: arrays in, arrays out."""
