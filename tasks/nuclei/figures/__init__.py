"""Figures: F1 curves, error rates, panels that show where the errors are; heat maps and an overview of a plate;
scores of all versions on all plates; drift; patches to annotate, and what annotating brings; previews of a plate.

All draw on a `Figure` of their own (no state of pyplot), so that threads may draw at once; save with
`figure.savefig(path)`.
"""

from tasks.nuclei.figures.drift_strips import Strip, strip_figure
from tasks.nuclei.figures.error_panels import error_panel
from tasks.nuclei.figures.error_rates import error_rate_figure
from tasks.nuclei.figures.f1_curves import F1Curve, f1_figure
from tasks.nuclei.figures.heat_maps import HeatMap, ScoreMatrix, matrix_figure, plate_heat_maps
from tasks.nuclei.figures.learning_curves import learning_curve_figure
from tasks.nuclei.figures.nucleus_examples import NucleusExample, examples_figure, window_around
from tasks.nuclei.figures.patch_pictures import patch_picture
from tasks.nuclei.figures.pictures import display_grey
from tasks.nuclei.figures.plate_overview import OverviewTile, overview_figure, overview_picture
from tasks.nuclei.figures.plate_previews import preview_picture

__all__ = [
    "F1Curve",
    "HeatMap",
    "NucleusExample",
    "OverviewTile",
    "ScoreMatrix",
    "Strip",
    "display_grey",
    "error_panel",
    "error_rate_figure",
    "examples_figure",
    "f1_figure",
    "learning_curve_figure",
    "matrix_figure",
    "overview_figure",
    "overview_picture",
    "patch_picture",
    "plate_heat_maps",
    "preview_picture",
    "strip_figure",
    "window_around",
]
