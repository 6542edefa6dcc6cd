"""A matrix of experiments as data: what is read, what is refused, and what its words stand for."""

from collections import Counter
from pathlib import Path

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.planning.experiment_params import LEAST_ROIS, experiments_of
from nucleus_dags.planning.experiments import names_of, read_matrix
from nucleus_dags.planning.types import Experiment

OWN = """
columns:
  plates:
    words:
      ours: {plates: [ours]}
  method:
    words:
      fast: {method: fpn2_ws, preset: laptop}
      boxes: {method: mask_rcnn, preset: laptop, train: {cycles: 3}}
  nuclei:
    in_names: nuclei
    words:
      28 px: {augment: {nucleus_px: 28}}
      40 px: {augment: {nucleus_px: 40}}
experiments:
  - {method: [fast, boxes], nuclei: [28 px, 40 px]}
  - {method: fast, nuclei: 40 px, replicates: 2}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUCLEUS_EXPERIMENTS", str(tmp_path))
    return tmp_path


def experiments(folder: Path, content: str = OWN, scale: float = 1) -> list[Experiment]:
    (folder / "own.yaml").write_text(content)
    return experiments_of(read_matrix("own"), scale)


def refusal(folder: Path, content: str) -> str:
    with pytest.raises(FormError) as refused:
        experiments(folder, content)
    return str(refused.value)


def test_the_paper_s_matrix_is_its_table_s2_without_repetitions_and_unpublished_models() -> None:
    rows = read_matrix("paper").rows()
    models = Counter(row.words["model"] for row in rows)
    # Of Mask R-CNN and FPN2-WS 76 trainings; Table S2 has three of them twice.
    assert models == {"MRCNN": 44, "FPN2-WS": 32, "Jacobkie": 1}
    all_random = {"train_set": "All", "initialization": "Random", "aug": "Full", "train_size": "1X", "epochs": "1X"}
    repeated = [row for row in rows if all_random.items() <= row.words.items() and row.words["model"] == "MRCNN"]
    assert [row.replicate for row in repeated] == list(range(1, 16))


def test_every_experiment_of_the_paper_has_params_that_the_tasks_know_and_seeds_of_its_own() -> None:
    by_name = {experiment["name"]: experiment for experiment in experiments_of(read_matrix("paper"), 1)}
    assert len(by_name) == 77
    second = by_name["All · MRCNN · Random · None · no. 2"]["variants"][0]
    assert second["augment"] | {"augmentation": "None", "rois": 35_000} == second["augment"]
    assert [training["random_seed"] for training in second["trainings"]] == [1]
    fewer = by_name["All · FPN2-WS · Pre-initialized · Full · ROIs 0.5X"]["variants"][0]
    assert [training["target"] for training in fewer["trainings"]] == ["distance_map", "blurred_border"]
    assert (fewer["augment"]["rois"], fewer["trainings"][0]["initialisation"]) == (17_500, "imagenet")


def test_an_experiment_may_run_without_its_pretrained_weights_with_random_ones_and_their_cycles() -> None:
    (jacobkie,) = [e for e in experiments_of(read_matrix("paper"), 1) if e["words"]["model"] == "Jacobkie"]
    beginnings = [(v["trainings"][0]["initialisation"], v["trainings"][0]["cycles"]) for v in jacobkie["variants"]]
    assert beginnings == [("pretrained", 0), ("random", 25)]


def test_experiments_are_named_by_what_differs_between_them(folder: Path) -> None:
    assert [experiment["name"] for experiment in experiments(folder)] == [
        "fast",
        "fast · nuclei 40 px · no. 1",
        "boxes",
        "boxes · nuclei 40 px",
        "fast · nuclei 40 px · no. 2",
    ]


def test_a_person_s_own_matrix_may_give_any_param_of_any_task(folder: Path) -> None:
    boxes = experiments(folder)[3]
    assert boxes["train_on"] == {"plates": ["ours"]}
    assert boxes["variants"][0]["augment"]["nucleus_px"] == 40
    assert boxes["variants"][0]["trainings"] == [
        {"random_seed": 0, "preset": "laptop", "cycles": 3, "task": "train_mask_rcnn"}
    ]


def test_the_scale_shrinks_rois_and_cycles_of_all_alike_but_never_to_nothing(folder: Path) -> None:
    variants = [experiment["variants"][0] for experiment in experiments(folder, scale=0.5)]
    assert {variant["augment"]["rois"] for variant in variants} == {2500}
    # The base model's 2 epochs, and 3 that the matrix gives.
    assert [variant["trainings"][0]["cycles"] for variant in variants[:3]] == [1, 1, 2]
    (least,) = {e["variants"][0]["augment"]["rois"] for e in experiments(folder, scale=0.0001)}
    assert least == LEAST_ROIS


def test_a_matrix_may_be_based_on_another_one(folder: Path) -> None:
    (folder / "own.yaml").write_text(OWN)
    (folder / "other.yaml").write_text(
        "based_on: own\nall: {augment: {rois: 50}}\nexperiments: [{method: boxes}]\n"
        "columns: {method: {words: {boxes: {train: {cycles: 1}}}}}"
    )
    (experiment,) = experiments_of(read_matrix("other"), 1)
    assert experiment["variants"][0]["augment"]["rois"] == 50
    assert experiment["variants"][0]["trainings"][0]["cycles"] == 1
    (folder / "own.yaml").write_text("based_on: other")
    with pytest.raises(FormError, match="other is based on own is based on other"):
        read_matrix("other")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("{method: [fast, boxes]", "{method: [fst, boxes]", "method has no 'fst'; did you mean fast?"),
        ("{method: fast, n", "{methd: fast, n", "there is no 'methd'; did you mean method?"),
        ("mask_rcnn,", "mask_rcn,", "there is no method 'mask_rcn'; did you mean mask_rcnn?"),
        ("train: {cycles: 3}", "train: {cycls: 3}", "train: there is no 'cycls'; did you mean cycles?"),
        ("train: {cycles: 3}", "train: {cycles: -3}", "-3 is less than the minimum of 0"),
        ("augment: {nucleus_px: 28}", "augmnt: {nucleus_px: 28}", "there is no 'augmnt'; did you mean augment?"),
        ("{nucleus_px: 28}", "{nucleus_px: wide}", "'wide' is not valid"),
        ("replicates: 2", "replicates: 0", "replicates is 0; allowed are 1 to 100"),
        ("  method:\n    words:", "  method:\n    word:", "method needs words"),
        ("preset: laptop,", "preset: lapto,", "there is no preset 'lapto'; did you mean laptop?"),
        ("columns:", "colums: 1\ncolumns:", "there is no 'colums'; did you mean columns?"),
        ("40 px]", "40 px: 1]", "nuclei has no {'40 px': 1}"),
        ("plates: [ours]", "plates: ours", "columns: plates: words: ours: plates is 'ours'; allowed is a list"),
        ("plates: [ours]", "cell_lines: MCF10A", "ours: cell_lines is 'MCF10A'; allowed is a list"),
        ("preset: laptop}", "of_method: [fpn2_ws]}", "fast: of_method is ['fpn2_ws']; allowed is keys with values"),
        ("train: {cycles: 3}", "train: [3]", "boxes: train is [3]; allowed is keys with values"),
        ("columns:", "tables: [T]\ncolumns:", "tables is ['T']; allowed is keys with values"),
        ("columns:", "tables: {T: {by: method}}\ncolumns:", "tables: T: by is 'method'; allowed is a list"),
        ("columns:", "tables: {1: {by: [method]}}\ncolumns:", "tables is 1; allowed is text"),
        ("columns:", "title: 2026\ncolumns:", "title is 2026; allowed is text"),
        ("columns:", "random_seed: one\ncolumns:", "random_seed is 'one'; allowed is a whole number"),
        ("columns:", "findings: {paper: x}\ncolumns:", "findings is {'paper': 'x'}; allowed is a list"),
        ("columns:", "test: {plates: t}\ncolumns:", "test: plates is 't'; allowed is a list"),
        ("columns:", "without_weights: {method: [fast]}\ncolumns:", "without_weights: method is ['fast']; allowed is"),
    ],
)
def test_a_word_that_nobody_knows_is_refused_with_the_nearest_known_one(
    folder: Path, right: str, wrong: str, said: str
) -> None:
    assert right in OWN
    assert said in refusal(folder, OWN.replace(right, wrong, 1))


def test_all_wrong_words_are_named_at_once(folder: Path) -> None:
    said = refusal(folder, OWN.replace("method: fast,", "method: fest,").replace("nuclei: [28", "nuclei: [29"))
    assert "'fest'" in said
    assert "'29 px'" in said


def test_a_key_that_stands_twice_and_a_matrix_that_is_not_there_are_refused(folder: Path) -> None:
    assert "columns stands there twice" in refusal(folder, OWN + "columns: {}\n")
    with pytest.raises(FormError, match="no matrix 'papr'; did you mean paper"):
        read_matrix("papr")
    with pytest.raises(FormError, match="no matrix"):
        read_matrix("../experiments/paper")


def test_a_table_must_say_what_tells_its_columns_apart_and_at_which_thresholds(folder: Path) -> None:
    table = "tables: {T: {kind: f2, rows: [{method: fast}], by: [metod], at: [0.72], figures: {F: dot}}}\n"
    said = refusal(folder, OWN.partition("experiments:")[0] + table)
    for part in ("kind 'f2' isn't known; did you mean f1?", "no column 'metod'", "at has 0.72", "no form 'dot'"):
        assert part in said


def test_names_stay_the_same_whichever_rows_are_chosen() -> None:
    matrix = read_matrix("paper")
    assert len(set(names_of(matrix.rows(), matrix.columns))) == len(matrix.rows())


FINDING = """
tables:
  Sizes: {rows: [{method: fast, nuclei: [28 px, 40 px]}], by: [nuclei]}
findings:
  - paper: Larger nuclei in the ROIs change nothing.
    table: Sizes
    of: {method: [fast, boxes], nuclei: 40 px}
    against: {nuclei: 28 px}
    expected: same
"""


def test_a_statement_is_a_difference_between_two_experiments_for_each_word_of_the_first(folder: Path) -> None:
    (folder / "own.yaml").write_text(OWN + FINDING)
    first, second = read_matrix("own").findings()
    assert (first["of"], first["against"]) == (["ours", "fast", "40 px"], ["ours", "fast", "28 px"])
    assert (second["of"], second["against"]) == (["ours", "boxes", "40 px"], ["ours", "boxes", "28 px"])
    assert first["expected"] == "same"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("expected: same", "expected: sam", "findings: no. 1: expected 'sam' isn't known; did you mean same?"),
        ("expected: same", "", "findings: no. 1: needs expected"),
        ("table: Sizes", "table: Size", "findings: no. 1: there is no table 'Size'; did you mean Sizes?"),
        ("against: {nuclei: 28 px}", "against: {nuclei: 29 px}", "against: nuclei has no '29 px'"),
        ("against: {nuclei: 28 px}", "against: {nucli: 28 px}", "against: there is no 'nucli'; did you mean nuclei?"),
        ("against: {nuclei: 28 px}", "against: {nuclei: 40 px}", "of and against are the same experiment"),
        ("against: {nuclei: 28 px}", "against: {method: [fast, boxes]}", "against: give one word for each column"),
        (
            "against: {nuclei: 28 px}",
            "against: {}",
            "against may be empty only with a table of the kind annotations or training",
        ),
    ],
)
def test_a_statement_that_compares_nothing_is_refused(folder: Path, right: str, wrong: str, said: str) -> None:
    assert said in refusal(folder, OWN + FINDING.replace(right, wrong))


def test_every_statement_of_the_paper_compares_experiments_that_its_matrix_runs() -> None:
    matrix = read_matrix("paper")
    run = {row.key[:-1] for row in matrix.rows()}
    assert {tuple(finding[side]) for finding in matrix.findings() for side in ("of", "against")} <= run
    tables = [*range(1, 9), "S3", "S4"]
    assert {finding["table"] for finding in matrix.findings()} == {f"Table {name}" for name in tables}


def test_a_statement_on_one_experiment_needs_its_table(folder: Path) -> None:
    alone = FINDING.replace("against: {nuclei: 28 px}", "against: {}").replace("nuclei]}", "nuclei], kind: training}")
    (folder / "own.yaml").write_text(OWN + alone)
    first, second = read_matrix("own").findings()
    assert first["of"] == first["against"] == ["ours", "fast", "40 px"]
    assert second["of"] == second["against"]
    # Another matrix has the statement too, but nothing that it can be seen by.
    others = "title: Others\nbased_on: own\ntables:\n  Other: {rows: [{method: fast}], by: [nuclei]}\n"
    (folder / "others.yaml").write_text(others)
    assert read_matrix("others").findings() == []
