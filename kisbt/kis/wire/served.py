"""What only a server says: refusals of the gateway and of the order desk.

Source:
    Portal error list and public client logs up to 2026-10; codes whose text is not
    known carry the nearest known one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kisbt.kis.wire import auth, fields as f
from kisbt.kis.wire.rest import WireReply


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal as it goes out."""

    code: str
    text: str
    status: int = 200
    result: str = f.REFUSED


def _gateway(code: str, text: str, status: int = 500) -> Refused:
    return Refused(code, text, status)


RATE: Final = _gateway("EGW00201", "초당 거래건수를 초과하였습니다.")
TOKEN_EXPIRED: Final = _gateway("EGW00123", "기간이 만료된 token 입니다.")
TOKEN_INVALID: Final = _gateway("EGW00121", "유효하지 않은 token 입니다.")
NO_BEARER: Final = _gateway("EGW00205", "credentials_type이 유효하지 않습니다.(Bearer)")
NO_KEY: Final = _gateway("EGW00102", "AppKey는 필수입니다.", 403)
BAD_KEY: Final = _gateway("EGW00103", "유효하지 않은 AppKey입니다.", 403)
NO_SECRET: Final = _gateway("EGW00104", "AppSecret은 필수입니다.", 403)
BAD_SECRET: Final = _gateway("EGW00105", "유효하지 않은 AppSecret입니다.", 403)
NO_GRANT: Final = _gateway("EGW00115", "grant_type이 없습니다.", 403)
BAD_GRANT: Final = _gateway("EGW00116", "지원하지 않는 grant_type입니다.", 403)
TOO_SOON: Final = _gateway(
    "EGW00133", "접근토큰 발급 잠시 후 다시 시도하세요(1분당 1회)", 403
)
BAD_REQUEST: Final = _gateway("EGW00101", "유효하지 않은 요청입니다.")
BAD_CUSTOMER: Final = _gateway("EGW00208", "유효하지 않은 custtype입니다.")
NO_SERVICE: Final = _gateway("OPSQ0002", "없는 서비스 코드 입니다.")
BAD_ACCOUNT: Final = Refused("OPSQ2000", "ERROR : INPUT INVALID_CHECK_ACNO")
BAD_FIELD: Final = Refused("OPSQ2001", "ERROR : INPUT FIELD NOT FOUND")
BAD_BODY: Final = _gateway("IGW00007", "MCA 전문바디 구성 중 오류가 발생하였습니다.")
BAD_JSON: Final = _gateway("OPSQ9995", "JSON PARSING ERROR : BODY")
CHANGED: Final = Refused("KIOK0530", "조회 후 자료가 변경되었습니다. 재조회 하십시오.")
SERVER_ERROR: Final = _gateway("EGW00002", "서버 에러가 발생했습니다.")

_MOCK_ORDER: Final[Mapping[str, tuple[str, str]]] = {
    "before_open": ("40570000", "모의투자 장시작전 입니다."),
    "closed": ("40580000", "모의투자 장종료 입니다."),
    "holiday": ("40100000", "모의투자 영업일이 아닙니다."),
    "cash": ("40250000", "모의투자 주문가능금액이 부족합니다."),
    "holding": ("40240000", "모의투자 잔고내역이 없습니다."),
    "tick": ("40030000", "모의투자 주문처리가 안되었습니다(호가단위 오류)"),
    "price_limit": ("40030000", "모의투자 주문처리가 안되었습니다(상하한가 오류)"),
    "price": ("40030000", "모의투자 주문처리가 안되었습니다(주문단가 오류)"),
    "quantity": ("40030000", "모의투자 주문처리가 안되었습니다(주문수량 오류)"),
    "symbol": ("40070000", "모의투자 주문처리가 안되었습니다(매매불가 종목)"),
    "order_type": ("90000000", "모의투자에서는 해당업무가 제공되지 않습니다."),
    "venue": ("90000000", "모의투자에서는 해당업무가 제공되지 않습니다."),
    "no_original": ("40320000", "모의투자 원주문번호가 존재하지 않습니다."),
    "nothing_left": ("40330000", "모의투자 정정/취소할 수량이 없습니다."),
}
_REAL_ORDER: Final[Mapping[str, tuple[str, str]]] = {
    "before_open": ("APBK0918", "장운영시간이 아닙니다."),
    "closed": ("APBK0918", "장운영시간이 아닙니다."),
    "holiday": ("APBK0919", "장운영일자를 확인하십시오."),
    "cash": ("APBK0952", "주문가능금액을 초과 했습니다"),
    "holding": ("APBK0400", "주문 가능한 수량을 초과했습니다."),
    "tick": ("APBK0506", "호가단위를 확인하십시오."),
    "price_limit": ("APBK0506", "상하한가를 벗어난 가격입니다."),
    "price": ("APBK0506", "주문단가를 확인하십시오."),
    "quantity": ("APBK0986", "주문수량을 확인하십시오."),
    "symbol": ("APBK0656", "해당종목정보가 없습니다."),
    "no_original": ("APBK0344", "원주문정보가 존재하지 않습니다."),
    "nothing_left": (
        "APBK0344",
        "원주문정보가 존재하지 않습니다.(정정취소가능수량 없음)",
    ),
}


def order_refusal(reason: str, *, mock: bool) -> Refused:
    """Return how an order is refused.

    Args:
        reason: short name, such as ``cash`` or ``tick``.
        mock: the practice server's codes; real accounts answer others.
    """
    if mock:
        return Refused(*_MOCK_ORDER[reason])
    known = _REAL_ORDER.get(reason)
    # An order type the venue does not take: no body can be built for it.
    return BAD_BODY if known is None else Refused(*known, result=f.REFUSED_REAL)


def token_refusal(refused: Refused) -> WireReply:
    """Return a refusal of the token end, whose form is its own."""
    body = auth.token_refusal(refused.code, refused.text)
    return WireReply(status=403, headers={"Content-Type": f.FORM}, body=body)
