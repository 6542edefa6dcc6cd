"""imgaug 0.4.0 on numpy 2: the only module that imports imgaug.

imgaug reads `np.sctypes`, which numpy 2 removed. These are the values that it had in numpy 1.
"""

import numpy as np

if not hasattr(np, "sctypes"):
    np.sctypes = {  # type: ignore[attr-defined]
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64],
    }

from imgaug import augmenters
from imgaug.augmentables.segmaps import SegmentationMapsOnImage

__all__ = ["SegmentationMapsOnImage", "augmenters"]
