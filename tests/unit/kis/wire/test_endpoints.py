import pytest

from kisbt.kis.wire.endpoints import (
    ENDPOINTS,
    PLANNED,
    SERVERS,
    Area,
    find_endpoint,
    find_route,
    gap_table,
)
from kisbt.model.account import Environment

_REAL, _MOCK = Environment.REAL, Environment.MOCK


def test_gap_table_names_what_replaces_each_call_mock_lacks() -> None:
    rows = {row.call: row for row in gap_table()}

    assert set(rows) == set(ENDPOINTS)
    assert all(row.real for row in rows.values())
    for row in rows.values():
        assert bool(row.instead) is not row.mock
    assert rows["inquire_psbl_sell"].instead == "the call inquire_balance"
    assert rows["order_cash"].mock


def test_calls_that_replace_others_are_on_mock() -> None:
    for item in ENDPOINTS.values():
        replacing = ENDPOINTS.get(item.substitute)
        assert replacing is None or replacing.offered(_MOCK)


def test_mock_ids_begin_with_v_where_real_ones_begin_with_t_or_c() -> None:
    for item in ENDPOINTS.values():
        for variant, tr_id in item.mock.items():
            real = item.real[variant]
            assert tr_id == ("V" + real[1:] if real[0] in "TJC" else real)


@pytest.mark.parametrize(
    ("tr_id", "environment", "call", "variant"),
    [
        ("TTTC0012U", _REAL, "order_cash", "buy"),
        ("TTTC0801U", _REAL, "order_cash", "sell"),
        ("VTTC0802U", _MOCK, "order_cash", "buy"),
        ("VTTC8001R", _MOCK, "inquire_daily_ccld", "recent"),
        ("CTSC9115R", _REAL, "inquire_daily_ccld", "older"),
        ("VTSC9215R", _MOCK, "inquire_daily_ccld", "older"),
        ("TTTC8036R", _REAL, "inquire_psbl_rvsecncl", "all"),
        ("FHKST01010100", _MOCK, "inquire_price", "all"),
    ],
)
def test_old_and_new_tr_ids_lead_to_the_same_call(
    tr_id: str, environment: Environment, call: str, variant: str
) -> None:
    route = find_route(tr_id, environment)

    assert route is not None
    assert (route.endpoint.name, route.variant) == (call, variant)


@pytest.mark.parametrize(
    ("tr_id", "environment"),
    [("TTTC0012U", _MOCK), ("VTTC0012U", _REAL), ("TTTC8408R", _MOCK), ("", _REAL)],
)
def test_tr_ids_of_the_other_server_are_not_known(
    tr_id: str, environment: Environment
) -> None:
    assert find_route(tr_id, environment) is None


def test_path_is_found_with_doubled_slashes() -> None:
    found = find_endpoint("POST", "//oauth2//tokenP/")

    assert found is not None
    assert found.area is Area.AUTH
    assert find_endpoint("GET", "/oauth2/tokenP") is None
    assert find_endpoint("PUT", "/oauth2/tokenP") is None
    assert find_endpoint("GET", "/nowhere") is None


def test_token_calls_are_offered_everywhere() -> None:
    assert ENDPOINTS["token"].offered(_MOCK)
    assert not ENDPOINTS["chk_holiday"].offered(_MOCK)


def test_tr_id_of_a_variant_mock_lacks_is_a_key_error() -> None:
    assert ENDPOINTS["order_cash"].tr_id(_MOCK, "sell") == "VTTC0011U"
    with pytest.raises(KeyError):
        ENDPOINTS["inquire_psbl_sell"].tr_id(_MOCK)


def test_servers_are_the_brokers_own() -> None:
    for server in SERVERS.values():
        assert ".koreainvestment.com:" in server.rest_url
        assert server.rest_url.startswith("https://")
        assert ".koreainvestment.com:" in server.ws_url


def test_room_is_kept_for_other_markets() -> None:
    paths = [prefix for family in PLANNED for prefix in family.prefixes]

    assert any("overseas" in prefix for prefix in paths)
    assert any("futureoption" in prefix for prefix in paths)
    assert not any(
        item.path.startswith(prefix) for item in ENDPOINTS.values() for prefix in paths
    )
