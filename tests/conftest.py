import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers import canary

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=150, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    canary.record(config)


@pytest.fixture(scope="session")
def real_candles() -> Path:
    """Folder of real Korean candles; they may not be shipped, so it may be absent."""
    folder = Path(
        os.environ.get("KISBT_REAL_CANDLES", str(ROOT.parent / "shared/data/krx"))
    )
    if not folder.is_dir():
        pytest.skip("no real candles: set KISBT_REAL_CANDLES to their folder")
    return folder


@pytest.fixture(autouse=True)
def own_imports() -> Iterator[None]:
    """Put back what a test that works in another project has imported instead."""
    path = list(sys.path)
    kept = {name: m for name, m in sys.modules.items() if _is_strategy(name)}
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if _is_strategy(name)]:
        if name not in kept:
            del sys.modules[name]
    sys.modules.update(kept)


def _is_strategy(name: str) -> bool:
    return name.partition(".")[0] == "strategies"
