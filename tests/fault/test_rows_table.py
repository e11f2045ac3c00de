"""The table of faults names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (Path(__file__).parent / "ROWS.md").read_text("utf-8")


def test_table_names_existing_tests_only() -> None:
    named = set(re.findall(r"`(tests/[^`:]+)::(\w+)`", TABLE))
    missing = [
        (path, name)
        for path, name in sorted(named)
        if not re.search(
            rf"^def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE
        )
    ]
    assert len(named) > 90
    assert missing == []


def test_table_has_every_fault_of_orders_machine_and_configuration() -> None:
    numbers = {int(text) for text in re.findall(r"^\| (\d+) \|", TABLE, re.MULTILINE)}
    assert {*range(1, 104), *range(112, 118)} <= numbers
