"""A bare REST and websocket client of the emulator, without kisbt's own client."""

import base64
import json
import threading
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import requests
import websocket
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kisbt.emulator.house import Settings
from kisbt.emulator.runner import Emulator
from kisbt.krx.calendar import KST

SAMPLE = Path(__file__).parents[2] / "data"
SYMBOL = "990001"
SESSION = date(2025, 12, 29)
TEN = datetime(2025, 12, 29, 10, 0, tzinfo=KST)
TIMEOUT_S = 10.0
QUOTATIONS = "/uapi/domestic-stock/v1/quotations/"
TRADING = "/uapi/domestic-stock/v1/trading/"


def stepped(**changes: Any) -> Settings:
    """Return the settings of a test: both servers at ten o'clock, no limits."""
    values: dict[str, Any] = {
        "data": SAMPLE,
        "start": TEN,
        "environment": "both",
        "step": True,
        "limits": False,
    }
    return Settings(**{**values, **changes})


def until(holds: Callable[[], bool]) -> None:
    """Wait until something has become true."""
    waiting = threading.Event()
    for _turn in range(int(TIMEOUT_S / 0.02)):
        if holds():
            return
        waiting.wait(0.02)
    raise AssertionError("it never came true")


class Caller:
    """Talks to one server of an emulator as a plain HTTP client."""

    def __init__(self, emulator: Emulator, environment: str = "mock") -> None:
        self.server = emulator.side(environment)
        self.mock = environment == "mock"
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = ""

    def __del__(self) -> None:
        self.session.close()

    @property
    def keys(self) -> dict[str, str]:
        return {
            "appkey": self.server["app_key"],
            "appsecret": self.server["app_secret"],
        }

    @property
    def account(self) -> dict[str, str]:
        number, product = self.server["account"].split("-")
        return {"CANO": number, "ACNT_PRDT_CD": product}

    def issue(self, **changes: Any) -> requests.Response:
        body = {"grant_type": "client_credentials", **self.keys, **changes}
        return self.post_raw("/oauth2/tokenP", body)

    def log_in(self) -> "Caller":
        self.token = self.issue().json()["access_token"]
        return self

    def post_raw(self, path: str, body: Any, **headers: str) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body)
        return self.session.post(
            self.server["rest_url"] + path,
            data=data,
            headers={"content-type": "application/json", **headers},
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )

    def headers(self, tr_id: str, **changes: str) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.token}",
            **self.keys,
            "tr_id": tr_id,
            "custtype": "P",
            **changes,
        }

    def get(
        self, path: str, tr_id: str, query: dict[str, Any], **headers: str
    ) -> requests.Response:
        return self.session.get(
            self.server["rest_url"] + path,
            params=query,
            headers=self.headers(tr_id, **headers),
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )

    def price(self, symbol: str = SYMBOL) -> requests.Response:
        query = {"FID_COND_MRKT_DIV_CODE": "J", "FID_INPUT_ISCD": symbol}
        return self.get(QUOTATIONS + "inquire-price", "FHKST01010100", query)

    def order(self, side: str, quantity: int, **changes: str) -> requests.Response:
        ids = {"buy": "TTTC0012U", "sell": "TTTC0011U"}
        tr_id = ids[side].replace("T", "V", 1) if self.mock else ids[side]
        body = {
            **self.account,
            "PDNO": SYMBOL,
            "ORD_DVSN": "01",
            "ORD_QTY": str(quantity),
            "ORD_UNPR": "0",
            **changes,
        }
        return self.post_raw(TRADING + "order-cash", body, **self.headers(tr_id))

    def change(self, number: str, **changes: str) -> requests.Response:
        body = {
            **self.account,
            "KRX_FWDG_ORD_ORGNO": "",
            "ORGN_ODNO": number,
            "ORD_DVSN": "00",
            "RVSE_CNCL_DVSN_CD": "02",
            "ORD_QTY": "0",
            "ORD_UNPR": "0",
            "QTY_ALL_ORD_YN": "Y",
            **changes,
        }
        tr_id = "VTTC0013U" if self.mock else "TTTC0013U"
        return self.post_raw(TRADING + "order-rvsecncl", body, **self.headers(tr_id))

    def orders(self, **changes: str) -> requests.Response:
        day = SESSION.strftime("%Y%m%d")
        headers = {"tr_cont": changes.pop("tr_cont", "")}
        query = {
            **self.account,
            "INQR_STRT_DT": day,
            "INQR_END_DT": day,
            "SLL_BUY_DVSN_CD": "00",
            "CCLD_DVSN": "00",
            "INQR_DVSN": "00",
            "EXCG_ID_DVSN_CD": "KRX",
            **changes,
        }
        tr_id = "VTTC0081R" if self.mock else "TTTC0081R"
        return self.get(TRADING + "inquire-daily-ccld", tr_id, query, **headers)

    def balance(self) -> requests.Response:
        query = {**self.account, "AFHR_FLPR_YN": "N", "INQR_DVSN": "02"}
        tr_id = "VTTC8434R" if self.mock else "TTTC8434R"
        return self.get(TRADING + "inquire-balance", tr_id, query)

    def approve(self) -> str:
        body = {
            "grant_type": "client_credentials",
            "appkey": self.server["app_key"],
            "secretkey": self.server["app_secret"],
        }
        answer = self.post_raw("/oauth2/Approval", body)
        key: str = answer.json()["approval_key"]
        return key

    def control(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        url = f"{self.server['control_url']}/{path}"
        named = {"authorization": f"Bearer {self.server['control_token']}", **headers}
        if body is None:
            return self.session.get(url, headers=named, timeout=TIMEOUT_S)
        return self.session.post(url, json=body, headers=named, timeout=TIMEOUT_S)


class Listener:
    """A websocket that reads frames and decrypts notices by itself."""

    def __init__(self, caller: Caller, approval: str | None = None) -> None:
        self.caller = caller
        self.approval = caller.approve() if approval is None else approval
        self.socket = websocket.create_connection(
            caller.server["ws_url"] + "/tryitout", timeout=TIMEOUT_S
        )
        self.ciphers: dict[str, Cipher[Any]] = {}

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()
        self.socket.shutdown()

    def send(self, tr_id: str, tr_key: str, tr_type: str = "1") -> None:
        self.socket.send(
            json.dumps(
                {
                    "header": {
                        "approval_key": self.approval,
                        "custtype": "P",
                        "tr_type": tr_type,
                        "content-type": "utf-8",
                    },
                    "body": {"input": {"tr_id": tr_id, "tr_key": tr_key}},
                }
            )
        )

    def subscribe(self, tr_id: str, tr_key: str = SYMBOL) -> dict[str, Any]:
        self.send(tr_id, tr_key)
        answer = self.answer()
        output = answer["body"].get("output")
        if output:
            self.ciphers[tr_id] = Cipher(
                algorithms.AES(output["key"].encode()),
                modes.CBC(output["iv"].encode()),
            )
        return answer

    def notices(self) -> dict[str, Any]:
        tr_id = "H0STCNI9" if self.caller.mock else "H0STCNI0"
        return self.subscribe(tr_id, self.caller.server["hts_id"])

    def answer(self) -> dict[str, Any]:
        """Return the next JSON frame."""
        while True:
            text = self.frame()
            if text.startswith("{"):
                found: dict[str, Any] = json.loads(text)
                return found

    def frame(self) -> str:
        """Return the next frame of any kind."""
        found = self.socket.recv()
        return found if isinstance(found, str) else found.decode()

    def rows(self, tr_id: str, count: int) -> list[list[str]]:
        """Return the next records of a TR, columns apart."""
        found: list[list[str]] = []
        while len(found) < count:
            text = self.frame()
            if text.startswith("{"):
                continue
            encrypted, name, records, payload = text.split("|", 3)
            if name != tr_id:
                continue
            plain = self.decrypt(name, payload) if encrypted == "1" else payload
            values = plain.split("^")
            width = len(values) // int(records)
            found += [values[at : at + width] for at in range(0, len(values), width)]
        return found

    def decrypt(self, tr_id: str, payload: str) -> str:
        decryptor = self.ciphers[tr_id].decryptor()
        padded = decryptor.update(base64.b64decode(payload)) + decryptor.finalize()
        unpadder = padding.PKCS7(128).unpadder()
        return (unpadder.update(padded) + unpadder.finalize()).decode()
