"""A residual network with a feature pyramid (He et al. 2016, Lin et al. 2017), in Matterport's layer names."""

from __future__ import annotations

from typing import Any, Literal

import tf_keras as keras
from tf_keras import layers

Depth = Literal[50, 101]

STAGES = ((2, 64, 3), (3, 128, 4), (4, 256, {50: 6, 101: 23}), (5, 512, 3))
"""Number in the layers' names, filters inside a block, blocks."""
EXPANSION = 4
"""A block gives so many times the filters that it has inside."""
LEVELS = (2, 3, 4, 5)


def resnet(image: Any, depth: Depth) -> list[Any]:
    """Features C2 to C5, with strides 4 to 32 px, of an image (b, y, x, 3)."""
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(64, 7, strides=2, name="conv1")(x)
    x = _normed(x, "bn_conv1")
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    features = []
    for stage, filters, blocks in STAGES:
        for block in range(blocks[depth] if isinstance(blocks, dict) else blocks):
            # The first stage comes after the pooling, so it doesn't halve the sides once more.
            strides = 2 if block == 0 and stage > LEVELS[0] else 1
            x = _block(x, filters, strides, f"{stage}{chr(ord('a') + block)}", projected=block == 0)
        features.append(x)
    return features


def merged_levels(features: list[Any], filters: int) -> dict[int, Any]:
    """From C2 to C5, each level with all that lie above it: (b, y, x, filters) by number, strides 4 to 32 px."""
    top, *others = reversed(list(zip(LEVELS, features, strict=True)))
    above = layers.Conv2D(filters, 1, name=f"fpn_c{top[0]}p{top[0]}")(top[1])
    merged = {top[0]: above}
    for level, feature in others:
        magnified = layers.UpSampling2D(2, name=f"fpn_p{level + 1}upsampled")(above)
        lateral = layers.Conv2D(filters, 1, name=f"fpn_c{level}p{level}")(feature)
        above = merged[level] = layers.Add(name=f"fpn_p{level}add")([magnified, lateral])
    return merged


def smoothed(merged: dict[int, Any], level: int, filters: int) -> Any:
    """Give a level of the pyramid, such as P2."""
    return layers.Conv2D(filters, 3, padding="same", name=f"fpn_p{level}")(merged[level])


def pyramid(features: list[Any], filters: int) -> list[Any]:
    """P2 to P6, each (b, y, x, filters), strides 4 to 64 px, from C2 to C5."""
    merged = merged_levels(features, filters)
    smooth = [smoothed(merged, level, filters) for level in LEVELS]
    return [*smooth, layers.MaxPooling2D(1, strides=2, name="fpn_p6")(smooth[-1])]


def _block(x: Any, filters: int, strides: int, name: str, projected: bool) -> Any:
    """Three convolutions beside a shortcut, which is a convolution too where shapes differ (`projected`)."""
    convolution, norm = f"res{name}_branch", f"bn{name}_branch"
    y = layers.Conv2D(filters, 1, strides=strides, name=f"{convolution}2a")(x)
    y = _normed(y, f"{norm}2a")
    y = layers.Conv2D(filters, 3, padding="same", name=f"{convolution}2b")(y)
    y = _normed(y, f"{norm}2b")
    y = layers.Conv2D(EXPANSION * filters, 1, name=f"{convolution}2c")(y)
    y = layers.BatchNormalization(name=f"{norm}2c")(y)
    if projected:
        x = layers.Conv2D(EXPANSION * filters, 1, strides=strides, name=f"{convolution}1")(x)
        x = layers.BatchNormalization(name=f"{norm}1")(x)
    return layers.Activation("relu", name=f"res{name}_out")(layers.Add(name=f"res{name}_add")([y, x]))


def _normed(x: Any, name: str) -> Any:
    return layers.Activation("relu", name=f"{name}_relu")(layers.BatchNormalization(name=name)(x))


def features_model(side_px: int, depth: Depth, pyramid_filters: int) -> Any:
    """The Keras model from an image (b, side_px, side_px, 3) to its pyramid P2 to P6."""
    image = keras.Input((side_px, side_px, 3), name="image")
    return keras.Model(image, pyramid(resnet(image, depth), pyramid_filters), name="features")
