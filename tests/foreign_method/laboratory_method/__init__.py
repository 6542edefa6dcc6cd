"""A method of a laboratory's own: every pixel is classified by its brightness at several scales."""
