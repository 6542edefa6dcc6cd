"""The form of `run_experiments`."""

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN, experiment_field, lines_field
from nucleus_dags.planning.experiments import NAME, known_matrices


@typed.form
def run_experiments_form() -> dict[str, Param]:
    return {
        "matrix": Param(
            "paper",
            type="string",
            pattern=f"^{NAME}$",
            examples=known_matrices(),
            title="Matrix",
            description="Name of a file of experiments: paper, or one of the laboratory's own in the folder "
            "NUCLEUS_EXPERIMENTS, without .yaml.",
            section=MAIN,
        ),
        "stop_after_plan": Param(
            True,
            type="boolean",
            title="Stop after the plan",
            description="Only say what there is to do, what is there already, and what it takes. Without this, the "
            "experiments are run.",
            section=MAIN,
        ),
        "scale": _scale(),
        "tables": lines_field(
            "Tables",
            "Names of tables of the matrix, one per line, such as Table 2: only their experiments are run. Empty: all.",
        ),
        "rows": lines_field(
            "Rows",
            "Words, one row of them per line, such as: MRCNN, epochs=0.5X. Only experiments that have all words of a "
            "line are run. Empty: all.",
        ),
        "core_hour": _price("CPU core"),
        "gpu_hour": _price("GPU"),
        "experiment": experiment_field(),
    }


def _price(of_what: str) -> Param:
    return Param(
        None,
        type=["null", "number"],
        allOf=[{"minimum": 0}],
        title=f"Price per {of_what} hour",
        description=f"What an hour of a {of_what} costs, in the currency of the matrix: the plan and the page say what "
        "experiments cost. Empty: as prices of the matrix say. Allowed: at least 0.",
        section=MAIN,
    )


def _scale() -> Param:
    return Param(
        1.0,
        type="number",
        allOf=[{"exclusiveMinimum": 0, "maximum": 1}],
        title="Scale",
        description="ROIs and epochs of all experiments are multiplied by this; 0.1 takes about a hundredth of the "
        "time. Allowed: more than 0, at most 1.",
        section=MAIN,
    )
