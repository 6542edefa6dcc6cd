"""Label images that are resized stay on their image."""

import cv2
import numpy as np
import pytest

from tasks.nuclei.resizing import labels_resized
from tests.many_disks import apart_px, disks


@pytest.mark.parametrize("shape", [(150, 223), (250, 371), (400, 600), (517, 771), (920, 1380)])
def test_labels_lie_on_their_image_at_any_size(shape):
    labels = disks((400, 600))
    image = cv2.resize((labels > 0).astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    resized = labels_resized(labels, shape)
    assert resized.shape == shape
    assert resized.dtype == np.int32
    assert set(np.unique(resized)) == set(np.unique(labels))
    assert apart_px(resized, image) < 0.1


def test_labels_of_the_asked_size_are_as_they_were():
    labels = disks((80, 120))
    np.testing.assert_array_equal(labels_resized(labels, (80, 120)), labels)
