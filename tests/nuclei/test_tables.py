"""Tables of nuclei."""

import numpy as np
import pandas as pd
import pytest

from tasks.nuclei.tables import doubts_about_sizes


@pytest.mark.parametrize(
    ("areas_px", "confidences", "is_doubted"),
    [
        ([400, 900], [0.9, 0.4], False),
        ([400, 30_000], [0.9, 0.9], True),
        ([400, 30_000], [np.nan, np.nan], True),
        ([400, 9_000], [0.9, 0.95], False),
        ([400, 9_000], [0.9, 0.5], True),
        ([400, 9_000], [np.nan, np.nan], False),
        ([], [], False),
    ],
)
def test_what_covers_much_of_a_field_is_doubted_and_less_if_its_confidence_is_low(areas_px, confidences, is_doubted):
    nuclei = pd.DataFrame({"area_px": np.array(areas_px, int), "confidence": np.array(confidences, float)})
    doubts = doubts_about_sizes(nuclei, 100_000)
    assert len(doubts) == is_doubted
    assert all("uneven light of an empty well" in doubt for doubt in doubts)
