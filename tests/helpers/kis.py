"""Keys, servers and clients for tests of the KIS client."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kisbt.clock import Clock, SystemClock
from kisbt.kis.client import KisClient, open_client
from kisbt.kis.keys import EMULATOR_PREFIX, KisKeys, Secret
from kisbt.kis.servers import Server, emulator_server
from kisbt.model.account import Account, Environment
from tests.helpers.loopback import Behaviour, Loopback, answer

APP_KEY = EMULATOR_PREFIX + "K" * 23
APP_SECRET = EMULATOR_PREFIX + "S" * 167
TOKEN = "eyJINVENTEDTOKEN"

ORDER = "/uapi/domestic-stock/v1/trading/order-cash"
CHANGE = "/uapi/domestic-stock/v1/trading/order-rvsecncl"
PRICE = "/uapi/domestic-stock/v1/quotations/inquire-price"

TOKEN_ANSWER = {
    "access_token": TOKEN,
    "token_type": "Bearer",
    "expires_in": 86400,
    "access_token_token_expired": "2099-01-01 00:00:00",
}
ACCEPTED = {
    "rt_cd": "0",
    "msg_cd": "40600000",
    "msg1": "모의투자 매수주문이 완료 되었습니다.",
    "output": {
        "KRX_FWDG_ORD_ORGNO": "00950",
        "ODNO": "0000038614",
        "ORD_TMD": "100512",
    },
}


def make_keys(
    environment: Environment = Environment.MOCK,
    *,
    app_key: str = APP_KEY,
    app_secret: str = APP_SECRET,
    profile: str = "default",
) -> KisKeys:
    return KisKeys(
        profile=profile,
        environment=environment,
        app_key=Secret(app_key),
        app_secret=Secret(app_secret),
        account=Account("50112233", "01"),
        hts_id=Secret("canaryhts"),
    )


def refusal(code: str, words: str = "refused", *, status: int = 500) -> Behaviour:
    return answer({"rt_cd": "1", "msg_cd": code, "msg1": words}, status=status)


def server_of(
    loopback: Loopback, environment: Environment = Environment.MOCK
) -> Server:
    return emulator_server(environment, loopback.url, "ws://127.0.0.1:9")


class QuickClock:
    """Real time whose waits are over at once, and are remembered."""

    def __init__(self) -> None:
        self._real = SystemClock()
        self.slept: list[float] = []

    def now(self):
        return self._real.now()

    def monotonic(self) -> float:
        return self._real.monotonic() + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@contextmanager
def client_of(
    loopback: Loopback,
    folder: Path,
    *,
    environment: Environment = Environment.MOCK,
    clock: Clock | None = None,
    token_first: bool = True,
) -> Iterator[KisClient]:
    """Return a client without a rate limit that has its token already."""
    client = open_client(
        make_keys(environment),
        server_of(loopback, environment),
        folder=folder,
        clock=clock or QuickClock(),
        interval_s=0.0,
    )
    if token_first:
        loopback.script.insert(0, answer(TOKEN_ANSWER))
        client.auth.token()
    try:
        yield client
    finally:
        client.close()
