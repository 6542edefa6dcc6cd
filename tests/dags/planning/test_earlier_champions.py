"""What `retrain_champion` does with a champion of an earlier version of the pipeline."""

from pathlib import Path
from typing import Any

from tasks.methods.fpn2_ws.train import Params
from tasks.steps.augment import Params as AugmentParams
from tests.dags.planning.test_retrain_champion import ROIS, fpn_champion, plan_with
from tests.dags.stored_plates import add_plate


def test_a_champion_from_before_decoders_and_averages_gets_neither_from_its_preset(tmp_path: Path) -> None:
    for name, role in (("a", "train"), ("t", "test")):
        add_plate(tmp_path, name, role)
    champion = fpn_champion()
    (training,) = champion["trainings"]
    earlier = {name: value for name, value in training.items() if name not in ("decoder", "averaging")}
    champion["trainings"] = [earlier | {"decoder_filters": 64}]
    planned = plan_with(tmp_path, champion, initial_weights=["champion", "random"], also_without_news=True)
    for candidate in planned["candidates"]:
        params = Params(rois=ROIS, **candidate["trainings"][0])
        assert (params.preset, params.decoder, params.decoder_filters) == ("laptop", "fpn", (64,))
        assert params.averaging == 0


def test_plates_are_magnified_as_they_were_for_the_champion(tmp_path: Path) -> None:
    for name, role in (("a", "train"), ("t", "test")):
        add_plate(tmp_path, name, role)

    def view_after(**augmentation: Any) -> tuple[float, float | None]:
        champion = fpn_champion()
        champion["augmentation"] = {"plates": ["ingest/a@000000000000"], "rois": 500, **augmentation}
        planned = AugmentParams(**plan_with(tmp_path, champion, also_without_news=True)["augment"])
        return planned.zoom, planned.nucleus_px

    assert view_after(zoom=1.0, nucleus_px=28) == (1, 28)
    assert view_after(zoom=2.0, nucleus_px=None) == (2, None)
