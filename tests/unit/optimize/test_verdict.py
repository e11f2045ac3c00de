import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kisbt.optimize.entries import RandomEntries
from kisbt.optimize.landscape import Neighbourhood
from kisbt.optimize.overfit import Backtests, Deflated
from kisbt.optimize.verdict import (
    Assessment,
    ForwardAssessment,
    Verdict,
    explain,
    explain_forward,
)
from kisbt.optimize.windows import Efficiency

DEFLATED = Deflated(
    probability=0.97,
    observed=0.1,
    expected=0.05,
    trials=200,
    independent=31.4,
    sessions=1000,
    skew=0.0,
    kurtosis=3.0,
)
BACKTESTS = Backtests(
    probability=0.12,
    logits=np.zeros(70),
    in_sample=np.zeros(70),
    out_of_sample=np.ones(70),
    blocks=8,
)
ENTRIES = RandomEntries(trades=80, own=0.01, random=0.001, p_value=0.01)
GOOD = Assessment(
    deflated=DEFLATED,
    backtests=BACKTESTS,
    neighbours=Neighbourhood(count=8, median=1.0, rank=0.9),
    entries=ENTRIES,
    total_return=0.8,
    hold_return=0.3,
)
FORWARD = ForwardAssessment(
    probability=0.98,
    sharpe=1.1,
    efficiency=Efficiency(ratio=0.7, in_sample=0.2, out_of_sample=0.14, profitable=0.8),
    overfitting=(0.1, 0.3),
    deflated=(0.9, 0.97),
    ranks=(0.8, 0.9),
    entries=ENTRIES,
    total_return=0.8,
    hold_return=0.3,
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Verdict.SOUND),
        ({"deflated": replace(DEFLATED, probability=0.949)}, Verdict.OVERFIT),
        ({"deflated": None}, Verdict.OVERFIT),
        ({"backtests": replace(BACKTESTS, probability=0.5)}, Verdict.OVERFIT),
        ({"backtests": None}, Verdict.WEAK),
        ({"neighbours": None}, Verdict.WEAK),
        ({"neighbours": Neighbourhood(count=3, median=0, rank=0.6)}, Verdict.WEAK),
        ({"entries": replace(ENTRIES, p_value=0.06)}, Verdict.WEAK),
        ({"entries": None}, Verdict.WEAK),
        ({"hold_return": 0.9}, Verdict.WEAK),
        ({"hold_return": None}, Verdict.SOUND),
    ],
)
def test_search_is_judged_by_its_worst_check(
    change: dict[str, Any], expected: Verdict
) -> None:
    assert replace(GOOD, **change).verdict is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Verdict.SOUND),
        ({"probability": 0.9}, Verdict.OVERFIT),
        ({"probability": None, "sharpe": None}, Verdict.OVERFIT),
        ({"efficiency": replace(FORWARD.efficiency, ratio=0.4)}, Verdict.WEAK),
        ({"efficiency": replace(FORWARD.efficiency, ratio=None)}, Verdict.WEAK),
        ({"overfitting": (0.5, 0.6)}, Verdict.WEAK),
        ({"overfitting": ()}, Verdict.WEAK),
        ({"ranks": (0.3, 0.4)}, Verdict.WEAK),
        ({"hold_return": 2.0}, Verdict.WEAK),
    ],
)
def test_walk_forward_is_judged_by_its_worst_check(
    change: dict[str, Any], expected: Verdict
) -> None:
    assert replace(FORWARD, **change).verdict is expected


def test_paragraph_names_the_numbers_it_rests_on() -> None:
    text = explain(GOOD)
    assert text.startswith("No sign of overfitting")
    for number in ("200", "31", "0.78", "1.57", "97%", "12%", "90%", "1.0%", "+80.0%"):
        assert number in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "found",
    [
        explain(replace(GOOD, deflated=None, backtests=None, neighbours=None)),
        explain(replace(GOOD, entries=None, hold_return=None)),
        explain(replace(GOOD, neighbours=Neighbourhood(count=2, median=0, rank=0.2))),
        explain_forward(FORWARD),
        explain_forward(replace(FORWARD, sharpe=None, probability=None, ranks=())),
        explain_forward(
            replace(
                FORWARD,
                overfitting=(),
                efficiency=replace(FORWARD.efficiency, ratio=None),
            )
        ),
    ],
)
def test_paragraph_is_whole_sentences_whatever_is_missing(found: str) -> None:
    assert not re.search(r"None|nan|\{|\}", found)
    assert found.endswith(".")
