"""What makes steps of gradients, with an optimiser of their own for the weights that don't learn in every stage.

Adam's moments begin at 0, and it makes up for that by the number of its steps (Kingma and Ba 2015, algorithm 1). By
the count of others, the first steps of weights that were frozen would be 3 to 6 times too long: an optimiser counts
the steps of its own weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Optimisers:
    """One optimiser for the weights that always learn and, if there are any, one for those that are frozen at first.

    `always` and `later` are Keras variables, trainable ones. Must be made in the scope of the strategy of the training.
    """

    def __init__(self, make: Callable[[], Any], always: Sequence[Any], later: Sequence[Any]) -> None:
        groups = [group for group in (always, later) if group]
        self._all = [make() for _ in groups]
        self._of_variable: dict[int, int] = {}
        for number, (optimiser, group) in enumerate(zip(self._all, groups, strict=True)):
            optimiser.build(list(group))
            self._of_variable |= dict.fromkeys(map(id, group), number)

    @property
    def steps(self) -> Any:
        """Number of the training's steps; an integer variable."""
        return self._all[0].iterations

    @property
    def state(self) -> dict[str, Any]:
        """What is saved in checkpoints, by name."""
        names = ("optimizer", "optimizer_of_frozen")
        return dict(zip(names, self._all, strict=False))

    def set_learning_rate(self, rate: float) -> None:
        for optimiser in self._all:
            optimiser.learning_rate.assign(rate)

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Make a step of these variables; gradients are summed over the replicas."""
        for number, optimiser in enumerate(self._all):
            pairs = zip(gradients, variables, strict=True)
            of_group = [pair for pair in pairs if self._of_variable[id(pair[1])] == number]
            if of_group:
                optimiser.apply_gradients(of_group)
