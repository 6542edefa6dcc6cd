"""The tables and figures of a matrix of experiments, from scores in the store."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tifffile

from tasks.contract import Result, execute
from tasks.nuclei import shared_proposals
from tasks.nuclei.errors import InputError
from tasks.nuclei.own_proposals import MARK, MEANING
from tasks.nuclei.plates.origins import COLUMNS as COLUMNS_OF_ORIGINS
from tasks.nuclei.plates.origins import write_origins
from tasks.nuclei.tables import read_csv, write_csv
from tasks.steps import score
from tasks.steps.experiments.data import read_data
from tasks.steps.experiments.panels import read_panels
from tasks.steps.experiments.tables import Column, mean_of, table_of
from tasks.steps.tabulate import TASK, Params, draw, read_spec
from tests.stored_results import add_plate, add_segmentation, count_own, image, store_result

# Three nuclei of 5 px, of which predictions find all, two, or one.
TRUTH = [1] * 5 + [0] + [2] * 5 + [0] + [3] * 5
FOUND = {3: TRUTH, 2: [1] * 5 + [0] + [2] * 5 + [0] * 6, 1: [1] * 5 + [0] * 12}
F1 = {3: 1.0, 2: 0.8, 1: 0.5}
KEY = "0123456789abcdef"
COLUMNS = {"model": "Model", "aug": "Augmentation"}


def plate(store: Path, name: str, cell_line: str) -> str:
    path = add_plate(store, name, cell_line, {"f1": TRUTH})
    info = json.loads((store / path / "plate.json").read_text())
    (store / path / "plate.json").write_text(json.dumps(info | {"annotation": "semi-automatic"}))
    return path


def scored(store: Path, plates: list[str], found: int, name: str, own: int = 0) -> str:
    """Score a model that finds so many nuclei of each plate, and proposed so many labels of the first plate itself."""
    paths = [add_segmentation(store, path, {"f1": FOUND[found]}, f"{name}-{Path(path).name[:4]}") for path in plates]
    count_own(store, paths[0], own)
    return execute(score.TASK, score.Params(segmentations=paths), store).outputs["scores"]


def experiment(scores: str, model: str, aug: str = "Full", replicate: int = 1, **more: Any) -> dict[str, Any]:
    words = {"model": model, "aug": aug}
    named = {"name": f"{model} {aug} {replicate}", "words": words, "replicate": replicate, "key": KEY}
    return {**named, "scores": scores, **more}


@pytest.fixture
def plates(tmp_path: Path) -> list[str]:
    return [plate(tmp_path, "mcf-a", "MCF10A"), plate(tmp_path, "u2os-a", "U2OS")]


TABLE = {
    "name": "Table 8",
    "rows": [["FPN2-WS", "Full", "1"], ["MRCNN", "Full", "1"]],
    "by": ["model"],
    "at": [0.7, 0.9],
}
DRAWN = TABLE | {"figures": {"Fig. 5A": "panels", "Fig. 5B": "curves", "Fig. S3": "errors", "Fig. 3A": "dots"}}


def tabulated(store: Path, plates: list[str], experiments: list[Any], *tables: Any, **more: Any) -> Result:
    content = {"title": "Ours", "columns": COLUMNS, "tables": tables, "experiments": experiments, "plates": plates}
    return execute(TASK, Params.model_validate(content | more), store)


def two_models(store: Path, plates: list[str]) -> list[dict[str, Any]]:
    return [
        experiment(scored(store, plates, 2, "mrcnn"), "MRCNN", missing_weights="no mask_rcnn_coco.h5"),
        experiment(scored(store, plates, 3, "fpn"), "FPN2-WS"),
    ]


def test_a_table_has_a_row_for_each_model_in_the_matrix_s_order_with_the_best_of_each_column_marked(
    tmp_path: Path, plates: list[str]
) -> None:
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), TABLE)
    table = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_8.csv")
    at_07 = table[(table["iou_threshold"] == 0.7) & (table["cell_line"] == "MCF10A")]
    assert at_07[["Model", "f1", "is_best"]].to_numpy().tolist() == [["FPN2-WS", 1.0, True], ["MRCNN", 0.8, False]]
    assert at_07["without_weights"].fillna("").tolist() == ["", "no mask_rcnn_coco.h5"]


def test_the_page_has_every_table_and_figure_and_marks_rows_without_their_pretrained_weights(
    tmp_path: Path, plates: list[str]
) -> None:
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), DRAWN, {"name": "Table S1", "kind": "plates"})
    page = (tmp_path / result.outputs["page"]).read_text()
    assert "<b>1.000</b>" in page
    assert '<span title="no mask_rcnn_coco.h5">‡</span>' in page
    assert page.count("data:image/png") == 8
    names = {path.name for path in (tmp_path / result.outputs["figures"]).iterdir()}
    drawn = ["Fig._5A", "Fig._5B", "Fig._3A", "F1_and_CPU_hours", *(f"Fig._S3{letter}" for letter in "ABCD")]
    assert names == {f"{name}.{ending}" for name in drawn for ending in ("svg", "png")}
    images = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_S1.csv")
    assert images[["cell_line", "nuclei", "area_mean_px"]].to_numpy().tolist() == [["MCF10A", 3, 5.0], ["U2OS", 3, 5.0]]


def test_published_values_stand_beside_and_a_difference_only_where_the_plates_are_the_paper_s(
    tmp_path: Path,
) -> None:
    plates = [plate(tmp_path, "MCF10A_Biological", "MCF10A"), plate(tmp_path, "u2os", "U2OS")]
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), TABLE, published="paper")
    table = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_8.csv")
    fpn = table[(table["Model"] == "FPN2-WS") & (table["iou_threshold"] == 0.7)].set_index("cell_line")
    assert fpn["published"].to_dict() == {"MCF10A": 0.984141, "U2OS": 0.974722}
    assert fpn["difference"].isna().to_dict() == {"MCF10A": False, "U2OS": True}
    assert fpn.loc["MCF10A", "difference"] == pytest.approx(1 - 0.984141)


@pytest.mark.parametrize(("trained_on", "compared"), [("MCF10A_Original", True), ("mcf-train", False)])
def test_a_difference_to_the_paper_is_shown_with_the_scale_of_what_was_trained_on_its_plates(
    tmp_path: Path, trained_on: str, compared: bool
) -> None:
    test, train = plate(tmp_path, "MCF10A_Biological", "MCF10A"), plate(tmp_path, trained_on, "MCF10A")
    scores = scored(tmp_path, [test], 3, "fpn")
    train_network(tmp_path, [train])
    shown = {"published": "paper", "scale": 0.05}
    table = TABLE | {"figures": {"Fig. S3": "errors"}}
    result = tabulated(tmp_path, [test, train], [experiment(scores, "FPN2-WS")], table, **shown)
    frame = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_8.csv")
    assert frame["scale"].tolist() == [0.05, 0.05]
    assert frame["difference"].notna().tolist() == [compared] * 2
    page = (tmp_path / result.outputs["page"]).read_text()
    assert ("paper 0.984, +0.016 at scale 0.05" in page) == compared
    # The paper's FPN2-WS misses 21 of 1,349 nuclei.
    assert ("paper 1.6, -1.6 at scale 0.05" in page) == compared
    errors = pd.read_csv(tmp_path / result.outputs["tables"] / "Fig._S3.csv").set_index("error")
    assert errors["difference"].notna().tolist() == [compared] * 4


def train_network(store: Path, plates: list[str]) -> Path:
    """Let all segmentations come from a network that was trained on these plates; gives its result."""
    store_result(store, f"augment/{KEY}", {"plates": plates})
    store_result(store, f"train_fpn2_ws/{KEY}", {"rois": f"augment/{KEY}/rois.h5", "initialisation": "random"})
    for path in (store / "segment").glob("*/result.json"):
        stored = json.loads(path.read_text())
        path.write_text(json.dumps(stored | {"params": stored["params"] | {"networks": [f"train_fpn2_ws/{KEY}"]}}))
    return store / f"train_fpn2_ws/{KEY}/result.json"


def test_what_networks_learnt_from_is_unknown_of_data_of_before_it_was_kept(tmp_path: Path) -> None:
    path = plate(tmp_path, "MCF10A_Biological", "MCF10A")
    result = tabulated(tmp_path, [path], two_models(tmp_path, [path]), TABLE, published="paper")
    kept = tmp_path / result.outputs["data"] / "scores.csv"
    write_csv(read_csv(kept).drop(columns=["trained_on", "f1_low", "f1_high"]), kept)
    (row, _) = table_of(TABLE, read_data(kept.parent), COLUMNS, "paper").rows
    assert [cell.difference for cell in row.cells.values()] == [None, None]


def test_the_paper_s_intervals_of_replicates_stand_beside(tmp_path: Path) -> None:
    path = plate(tmp_path, "MCF10A_Biological", "MCF10A")
    scores = scored(tmp_path, [path], 3, "fpn")
    words = {"model": "FPN2-WS", "aug": "Full", "initialization": "Random"}
    rows = [[*words.values(), "1"]]
    table = {"name": "Table 7", "kind": "replicates", "rows": rows, "by": [*words]}
    ran = experiment(scores, "FPN2-WS") | {"words": words}
    columns = COLUMNS | {"initialization": "Initialization"}
    result = tabulated(tmp_path, [path], [ran], table, published="paper", columns=columns)
    row = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_7.csv").iloc[0]
    assert row[["published", "published_low", "published_high"]].tolist() == [0.977516, 0.967362, 0.987670]
    assert "paper 0.978 (0.967\N{EN DASH}0.988), +0.022" in (tmp_path / result.outputs["page"]).read_text()


def test_the_paper_s_images_stand_beside_a_row_for_each_label_set_sized_by_all_fields(tmp_path: Path) -> None:
    path = plate(tmp_path, "U2OS_Technical", "U2OS")
    (tmp_path / path / "label_sets/manual").mkdir(parents=True)
    tifffile.imwrite(tmp_path / path / "label_sets/manual/f1.tif", image(FOUND[2]))
    tifffile.imwrite(tmp_path / path / "images/f2.tif", image([0] * 20))
    other = plate(tmp_path, "mine", "U2OS")
    experiments = [experiment(scored(tmp_path, [other], 3, "fpn"), "FPN2-WS")]
    images = {"name": "Table S1", "kind": "plates"}
    result = tabulated(tmp_path, [path, other], experiments, TABLE, images, published="paper")
    table = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_S1.csv").set_index(["plate", "annotation"])
    of_paper = table.loc["U2OS_Technical"]
    assert of_paper["nuclei"].to_dict() == {"Manual": 2, "Semi-Automated": 3}
    assert of_paper["published_nuclei"].to_dict() == {"Manual": 518, "Semi-Automated": 529}
    assert of_paper["nuclei_difference"].to_dict() == {"Manual": 2 - 518, "Semi-Automated": 3 - 529}
    assert set(of_paper["size"]) == {"1 x 17, 1 x 20"}
    assert table.loc[["mine"]]["nuclei_difference"].isna().all()
    page = (tmp_path / result.outputs["page"]).read_text()
    assert "paper 2158 x 2558</span>" in page
    assert "paper 518, -516.0</span>" in page


def test_published_values_stand_beside_each_kind_of_labels_and_of_images(tmp_path: Path) -> None:
    test, train = plate(tmp_path, "MCF10A_Biological", "MCF10A"), plate(tmp_path, "MCF10A_Original", "MCF10A")
    (tmp_path / test / "label_sets/manual").mkdir(parents=True)
    tifffile.imwrite(tmp_path / test / "label_sets/manual/f1.tif", image(FOUND[2]))
    scores = [scored(tmp_path, [path], 3, Path(path).name[7:11]) for path in (test, train)]
    experiments = [experiment(scores[0], "FPN2-WS", training_scores=scores[1])]
    tables = [
        TABLE | {"name": name, "kind": kind} for name, kind in (("Table S3", "annotations"), ("Table S4", "training"))
    ]
    result = tabulated(tmp_path, [test, train], experiments, *tables, published="paper")
    published = {
        "S3": {"Manual": 0.986350, "Semi-Automated": 0.984141},
        "S4": {"Testing": 0.984141, "Training": 0.999490},
    }
    for name, values in published.items():
        table = pd.read_csv(tmp_path / result.outputs["tables"] / f"Table_{name}.csv")
        at_07 = table[table["iou_threshold"] == 0.7].set_index("variant")
        assert at_07["published"].to_dict() == values
        assert (at_07["difference"] - (at_07["f1"] - at_07["published"])).abs().max() < 1e-9


def test_errors_are_given_in_percent_of_the_true_nuclei_beside_the_paper_s(tmp_path: Path) -> None:
    plates = [plate(tmp_path, "u2os", "U2OS")]
    table = TABLE | {"figures": {"Fig. S3": "errors"}}
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), table, published="paper")
    errors = pd.read_csv(tmp_path / result.outputs["tables"] / "Fig._S3.csv")
    missed = errors[(errors["row"] == "MRCNN") & (errors["error"] == "false_negatives")].iloc[0]
    assert missed["percent"] == pytest.approx(100 / 3)
    assert missed["published_percent"] == pytest.approx(100 * 10 / 518)


def test_replicates_are_shown_with_their_mean_and_its_interval(tmp_path: Path, plates: list[str]) -> None:
    experiments = [
        experiment(scored(tmp_path, plates, found, f"r{found}"), "MRCNN", replicate=number)
        for number, found in enumerate(F1, start=1)
    ]
    rows = [["MRCNN", "Full", str(number)] for number in (1, 2, 3)]
    table = {"name": "T", "kind": "replicates", "rows": rows, "by": ["model", "aug"], "figures": {"F": "replicates"}}
    result = tabulated(tmp_path, plates, experiments, table)
    row = pd.read_csv(tmp_path / result.outputs["tables"] / "T.csv").iloc[0]
    # Student's t with two degrees of freedom is 4.303, the standard deviation of 1, 0.8 and 0.5 is 0.2517.
    assert row["f1"] == pytest.approx(2.3 / 3)
    assert row["high"] - row["f1"] == pytest.approx(4.303 * 0.2517 / 3**0.5, rel=1e-3)
    assert row["replicates"] == 3


def test_of_replicates_the_first_counts_elsewhere_and_one_alone_has_no_interval() -> None:
    assert mean_of([0.5])[0] == 0.5
    assert pd.isna(mean_of([0.5]).low)


def test_label_sets_of_a_plate_are_compared_and_elsewhere_the_labels_that_count_are(tmp_path: Path) -> None:
    path = plate(tmp_path, "semi", "U2OS")
    (tmp_path / path / "label_sets/manual").mkdir(parents=True)
    tifffile.imwrite(tmp_path / path / "label_sets/manual/f1.tif", image([0] * 6 + TRUTH[6:]))
    experiments = [experiment(scored(tmp_path, [path], 3, "fpn"), "FPN2-WS")]
    drawn = {"Fig. S1A": "panels", "Fig. S1B": "curves", "Fig. S2A": "agreement"}
    compared = TABLE | {"kind": "annotations", "figures": drawn}
    result = tabulated(tmp_path, [path], experiments, compared, TABLE | {"name": "T"})
    tables = tmp_path / result.outputs["tables"]
    both = pd.read_csv(tables / "Table_8.csv")
    at_07 = both[both["iou_threshold"] == 0.7].set_index("variant")["f1"]
    assert at_07.to_dict() == pytest.approx({"Manual": 0.8, "Semi-Automated": 1.0})
    assert pd.read_csv(tables / "T.csv")["f1"].tolist() == [1.0, 1.0]
    agreement = pd.read_csv(tmp_path / result.outputs["data"] / "agreement.csv").set_index("iou_threshold")
    assert agreement["f1"].to_dict()[0.7] == pytest.approx(0.8)
    assert (tmp_path / result.outputs["figures"] / "Fig._S2A.png").exists()
    counting, manual = read_panels(tmp_path / result.outputs["data"])
    assert (counting.labels, manual.labels, manual.is_counting) == ("Semi-Automated", "Manual", False)
    # The first nucleus, which nobody drew by hand, differs from the manual labels alone.
    (of_counting,), (of_manual,) = (field.predicted.values() for field in (counting, manual))
    assert not of_counting.errors.differing.any()
    assert of_manual.errors.differing.any()
    assert (tmp_path / result.outputs["figures"] / "Fig._S1A.svg").exists()


def test_panels_mark_models_without_their_pretrained_weights(tmp_path: Path, plates: list[str]) -> None:
    table = TABLE | {"figures": {"Fig. 5A": "panels"}}
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), table)
    assert "MRCNN ‡" in (tmp_path / result.outputs["figures"] / "Fig._5A.svg").read_text()
    panels = read_panels(tmp_path / result.outputs["data"])
    assert [(field.cell_line, set(field.predicted)) for field in panels] == [
        (line, {"MRCNN Full 1", "FPN2-WS Full 1"}) for line in ("MCF10A", "U2OS")
    ]


def test_f1_against_labels_that_a_model_proposed_itself_is_marked_in_tables_figures_findings_and_costs(
    tmp_path: Path, plates: list[str]
) -> None:
    experiments = [
        experiment(scored(tmp_path, plates, 2, "mrcnn"), "MRCNN"),
        experiment(scored(tmp_path, plates, 3, "fpn", own=2), "FPN2-WS"),
    ]
    pair = {"of": ["FPN2-WS", "Full"], "against": ["MRCNN", "Full"]}
    finding = {"paper": "It is better.", "table": "Table 8", "expected": "more", **pair}
    result = tabulated(tmp_path, plates, experiments, DRAWN, findings=[finding])
    table = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_8.csv")
    at_07 = table[table["iou_threshold"] == 0.7].set_index(["Model", "cell_line"])["own_proposals"]
    assert at_07.to_dict() == {
        **{("FPN2-WS", "MCF10A"): 2, ("FPN2-WS", "U2OS"): 0},
        **{("MRCNN", "MCF10A"): 0, ("MRCNN", "U2OS"): 0},
    }
    page = (tmp_path / result.outputs["page"]).read_text()
    assert page.count(f"{MARK} {MEANING}.") == 1
    # Two thresholds in the table, the cell line's finding, and the cost.
    assert [page.count(f"{text} {MARK}</td>") for text in ("<b>1.000</b>", "+0.200", ">1.000")] == [2, 1, 1]
    figures = tmp_path / result.outputs["figures"]
    noted = {path.stem for path in figures.glob("*.svg") if MEANING in path.read_text()}
    assert noted == {"Fig._3A", "Fig._5B", "F1_and_CPU_hours"}


def test_without_such_labels_nothing_is_said_of_them(tmp_path: Path, plates: list[str]) -> None:
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), DRAWN)
    assert MARK not in (tmp_path / result.outputs["page"]).read_text()
    assert not any(MEANING in path.read_text() for path in (tmp_path / result.outputs["figures"]).glob("*.svg"))


def test_only_f1_against_the_label_set_that_a_model_proposed_is_marked(tmp_path: Path) -> None:
    path = plate(tmp_path, "semi", "U2OS")
    (tmp_path / path / "label_sets/manual").mkdir(parents=True)
    tifffile.imwrite(tmp_path / path / "label_sets/manual/f1.tif", image(TRUTH))
    row = ("f1", 1, "accepted", "version 1", "fpn2_ws:")
    write_origins(pd.DataFrame([row], columns=list(COLUMNS_OF_ORIGINS)), tmp_path / path / "label_sets/manual")
    experiments = [experiment(scored(tmp_path, [path], 3, "fpn"), "FPN2-WS")]
    result = tabulated(tmp_path, [path], experiments, TABLE | {"kind": "annotations", "figures": {}})
    table = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_8.csv")
    own = table[table["iou_threshold"] == 0.7].set_index("variant")["own_proposals"]
    assert own.to_dict() == {"Manual": 1, "Semi-Automated": 0}


@pytest.mark.parametrize("proposer", ["fpn2_ws:", "classical:"])
def test_the_agreement_of_label_sets_that_correct_the_same_proposals_is_marked(proposer: str, tmp_path: Path) -> None:
    path = plate(tmp_path, "semi", "U2OS")
    (tmp_path / path / "label_sets/ben").mkdir(parents=True)
    tifffile.imwrite(tmp_path / path / "label_sets/ben/f1.tif", image(TRUTH))
    for folder, proposed_by in ((path, "fpn2_ws:"), (f"{path}/label_sets/ben", proposer)):
        row = ("f1", 1, "accepted", "a model", proposed_by)
        write_origins(pd.DataFrame([row], columns=list(COLUMNS_OF_ORIGINS)), tmp_path / folder)
    table = TABLE | {"kind": "annotations", "figures": {"Fig. S2A": "agreement"}}
    result = tabulated(tmp_path, [path], [experiment(scored(tmp_path, [path], 3, "fpn"), "FPN2-WS")], table)
    figure = (tmp_path / result.outputs["figures"] / "Fig._S2A.svg").read_text()
    page = (tmp_path / result.outputs["page"]).read_text()
    note = f"{shared_proposals.MARK} {shared_proposals.MEANING}."
    assert (note in figure) == (note in page) == (proposer == "fpn2_ws:")


def test_data_of_before_these_were_counted_are_drawn_without_a_mark(tmp_path: Path, plates: list[str]) -> None:
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), TABLE)
    for name in ("scores", "costs"):
        path = tmp_path / result.outputs["data"] / f"{name}.csv"
        write_csv(read_csv(path, dtype=str).drop(columns="own_proposals"), path)
    path = tmp_path / result.outputs["data"] / "agreement.csv"
    write_csv(read_csv(path, dtype=str).drop(columns="shared_proposals"), path)
    data = read_data(tmp_path / result.outputs["data"])
    assert not table_of(TABLE, data, COLUMNS, None).is_flattered
    assert not data.agreement["shared_proposals"].any()


def test_training_plates_are_compared_with_test_plates(tmp_path: Path, plates: list[str]) -> None:
    train = plate(tmp_path, "train-plate", "MCF10A")
    scores = scored(tmp_path, plates[:1], 2, "test"), scored(tmp_path, [train], 3, "train")
    experiments = [experiment(scores[0], "FPN2-WS", training_scores=scores[1])]
    overfitting = TABLE | {"kind": "training", "figures": {"Fig. S2B": "curves"}}
    result = tabulated(tmp_path, [*plates, train], experiments, overfitting)
    figure = (tmp_path / result.outputs["figures"] / "Fig._S2B.svg").read_text()
    assert all(f"<!-- {line} -->" in figure for line in ("Testing", "Training", "MCF10A"))
    table = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_8.csv")
    at_07 = table[table["iou_threshold"] == 0.7].set_index("variant")["f1"]
    assert at_07.to_dict() == pytest.approx({"Testing": 0.8, "Training": 1.0})
    # One small field each says little.
    compared = pd.read_csv(tmp_path / result.outputs["tables"] / "Table_8_overfitting.csv").iloc[0]
    assert compared["difference"] == pytest.approx(0.2)
    assert compared["low"] < 0 < compared["high"]
    assert (compared["over"], compared["verdict"]) == ("fields", "no difference can be told")
    told = "<li>FPN2-WS: no difference can be told (MCF10A / 0.7, MCF10A / 0.9).</li>"
    assert told in (tmp_path / result.outputs["page"]).read_text()


def test_what_was_logged_is_drawn_again_with_the_same_tables(tmp_path: Path, plates: list[str]) -> None:
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), DRAWN, prices={"core_hour": 0.1})
    logged, again = tmp_path / result.outputs["data"], tmp_path / "again"
    again.mkdir()
    assert draw(read_spec(logged), read_data(logged), read_panels(logged), again) == result.counts["figures"]
    for name in ("Table_8.csv", "Costs.csv"):
        assert (again / "tables" / name).read_text() == (tmp_path / result.outputs["tables"] / name).read_text()
    assert (again / "experiments.html").exists()


def test_a_cost_is_that_of_all_steps_with_money_where_a_price_is_given(tmp_path: Path, plates: list[str]) -> None:
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), prices={"core_hour": 3600.0})
    costs = pd.read_csv(tmp_path / result.outputs["tables"] / "Costs.csv")
    assert costs["money"].tolist() == pytest.approx(costs["cpu_seconds"].tolist())
    assert (costs["bytes"] > 0).all()
    assert (costs["peak_memory_bytes"] > 1e6).all()


def resume_a_training(store: Path, gpus: str) -> str:
    """Give scores of a network whose training took 1,000 s of CPU, 10 s of them since it was resumed, and 500 s."""
    path = plate(store, "mcf-b", "MCF10A")
    segmentation = add_segmentation(store, path, {"f1": TRUTH}, KEY)
    scores = execute(score.TASK, score.Params(segmentations=[segmentation]), store).outputs["scores"]
    training = train_network(store, [path])
    measured: dict[str, Any] = {"usage": {"cpu_seconds": 10.0, "peak_memory_bytes": 2e9}, "seconds": 20.0}
    measured["metrics"] = {"training_cpu_seconds": 1000.0, "training_seconds": 500.0}
    measured["machine"] = {"gpus": gpus, "replicas": "2"}
    training.write_text(json.dumps(json.loads(training.read_text()) | measured))
    return scores


@pytest.mark.parametrize(("gpus", "gpu_seconds"), [("H100, H100", 1000.0), ("none", 0.0)])
def test_a_resumed_training_costs_all_its_cycles_and_a_gpu_each_second_of_each_replica(
    tmp_path: Path, gpus: str, gpu_seconds: float
) -> None:
    experiments = [experiment(resume_a_training(tmp_path, gpus), "FPN2-WS")]
    prices = {"currency": "USD", "core_hour": 0.0, "gpu_hour": 3.6}
    result = tabulated(tmp_path, ["ingest/mcf-b@0123456789ab"], experiments, TABLE, prices=prices)
    (cost,) = pd.read_csv(tmp_path / result.outputs["tables"] / "Costs.csv").to_dict("records")
    assert 1000 < cost["cpu_seconds"] < 1100
    assert cost["gpu_seconds"] == gpu_seconds
    assert cost["money"] == pytest.approx(gpu_seconds / 1000)
    page = (tmp_path / result.outputs["page"]).read_text()
    drawn = (tmp_path / result.outputs["figures"] / "F1_and_CPU_hours.svg").read_text()
    assert ("GPU hours are not in it" in drawn) == (gpu_seconds > 0)
    assert ("GPU hours, of which the table above has the seconds, are not in it" in page) == (gpu_seconds > 0)
    assert f"<td>{gpu_seconds:,.0f}</td>" in page


def test_a_table_without_scores_is_named_and_left_out(tmp_path: Path, plates: list[str]) -> None:
    other = TABLE | {"name": "Table 9", "rows": [["MRCNN", "None", "1"]]}
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), TABLE, other)
    assert "None of their experiments has scores yet: Table 9." in (tmp_path / result.outputs["page"]).read_text()


def test_figures_for_which_there_is_nothing_to_draw_are_named_with_the_reason(
    tmp_path: Path, plates: list[str]
) -> None:
    drawn = {"Fig. S1A": "panels", "Fig. S1B": "curves", "Fig. S2A": "agreement"}
    compared = TABLE | {"kind": "annotations", "figures": drawn}
    unscored = TABLE | {"name": "T", "rows": [["MRCNN", "None", "1"]], "figures": {"Fig. 3A": "dots"}}
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), compared, unscored)
    page = (tmp_path / result.outputs["page"]).read_text()
    assert "<li>Fig. S1A, Fig. S2A: no plate has a second label set.</li>" in page
    assert "<li>Fig. 3A: no experiment of T has scores yet.</li>" in page


def test_curves_and_bars_and_their_table_mark_models_without_their_pretrained_weights(
    tmp_path: Path, plates: list[str]
) -> None:
    models = two_models(tmp_path, plates)
    for one in models:
        one["training_scores"] = one["scores"]
    tables = [
        TABLE | {"name": name, "kind": kind, "figures": {f"Fig. {name}": form}}
        for name, kind, form in (
            *(("5B", "f1", "curves"), ("S1B", "annotations", "curves")),
            *(("S2B", "training", "curves"), ("S3", "f1", "errors")),
        )
    ]
    result = tabulated(tmp_path, plates, models, *tables)
    for name in ("5B", "S1B", "S2B", *(f"S3{letter}" for letter in "ABCD")):
        drawn = (tmp_path / result.outputs["figures"] / f"Fig._{name}.svg").read_text()
        assert "<!-- MRCNN ‡ -->" in drawn, name
        assert "<!-- FPN2-WS ‡ -->" not in drawn, name
    page = (tmp_path / result.outputs["page"]).read_text()
    # Of four tables, one of two kinds of images; of errors, of overfitting, and of costs.
    assert page.count('<span title="no mask_rcnn_coco.h5">‡</span>') == 5 + 2 + 4 + 1


def test_scores_that_are_not_there_are_refused(tmp_path: Path, plates: list[str]) -> None:
    with pytest.raises(InputError, match="score/0000000000000000 is not in the store"):
        tabulated(tmp_path, plates, [experiment("score/0000000000000000", "MRCNN")])


def test_a_value_is_found_by_its_cell_line_and_threshold(tmp_path: Path, plates: list[str]) -> None:
    result = tabulated(tmp_path, plates, two_models(tmp_path, plates), TABLE)
    data = read_data(tmp_path / result.outputs["data"])
    table = table_of(TABLE, data, COLUMNS, None)
    assert table.rows[0].cells[Column("U2OS", 0.9)].value.f1 == 1.0
