"""What each message code says about sending again; explained in `kis.messages`.

Source:
    Portal error list; public client logs up to 2026-10. Codes are classified by what
    a careful client may do next, not by their official section.
"""

from enum import StrEnum
from typing import Final


class Retry(StrEnum):
    """What may be done after a code."""

    DONE = "done"
    """No failure."""
    SAFE = "safe"
    """Nothing was carried out: the same request may be sent again after a wait."""
    THROTTLED = "throttled"
    """Too many calls: wait, then send again."""
    RENEW = "renew"
    """The token is refused: renew it once, then send again."""
    QUERY_FIRST = "query_first"
    """It may have been carried out: look before sending an order again."""
    LATER = "later"
    """Refused now; may be accepted at another time."""
    NO = "no"
    """Refused; the request must be changed."""


def _codes(retry: Retry, text: str) -> dict[str, Retry]:
    return dict.fromkeys(text.split(), retry)


RETRY: Final[dict[str, Retry]] = {
    **_codes(
        Retry.DONE,
        "MCA00000 KIOK0510 KIOK0530 KIOK0560 APBK0013 40600000 40590000 40620000 "
        "40630000 20310000 70070000 OPSP0000 OPSP0001 OPSP0002",
    ),
    **_codes(Retry.THROTTLED, "EGW00201 EGW00215"),
    **_codes(Retry.RENEW, "EGW00121 EGW00122 EGW00123"),
    # Refused before anything was carried out; the token end and the stream too.
    **_codes(
        Retry.SAFE,
        "EGW00133 OPSQ0010 OPSQ1002 OPSP0007 OPSP0008 OPSP0009 OPSP0011 OPSP8996 "
        "OPSP8999",
    ),
    **_codes(
        Retry.QUERY_FIRST,
        "EGW00001 EGW00002 EGW00202 EGW00203 EGW00300 EGW00301 EGW00302 IGW00009 "
        "OPSQ0003 OPSQ0004 OPSQ0005 OPSQ0006 OPSQ0007 OPSQ0008 OPSQ0009",
    ),
    **_codes(
        Retry.LATER,
        "40570000 40580000 40100000 40240000 APBK0918 APBK0919 APBK1664 APAM3099 "
        "KIOK0320",
    ),
    **_codes(
        Retry.NO,
        "EGW00003 EGW00004 EGW00101 EGW00102 EGW00103 EGW00104 EGW00105 EGW00112 "
        "EGW00115 EGW00116 EGW00131 EGW00132 EGW00204 EGW00205 EGW00206 EGW00207 "
        "EGW00208 EGW00209 EGW00210 EGW00213 EGW00303 EGW00304 IGW00007 OPSQ0001 "
        "OPSQ0002 OPSQ2000 OPSQ2001 OPSQ2002 OPSQ9995 OPSQ9996 OPSQ9997 OPSQ9998 "
        "OPSQ9999 MCA05918 40250000 40330000 40320000 40030000 40070000 90000000 "
        "40310000 APBK0952 APBK0400 APBK0506 APBK0656 APBK0344 APBK0927 APBK0986 "
        "APBK1271 APAC0489 OPSP0003 OPSP0010 OPSP0017 OPSP8991 OPSP8992 OPSP8993 "
        "OPSP8994 OPSP8995 OPSP8997 OPSP8998 OPSP9990 OPSP9991 OPSP9992 OPSP9993 "
        "OPSP9994 OPSP9995 OPSP9996 OPSP9997 OPSP9998 OPSP9999",
    ),
}
"""Message code to what may be done next; a code that is not here is unknown."""

WAIT_S: Final = {
    "EGW00201": 0.5,
    "EGW00215": 1.0,
    "EGW00133": 61.0,
    "EGW00001": 1.0,
}
"""Seconds to wait before sending again, where KIS's limits tell it."""

ONE_TOKEN_A_MINUTE: Final = "EGW00133"
NOTHING_LEFT: Final = frozenset({"40330000", "40320000", "APBK0344", "APBK0927"})
"""Answers to a cancellation of an order that works no more (or never did)."""
WRONG_ACCOUNT: Final = frozenset({"OPSQ2000", "APBK1271"})
"""The account, or its product code, is not one of the app key's."""
NOT_ON_MOCK: Final = frozenset({"OPSQ0002", "90000000"})
NO_ROWS: Final = "70070000"

# Answers of success by who asks. Source: public client logs, portal examples.
QUOTATION_DONE: Final = ("MCA00000", "정상처리 되었습니다.")
REAL_QUERY_DONE: Final = ("KIOK0510", "조회가 완료되었습니다")
MOCK_QUERY_DONE: Final = ("20310000", "모의투자 조회가 완료되었습니다.")
MOCK_NO_ROWS: Final = (NO_ROWS, "모의투자 조회할 내역(자료)이 없습니다.")
REAL_ORDER_DONE: Final = ("APBK0013", "주문 전송 완료 되었습니다.")
MOCK_ORDER_DONE: Final = {
    "buy": ("40600000", "모의투자 매수주문이 완료 되었습니다."),
    "sell": ("40590000", "모의투자 매도주문이 완료 되었습니다."),
    "amend": ("40620000", "모의투자 정정주문이 완료 되었습니다."),
    "cancel": ("40630000", "모의투자 취소주문이 완료 되었습니다."),
}

# The broker says that its data changed between two pages. The code is not known,
# so it is told by its words. Source: open-trading-api issue 42.
_CHANGED: Final = ("자료가 변경", "데이터가 변경", "재조회")


def data_changed(text: str) -> bool:
    """Return whether the words say that a paged query must start again."""
    return any(words in text for words in _CHANGED)
