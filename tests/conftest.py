import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=150, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_candles() -> Path:
    """Folder of real Korean candles; they may not be shipped, so it may be absent."""
    folder = Path(
        os.environ.get("KISBT_REAL_CANDLES", str(ROOT.parent / "shared/data/krx"))
    )
    if not folder.is_dir():
        pytest.skip("no real candles: set KISBT_REAL_CANDLES to their folder")
    return folder
