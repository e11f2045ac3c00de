"""KIS's message codes explained: the cause, what to do, whether to send again.

The same code is sometimes seen with different words, and new codes appear; when the
words say more than the code, `explain_words` reads them.

Source:
    Portal error list; public client logs up to 2026-10; what may be sent again:
    `wire.codes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kisbt.kis.wire.codes import NOTHING_LEFT, RETRY, WRONG_ACCOUNT, Retry
from kisbt.text import _


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a code means to the one who got it.

    Attributes:
        family: where it comes from, for people.
        cause, action: sentences in the language in force.
        repeat: whether the same request may be sent again, a sentence.
        safe: it may be sent again as it is, an order too.
    """

    code: str
    family: str
    cause: str
    action: str
    repeat: str
    safe: bool


def known_codes() -> tuple[str, ...]:
    """Return every code that has an explanation, sorted."""
    return tuple(sorted(RETRY))


def explain_code(code: str) -> Explanation | None:
    """Return what a code means; None if it is not known."""
    found = code.strip().upper()
    retry = RETRY.get(found)
    if retry is None:
        return None
    cause, action = _texts()[found]
    return Explanation(
        code=found,
        family=_family(found),
        cause=cause,
        action=action,
        repeat=_repeat(retry),
        safe=retry in _SAFE,
    )


def nothing_left(code: str) -> bool:
    """Return whether a code refuses to cancel because nothing works any more."""
    return code in NOTHING_LEFT


def wrong_account(code: str) -> bool:
    """Return whether a code says that the account is not one of the app key's."""
    return code in WRONG_ACCOUNT


def explain_words(text: str) -> str:
    """Return what to do about KIS's own words; "" when they say nothing known."""
    return next((advice for words, advice in _by_words() if words in text), "")


_SAFE = frozenset({Retry.SAFE, Retry.THROTTLED, Retry.RENEW})


def _family(code: str) -> str:
    if code.startswith("OPSP"):
        return _("websocket")
    if code.startswith(("EGW", "IGW")):
        return _("gateway")
    if code.startswith(("OPSQ", "MCA")):
        return _("query server")
    return _("practice account (mock)") if code.isdigit() else _("real account")


def _repeat(retry: Retry) -> str:
    sentences = {
        Retry.DONE: _("no failure: nothing to repeat"),
        Retry.SAFE: _("yes, after a wait; nothing was carried out"),
        Retry.THROTTLED: _("yes, after a wait; nothing was carried out"),
        Retry.RENEW: _("yes, once, with a new token; nothing was carried out"),
        Retry.QUERY_FIRST: _(
            "a query yes; an order only after a look at today's orders shows that it "
            "is not there"
        ),
        Retry.LATER: _("not now; later it may be accepted"),
        Retry.NO: _("no; the request must be changed first"),
    }
    return sentences[retry]


def _texts() -> Mapping[str, tuple[str, str]]:
    """Return code to cause and action, in the language in force."""
    return {
        **_gateway(),
        **_query_server(),
        **_accepted(),
        **_mock_refusals(),
        **_real_refusals(),
        **_websocket(),
    }


def _gateway() -> dict[str, tuple[str, str]]:
    wait = _("Wait a moment; kisbt repeats queries by itself.")
    keys = _("Check the keys with `kisbt keys ls`; add them again if in doubt.")
    report = _("kisbt builds this itself: report it with the log.")
    look = _("Look at today's orders before sending an order again.")
    return {
        "EGW00001": (_("A temporary error of the gateway."), wait),
        "EGW00002": (_("An error inside the server."), look),
        "EGW00003": (_("Access was denied."), keys),
        "EGW00004": (
            _("The customer may not use this service."),
            _("Apply for Open API at the broker, or use an account that has it."),
        ),
        "EGW00101": (_("The request is not valid."), report),
        "EGW00102": (_("The app key is missing."), keys),
        "EGW00103": (
            _("The app key is not valid, or belongs to the other server."),
            keys,
        ),
        "EGW00104": (_("The app secret is missing."), keys),
        "EGW00105": (
            _("The app secret is not valid, or belongs to the other server."),
            keys,
        ),
        "EGW00112": (_("The kind of grant is not valid."), report),
        "EGW00115": (_("The kind of grant is missing."), report),
        "EGW00116": (_("The kind of grant is not supported."), report),
        "EGW00121": (
            _("The token is not valid: revoked, or of the other server."),
            _("kisbt gets a new one and repeats the call once."),
        ),
        "EGW00122": (
            _("The token was not found."),
            _("kisbt gets a new one and repeats the call once."),
        ),
        "EGW00123": (
            _("The token has expired."),
            _("kisbt gets a new one and repeats the call once."),
        ),
        "EGW00131": (_("The hash key is not valid."), report),
        "EGW00132": (_("The content type is not valid."), report),
        "EGW00133": (
            _("Only one token a minute is issued."),
            _(
                "Wait a minute. Let programs share one token: kisbt keeps it in a file "
                "for all of them."
            ),
        ),
        "EGW00201": (
            _("More calls in a second than the server allows."),
            _("kisbt slows down by itself; stop other programs that use this key."),
        ),
        "EGW00215": (
            _("More calls to the ledger in a second than it allows."),
            _("kisbt slows down by itself; stop other programs that use this key."),
        ),
        "EGW00202": (_("The gateway could not pass the request on."), look),
        "EGW00203": (_("The server behind the gateway could not be reached."), look),
        "EGW00204": (_("The request reached the wrong gateway."), report),
        "EGW00205": (_("The token was sent in the wrong form."), report),
        "EGW00206": (
            _("The customer may not use this call."),
            _("Ask the broker; some calls need another kind of account."),
        ),
        "EGW00207": (_("The IP address is missing or not valid."), report),
        "EGW00208": (_("The kind of customer is not valid."), report),
        "EGW00209": (_("The sequence number is not valid."), report),
        "EGW00210": (
            _("A company cannot use the practice server."),
            _("Use the keys of a person."),
        ),
        "EGW00213": (
            _("This call is not one of the practice server."),
            _("Use real keys for it, or do without: kisbt knows what replaces it."),
        ),
        "EGW00300": (_("The gateway could not pass the request on."), look),
        "EGW00301": (_("The connection to the broker's core timed out."), look),
        "EGW00302": (_("The transaction timed out at the broker."), look),
        "EGW00303": (
            _("This IP address is not allowed."),
            _("Register it at the broker."),
        ),
        "EGW00304": (_("The customer's secret is not valid."), keys),
        "IGW00007": (
            _("The order could not be built from the fields sent."),
            _("A price must be whole won, and every field must be there: report it."),
        ),
        "IGW00009": (_("The answer could not be built."), look),
    }


def _query_server() -> dict[str, tuple[str, str]]:
    report = _("kisbt builds this itself: report it with the log.")
    look = _("Look at today's orders before sending an order again.")
    later = _("Try again later.")
    transport = (_("An error behind the query server."), look)
    parse = (_("The request could not be read."), report)
    return {
        "OPSQ0001": (_("The request failed before it was passed on."), report),
        "OPSQ0002": (
            _("There is no such call here; usual for a real-only call on mock."),
            _("Use real keys for it, or do without: kisbt knows what replaces it."),
        ),
        "OPSQ0003": (_("The call failed."), look),
        **dict.fromkeys((f"OPSQ000{digit}" for digit in "456789"), transport),
        "OPSQ0010": (_("The server is short of resources."), later),
        "OPSQ1002": (_("The session could not be connected."), later),
        "OPSQ2000": (
            _("The account number is wrong, or the keys belong to another account."),
            _("Compare the account number with the one the keys were issued for."),
        ),
        "OPSQ2001": (_("A field of the query is missing or not valid."), report),
        "OPSQ2002": (_("A field of the query has the wrong length."), report),
        **dict.fromkeys((f"OPSQ999{digit}" for digit in "56789"), parse),
        "MCA05918": (
            _("The code of a symbol or a search condition is wrong."),
            _("Check the code."),
        ),
    }


def _accepted() -> dict[str, tuple[str, str]]:
    nothing = _("Nothing to do.")
    query = (_("The query was answered."), nothing)
    return {
        **dict.fromkeys(("MCA00000", "KIOK0510", "KIOK0530", "20310000"), query),
        "KIOK0560": (_("There are no more rows."), nothing),
        "70070000": (
            _("There are no rows."),
            _(
                "On mock the order query may be empty although there were orders; kisbt "
                "then goes by notices and the balance."
            ),
        ),
        "APBK0013": (
            _("The order was passed on; it is not filled yet."),
            _("Wait for the fill, or look at today's orders."),
        ),
        "40600000": (_("The practice purchase was accepted."), nothing),
        "40590000": (_("The practice sale was accepted."), nothing),
        "40620000": (_("The practice amendment was accepted."), nothing),
        "40630000": (_("The practice cancellation was accepted."), nothing),
    }


def _mock_refusals() -> dict[str, tuple[str, str]]:
    return {
        "40570000": (
            _("The market has not opened yet."),
            _("Send it from 09:00 on; mock takes no orders before."),
        ),
        "40580000": (
            _("The market has closed."),
            _("Send it in the next session; mock takes no orders after 15:30."),
        ),
        "40100000": (
            _("Today is no trading day."),
            _("Send it on the next trading day."),
        ),
        "40240000": (
            _("The account holds nothing to sell, or mock has not noticed it yet."),
            _("Wait some seconds after a purchase and look at the balance."),
        ),
        "40250000": (
            _("There is not enough money to order with."),
            _("Order less; market orders are checked at the upper limit price."),
        ),
        "40330000": (
            _("Nothing is left to amend or cancel: filled or cancelled already."),
            _("Look at today's orders."),
        ),
        "40320000": (
            _("The order to change does not exist, or is of an earlier day."),
            _("Look at today's orders."),
        ),
        "40030000": (
            _("The price is not on the price grid."),
            _("Round it to a tick; see `kisbt rules`."),
        ),
        "40070000": (
            _("This symbol cannot be traded on mock."),
            _("Take another symbol, or the emulator."),
        ),
        "90000000": (
            _("This service is not offered on mock."),
            _("Use real keys for it, or do without: kisbt knows what replaces it."),
        ),
        "40310000": (
            _("Not clear; one source says that there is nothing to show."),
            _("Read KIS's own words beside the code."),
        ),
    }


def _real_refusals() -> dict[str, tuple[str, str]]:
    hours = _("Send it while the market is open; see `kisbt rules`.")
    orders = _("Look at today's orders.")
    return {
        "APBK0952": (
            _("There is not enough money to order with."),
            _("Order less; market orders are checked at the upper limit price."),
        ),
        "APBK0400": (
            _("More shares than can be ordered, or than are held and free."),
            _("Read the sellable quantity again; working orders tie shares up."),
        ),
        "APBK0506": (
            _("The price is not on the price grid."),
            _("Round it to a tick; see `kisbt rules`."),
        ),
        "APBK0918": (
            _("The market is not open; read KIS's own words beside the code."),
            hours,
        ),
        "APBK0919": (
            _("It is not the date or the time at which orders are taken."),
            hours,
        ),
        "APBK0656": (_("The symbol is not known."), _("Check the code.")),
        "APBK1664": (_("The overseas market is not open."), hours),
        "APBK0344": (
            _(
                "The order to change was not found: filled, cancelled, or at another "
                "venue."
            ),
            orders,
        ),
        "APBK0927": (_("Nothing is left to amend or cancel."), orders),
        "APBK0986": (_("The quantity is wrong."), _("Check the quantity.")),
        "APBK1271": (
            _("The product code of the account does not match."),
            _("Check the last two digits of the account number."),
        ),
        "APAC0489": (
            _("This call is for consigned accounts only."),
            _("Use another account."),
        ),
        "APAM3099": (_("The market is closed, by one source."), hours),
        "KIOK0320": (_("Outside of service hours, by one source."), hours),
    }


def _websocket() -> dict[str, tuple[str, str]]:
    nothing = _("Nothing to do.")
    report = _("kisbt builds this itself: report it with the log.")
    backoff = _("kisbt waits and registers again.")
    keys = _("Check the keys with `kisbt keys ls`; add them again if in doubt.")
    parse = (_("The frame could not be read."), report)
    return {
        "OPSP0000": (_("The subscription stands."), nothing),
        "OPSP0001": (_("The subscription was ended."), nothing),
        "OPSP0002": (_("The subscription stood already."), nothing),
        "OPSP0003": (_("There was no such subscription to end."), nothing),
        "OPSP0007": (_("The server could not subscribe."), backoff),
        "OPSP0008": (
            _("More than 41 subscriptions in one session."),
            _("Watch fewer symbols; notices take one place."),
        ),
        "OPSP0009": (_("The server could not pass the subscription on."), backoff),
        "OPSP0010": (_("The app key is not valid."), keys),
        "OPSP0011": (
            _("The approval key is not known, or of the other server."),
            _("kisbt gets a new one once, then waits."),
        ),
        "OPSP0017": (
            _("The HTS id is wrong."),
            _("Enter the login id of the HTS with `kisbt keys add`; capitals count."),
        ),
        "OPSP8991": (_("The TR id is not valid."), report),
        "OPSP8992": (_("The symbol or HTS id is not valid."), _("Check the symbol.")),
        "OPSP8993": (_("The symbol or HTS id could not be read."), report),
        "OPSP8994": (_("The personal secret is missing."), report),
        "OPSP8995": (_("The app secret is missing."), report),
        "OPSP8996": (
            _("The app key has a session already, or its last one was cut off."),
            _(
                "Stop other programs that use this key. After a cut the place stays "
                "taken for seconds to hours; kisbt waits and does not fight for it."
            ),
        ),
        "OPSP8997": (_("Neither registering nor unregistering was asked."), report),
        "OPSP8998": (_("The kind of customer is not valid."), report),
        "OPSP8999": (_("The server is short of resources."), _("Try again later.")),
        **dict.fromkeys((f"OPSP999{digit}" for digit in "0123456789"), parse),
        "OPSP9994": (_("The app key in the frame is not valid."), keys),
    }


def _by_words() -> tuple[tuple[str, str], ...]:
    """Return words of refusals, Korean as KIS writes them, and what to do."""
    grid = _("Round the price to a tick; see `kisbt rules`.")
    hours = _("Send it while the market is open; see `kisbt rules`.")
    return (
        ("상하한가", _("The price is outside of the daily limits.")),
        ("시장가매매불가", _("Market orders are not taken now: send a limit order.")),
        ("호가단위", grid),
        ("장운영", hours),
        ("장시작전", hours),
        ("장종료", hours),
        ("영업일이 아닙니다", _("Today is no trading day.")),
        ("주문가능금액", _("There is not enough money: order less.")),
        ("주문 가능한 수량", _("Read the sellable quantity again.")),
        ("잔고내역이 없습니다", _("There is nothing to sell.")),
        ("원주문", _("The order to change was not found: look at today's orders.")),
    )
