"""Jacobkie: a network that says of each pixel where in its nucleus it lies. Second of the 2018 Data Science Bowl.

The paper uses it as the pretrained model, without training. What is known of it is from its
author's description (github.com/jacobkie/2018DSB) and from the names of its weights; how nuclei are made of what it
says is our own.

The network is a U-Net whose body was replaced by the feature extractor of Mask R-CNN: a residual network of 101 layers
with a feature pyramid, of which the level P2 is used. P2 has a quarter of the resolution of what the network sees, so
the image is magnified fourfold first (`network.py`). On it stand nine maps: how likely a pixel is in a nucleus, and
eight positions, each from -1 to 1. Four are relative to the whole nucleus: from its top to its bottom, from its left to
its right, and along both diagonals. Four more are relative to the pixels of the nucleus that lie in one line with this
one, in the same four directions. A second branch predicts the first four positions from features of its own; where it
sees a border, errors count more (`positions.py`).

Within a nucleus, positions rise along their directions. From one nucleus to the next they fall, however closely the
two touch: there lie the seams. Far from the ends of all its lines, a pixel is in the core of a nucleus. Connected
pieces of core without a seam are where a watershed starts. A field is looked at in several zooms, since the network
knows nuclei of some sizes only; of nuclei that overlap, those stay whose pixels' predicted positions agree best with
the outline that was found (`nuclei.py`).
"""
