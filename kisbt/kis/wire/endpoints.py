"""Where every call goes, and which server has it.

The gap table (`gap_table`) says per call whether the practice server (mock) offers
it and what kisbt does instead.

Source:
    Official samples, github.com/koreainvestment/open-trading-api (2026-07-09); the
    list of mock calls: its ``legacy/postman`` README. Ids starting with T, J or C
    begin with V on mock; ids starting with F or H are the same on both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kisbt.kis.wire.fields import CALL_FIELDS, CallFields
from kisbt.model.account import Environment
from kisbt.text import _

ALL: Final = "all"
"""Name of the only variant of a call that has one."""


class Method(StrEnum):
    """HTTP method."""

    GET = "GET"
    POST = "POST"


class Paging(StrEnum):
    """How the rest of a long answer is asked for."""

    NONE = "none"
    """All rows at once."""
    KEYS_100 = "keys_100"
    """CTX_AREA_FK100 and CTX_AREA_NK100 of the answer are sent back."""
    KEYS = "keys"
    """CTX_AREA_FK and CTX_AREA_NK of the answer are sent back."""
    BACK_BY_DATE = "back_by_date"
    """Asked again with an earlier last date."""
    BACK_BY_TIME = "back_by_time"
    """Asked again with an earlier last minute."""


class Area(StrEnum):
    """What a call is about; decides its answers' codes and its priority."""

    AUTH = "auth"
    ORDER = "order"
    ACCOUNT = "account"
    QUOTATION = "quotation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One call.

    Attributes:
        name: as the official samples name it.
        real, mock: variant to TR id; `mock` is empty where mock lacks the call.
        old: TR ids that were replaced in 2025 and still answer, to the new ones.
        rows: most rows of one answer, by environment; empty when unlimited.
        substitute: what kisbt does on mock instead; "" where mock has the call.
    """

    name: str
    method: Method
    path: str
    area: Area
    real: Mapping[str, str] = field(default_factory=dict)
    mock: Mapping[str, str] = field(default_factory=dict)
    old: Mapping[str, str] = field(default_factory=dict)
    paging: Paging = Paging.NONE
    rows: Mapping[Environment, int] = field(default_factory=dict)
    substitute: str = ""

    @property
    def fields(self) -> CallFields:
        """The tables of names of this call; calls of Area.AUTH have none."""
        return CALL_FIELDS[self.name]

    def offered(self, environment: Environment) -> bool:
        """Return whether the server of `environment` has this call."""
        return self.area is Area.AUTH or bool(self.tr_ids(environment))

    def tr_ids(self, environment: Environment) -> Mapping[str, str]:
        """Return variant to TR id for `environment`."""
        return self.real if environment is Environment.REAL else self.mock

    def tr_id(self, environment: Environment, variant: str = ALL) -> str:
        """Return the TR id of one variant.

        Raises:
            KeyError: the server of `environment` does not offer it.
        """
        return self.tr_ids(environment)[variant]


def _both(real: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    mock = {
        variant: "V" + tr_id[1:] if tr_id[0] in "TJC" else tr_id
        for variant, tr_id in real.items()
    }
    return {"real": real, "mock": mock}


def _old(real: Mapping[str, str]) -> Mapping[str, str]:
    return {**real, **{"V" + old[1:]: "V" + new[1:] for old, new in real.items()}}


_TRADING: Final = "/uapi/domestic-stock/v1/trading/"
_QUOTATIONS: Final = "/uapi/domestic-stock/v1/quotations/"
_RANKING: Final = "/uapi/domestic-stock/v1/ranking/"
_REAL, _MOCK = Environment.REAL, Environment.MOCK


def _quotation(name: str, tr_id: str, *, mock: bool, **rest: object) -> Endpoint:
    ids = {ALL: tr_id}
    values: dict[str, object] = {
        "name": name,
        "method": Method.GET,
        "path": _QUOTATIONS + name.replace("_", "-"),
        "area": Area.QUOTATION,
        "real": ids,
        "mock": ids if mock else {},
        **rest,
    }
    return Endpoint(**values)  # type: ignore[arg-type]


def _trading(name: str, real: Mapping[str, str], **rest: object) -> Endpoint:
    values: dict[str, object] = {
        "name": name,
        "method": Method.GET,
        "path": _TRADING + name.replace("_", "-"),
        "area": Area.ACCOUNT,
        "real": real,
        **rest,
    }
    return Endpoint(**values)  # type: ignore[arg-type]


def _auth(name: str, path: str) -> Endpoint:
    return Endpoint(name=name, method=Method.POST, path=path, area=Area.AUTH)


def _rows(real: int, mock: int = 0) -> Mapping[Environment, int]:
    return {_REAL: real, _MOCK: mock or real}


_ORDER_IDS = {"sell": "TTTC0011U", "buy": "TTTC0012U"}
_CHANGE_IDS = {ALL: "TTTC0013U"}
_HISTORY_IDS = {"recent": "TTTC0081R", "older": "CTSC9215R"}

_TABLE: Final = (
    _auth("token", "/oauth2/tokenP"),
    _auth("revoke", "/oauth2/revokeP"),
    _auth("approval", "/oauth2/Approval"),
    _auth("hashkey", "/uapi/hashkey"),
    _trading(
        "order_cash",
        method=Method.POST,
        area=Area.ORDER,
        **_both(_ORDER_IDS),
        old=_old({"TTTC0801U": "TTTC0011U", "TTTC0802U": "TTTC0012U"}),
    ),
    _trading(
        "order_rvsecncl",
        method=Method.POST,
        area=Area.ORDER,
        **_both(_CHANGE_IDS),
        old=_old({"TTTC0803U": "TTTC0013U"}),
    ),
    _trading(
        "inquire_psbl_rvsecncl",
        {ALL: "TTTC0084R"},
        old={"TTTC8036R": "TTTC0084R"},
        paging=Paging.KEYS_100,
        rows={_REAL: 50},
        substitute="inquire_daily_ccld",
    ),
    _trading(
        "inquire_daily_ccld",
        **_both(_HISTORY_IDS),
        old=_old({"TTTC8001R": "TTTC0081R", "CTSC9115R": "CTSC9215R"}),
        paging=Paging.KEYS_100,
        rows=_rows(100, 15),
    ),
    _trading(
        "inquire_balance",
        **_both({ALL: "TTTC8434R"}),
        paging=Paging.KEYS_100,
        rows=_rows(50, 20),
    ),
    _trading("inquire_psbl_order", **_both({ALL: "TTTC8908R"})),
    _trading("inquire_psbl_sell", {ALL: "TTTC8408R"}, substitute="inquire_balance"),
    _trading(
        "inquire_period_trade_profit",
        {ALL: "TTTC8715R"},
        paging=Paging.KEYS_100,
        substitute="journal",
    ),
    _trading(
        "inquire_period_profit",
        {ALL: "TTTC8708R"},
        paging=Paging.KEYS_100,
        substitute="journal",
    ),
    _quotation("inquire_price", "FHKST01010100", mock=True),
    _quotation("inquire_asking_price_exp_ccn", "FHKST01010200", mock=True),
    _quotation("inquire_ccnl", "FHKST01010300", mock=True, rows=_rows(30)),
    _quotation(
        "inquire_time_itemconclusion",
        "FHPST01060000",
        mock=True,
        rows=_rows(30),
        paging=Paging.BACK_BY_TIME,
    ),
    _quotation("inquire_daily_price", "FHKST01010400", mock=True, rows=_rows(30)),
    _quotation(
        "inquire_daily_itemchartprice",
        "FHKST03010100",
        mock=True,
        rows=_rows(100),
        paging=Paging.BACK_BY_DATE,
    ),
    _quotation(
        "inquire_time_itemchartprice",
        "FHKST03010200",
        mock=True,
        rows=_rows(30),
        paging=Paging.BACK_BY_TIME,
    ),
    # One project reports this call working on mock, another OPSQ0002: not relied on.
    _quotation(
        "inquire_time_dailychartprice",
        "FHKST03010230",
        mock=False,
        rows={_REAL: 120},
        paging=Paging.BACK_BY_TIME,
        substitute="store",
    ),
    _quotation(
        "inquire_daily_indexchartprice",
        "FHKUP03500100",
        mock=True,
        rows=_rows(50),
        paging=Paging.BACK_BY_DATE,
    ),
    _quotation(
        "inquire_index_price",
        "FHPUP02100000",
        mock=False,
        substitute="inquire_daily_indexchartprice",
    ),
    _quotation(
        "inquire_index_daily_price",
        "FHPUP02120000",
        mock=False,
        rows={_REAL: 100},
        paging=Paging.BACK_BY_DATE,
        substitute="inquire_daily_indexchartprice",
    ),
    _quotation(
        "inquire_time_indexchartprice",
        "FHKUP03500200",
        mock=False,
        rows={_REAL: 102},
        substitute="none",
    ),
    _quotation(
        "chk_holiday",
        "CTCA0903R",
        mock=False,
        paging=Paging.KEYS,
        substitute="calendar",
    ),
    _quotation("search_stock_info", "CTPF1002R", mock=False, substitute="master"),
    _quotation("search_info", "CTPF1604R", mock=False, substitute="master"),
    _quotation(
        "volume_rank",
        "FHPST01710000",
        mock=False,
        rows={_REAL: 30},
        substitute="none",
    ),
    _quotation(
        "intstock_multprice",
        "FHKST11300006",
        mock=False,
        rows={_REAL: 30},
        substitute="inquire_price",
    ),
    _quotation(
        "fluctuation",
        "FHPST01700000",
        mock=False,
        path=_RANKING + "fluctuation",
        rows={_REAL: 30},
        substitute="none",
    ),
)

ENDPOINTS: Final[Mapping[str, Endpoint]] = {item.name: item for item in _TABLE}
"""Every call kisbt can make, by name."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A family of calls for which kisbt has room but no codec yet.

    Attributes:
        product_code: second part of the account number for this market.
        prefixes: where its paths begin.
    """

    name: str
    product_code: str
    prefixes: tuple[str, ...]


PLANNED: Final = (
    Planned(
        "overseas stocks",
        "01",
        (
            "/uapi/overseas-stock/v1/trading/",
            "/uapi/overseas-stock/v1/quotations/",
            "/uapi/overseas-price/v1/quotations/",
        ),
    ),
    Planned(
        "futures and options",
        "03",
        (
            "/uapi/domestic-futureoption/v1/trading/",
            "/uapi/domestic-futureoption/v1/quotations/",
        ),
    ),
)
"""Later: their endpoints go into `_TABLE`, their field tables into `fields`."""


@dataclass(frozen=True, slots=True)
class Server:
    """Addresses of one environment; keys go to these and to nothing else.

    Source:
        Official samples (kis_devlp.yaml) and portal.
    """

    rest_url: str
    ws_url: str


SERVERS: Final[Mapping[Environment, Server]] = {
    _REAL: Server(
        "https://openapi.koreainvestment.com:9443",
        "ws://ops.koreainvestment.com:21000",
    ),
    _MOCK: Server(
        "https://openapivts.koreainvestment.com:29443",
        "ws://ops.koreainvestment.com:31000",
    ),
}

REGISTRATIONS: Final = 41
"""Subscriptions of one session, of all kinds together (measured 2026-07: the 42nd
is refused)."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which call a request is, as a server sees it."""

    endpoint: Endpoint
    variant: str
    environment: Environment


class _Index:
    """Lookups over the table, made once."""

    def __init__(self, table: tuple[Endpoint, ...]) -> None:
        self.by_path = {(item.method, item.path): item for item in table}
        self.routes: dict[tuple[str, Environment], Route] = {}
        for item in table:
            for environment in Environment:
                ids = item.tr_ids(environment)
                routes = {
                    tr_id: Route(item, variant, environment)
                    for variant, tr_id in ids.items()
                }
                for old, new in item.old.items():
                    if new in routes:
                        routes[old] = routes[new]
                for tr_id, route in routes.items():
                    self.routes[(tr_id, environment)] = route


_INDEX: Final = _Index(_TABLE)


def find_endpoint(method: str, path: str) -> Endpoint | None:
    """Return the call at a path; doubled slashes in it do no harm."""
    clean = "/" + "/".join(part for part in path.split("/") if part)
    if method not in {Method.GET, Method.POST}:
        return None
    return _INDEX.by_path.get((Method(method), clean))


def find_route(tr_id: str, environment: Environment) -> Route | None:
    """Return what a TR id asks for in `environment`; old ids are known too."""
    return _INDEX.routes.get((tr_id, environment))


@dataclass(frozen=True, slots=True)
class Gap:
    """A row of the gap table.

    Attributes:
        real, mock: the server has the call.
        instead: what kisbt does on mock, for people; "" where mock has it.
    """

    call: str
    path: str
    real: bool
    mock: bool
    instead: str


def gap_table() -> tuple[Gap, ...]:
    """Return per call whether mock has it, and what is done instead."""
    words = {
        "": "",
        "journal": _("computed from kisbt's own journal"),
        "store": _("past minutes come from the candle store"),
        "calendar": _("kisbt's own calendar"),
        "master": _("the symbol master files"),
        "none": _("not available; kisbt does without"),
    }
    return tuple(
        Gap(
            item.name,
            item.path,
            item.offered(_REAL),
            item.offered(_MOCK),
            words[item.substitute]
            if item.substitute in words
            else _("the call {name}").format(name=item.substitute),
        )
        for item in _TABLE
    )
