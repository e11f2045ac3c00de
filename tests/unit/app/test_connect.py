from pathlib import Path

import pytest

from kisbt.app.connect import Access, data_access, key_store, kis_access
from kisbt.errors import ConfigError
from kisbt.kis.servers import emulator_server
from kisbt.model.account import Environment
from kisbt.model.order import OrderKind, Side
from kisbt.model.ports import NewOrder
from tests.helpers.kis import make_keys

REAL_KEY = "PS" + "r" * 34


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISBT_STATE", str(tmp_path))
    monkeypatch.setattr("kisbt.app.connect.usable_keyring", lambda: None)


def keep(environment: Environment, profile: str = "default") -> None:
    key_store().add(make_keys(environment, app_key=REAL_KEY, profile=profile))


def test_orders_go_to_mock_while_prices_come_from_real_keys() -> None:
    keep(Environment.MOCK)
    keep(Environment.REAL, "prices")
    trading = kis_access("default", Environment.MOCK)
    data = data_access(trading, "prices")
    assert trading.server.environment is Environment.MOCK
    assert data.server.environment is Environment.REAL


def test_mock_keys_alone_are_enough() -> None:
    keep(Environment.MOCK)
    trading = kis_access("default", Environment.MOCK)
    assert data_access(trading, None) is trading
    assert data_access(trading, "default").server == trading.server


def test_missing_data_keys_are_told() -> None:
    keep(Environment.MOCK)
    with pytest.raises(ConfigError):
        data_access(kis_access("default", Environment.MOCK), "other")


def test_the_emulator_serves_its_own_prices() -> None:
    server = emulator_server(Environment.MOCK, "http://127.0.0.1:9", "ws://127.0.0.1:9")
    trading = Access(make_keys(), server)
    assert data_access(trading, "prices") is trading


def test_data_keys_send_no_order() -> None:
    keep(Environment.REAL)
    client = kis_access("default", Environment.REAL).open(read_only=True)
    order = NewOrder(symbol="005930", side=Side.BUY, quantity=1, kind=OrderKind.MARKET)
    with pytest.raises(ConfigError):
        client.send_order(order)
    client.close()
