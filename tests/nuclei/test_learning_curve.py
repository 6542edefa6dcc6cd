"""When to stop annotating, of learning curves that are known."""

from collections.abc import Callable

import numpy as np
import pytest

from tasks.nuclei.learning_curve import Round, expected, fitted


def rounds(f1_at: Callable[[int], float], *nuclei: int, half_width: float = 0.02) -> list[Round]:
    """Rounds without an error, but for the interval that they say they have."""
    return [Round(n, f1_at(n), f1_at(n) - half_width, f1_at(n) + half_width) for n in nuclei]


def rising(nuclei: int) -> float:
    return 0.9 - 0.6 * (1 + nuclei / 200) ** -1.0


def flat(nuclei: int) -> float:
    return 0.85 - 0.3 * (1 + nuclei / 20) ** -2.0


def test_where_f1_still_rises_the_advice_is_to_go_on_and_the_true_gain_is_within_the_interval() -> None:
    found = expected(rounds(rising, 0, 100, 200, 300))
    assert found.gain is not None
    assert found.gain_low is not None
    assert found.gain_high is not None
    assert found.advice == "go on"
    assert found.gain_low < rising(400) - rising(300) < found.gain_high
    assert found.gain == pytest.approx(rising(400) - rising(300), abs=0.015)
    assert "and 0.01 is worth annotating them" in found.why


def test_where_f1_has_levelled_off_the_advice_is_to_stop() -> None:
    found = expected(rounds(flat, 0, 200, 400, 600, 800, 1000))
    assert found.advice == "stop"
    assert "less than 0.01" in found.why


def test_wider_intervals_of_the_rounds_give_a_wider_expectation() -> None:
    narrow, wide = (expected(rounds(rising, 0, 100, 200, 300, half_width=width)) for width in (0.01, 0.15))
    assert None not in (narrow.gain_high, narrow.gain_low, wide.gain_high, wide.gain_low)
    assert wide.gain_high - wide.gain_low > 1.3 * (narrow.gain_high - narrow.gain_low)  # type: ignore[operator]


@pytest.mark.parametrize(("nuclei", "words"), [((100,), "1 round"), ((100, 200), "2 rounds"), ((5, 5, 9), "2 rounds")])
def test_after_one_or_two_rounds_nothing_is_said_of_the_next_ones(nuclei: tuple[int, ...], words: str) -> None:
    found = expected(rounds(rising, *nuclei))
    assert (found.advice, found.gain) == ("go on", None)
    assert f"{words} of annotation" in found.why
    assert "too few to say; 3 are needed" in found.why


def test_an_f1_that_falls_by_more_than_chance_says_to_look_at_the_annotations() -> None:
    found = expected([Round(0, 0.8, 0.78, 0.82), Round(100, 0.82, 0.80, 0.84), Round(200, 0.6, 0.58, 0.62)])
    assert found.advice == "look at the annotations"
    assert "F1 fell from 0.82 with 100 nuclei to 0.60 with 200" in found.why


def test_the_order_of_the_rounds_does_not_matter() -> None:
    in_order = rounds(rising, 0, 100, 200, 300)
    assert expected(in_order[::-1]) == expected(in_order)


def test_intervals_hold_the_true_gain_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(40):
        limit, scale, rate = rng.uniform(0.7, 0.95), rng.uniform(50, 500), rng.uniform(0.5, 2)

        def f1_at(nuclei: int, limit: float = limit, scale: float = scale, rate: float = rate) -> float:
            return float(limit - 0.4 * (1 + nuclei / scale) ** -rate)

        seen = [f1_at(n) + rng.normal(0, 0.02) for n in (0, 120, 240, 360, 480)]
        # 0.02 is made of 0.0173 among fields and 0.01 among trainings.
        given = [Round(n, f1, f1 - 0.034, f1 + 0.034) for n, f1 in zip((0, 120, 240, 360, 480), seen, strict=True)]
        found = expected(given)
        true = f1_at(580) - f1_at(480)
        if found.gain_low is not None and found.gain_high is not None:
            held += found.gain_low <= true <= found.gain_high
    assert held >= 0.8 * 40


def test_curves_begin_where_the_first_round_was() -> None:
    curves = fitted(rounds(rising, 50, 150, 300))
    (middle,) = curves.quantiles(curves.f1(50), [0.5])
    assert middle == pytest.approx(rising(50), abs=0.02)
