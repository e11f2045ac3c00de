"""Every error kisbt raises.

    KisbtError
    ├─ ConfigError            the user must edit the configuration
    ├─ InputError             a command line argument or file is not usable
    ├─ DataError              candles are missing or broken
    │  ├─ MissingCandles
    │  └─ BadCandle
    ├─ StorageError           a file could not be written; nothing half-written
    ├─ MarketRuleError        refused by exchange rules before anything was sent
    ├─ RiskRefused            refused by the risk guard
    ├─ SafetyRefused          kisbt will not start or do this: halted, not armed, taken
    ├─ KisError               something about a call to KIS
    │  ├─ NotSent             certainly did not leave: safe to retry
    │  ├─ OutcomeUnknown      may have been carried out: never resend an order
    │  │  └─ ForeignReply     something other than KIS answered: ask nothing more of it
    │  ├─ KisRefused          KIS answered no, so nothing happened
    │  │  ├─ RateLimited      may be sent again after `retry_after_s`
    │  │  └─ AuthError        token refused or expired: renew once
    │  └─ WireError           a reply or frame breaks the format
    └─ StrategyError          the user's strategy raised

The class says what the caller can do next. Values are attributes; the message
is for people: what was found, what was expected, what to do.
"""

from typing import Any


class KisbtError(Exception):
    """Base of all errors raised on purpose by kisbt."""


class ConfigError(KisbtError):
    """The configuration is wrong; the user must edit it.

    Attributes:
        path: dotted path of the key, for example ``broker.rules``; "" if none.
        problems: every problem found, one line each; the message is the first.
    """

    def __init__(
        self, message: str, *, path: str = "", problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.path = path
        self.problems = problems or (message,)


class InputError(KisbtError):
    """A command line argument or an input file cannot be used."""


class DataError(KisbtError):
    """Stored or imported candles cannot be used."""


class MissingCandles(DataError):
    """No candles for a symbol, or none in the range asked for."""


class BadCandle(DataError):
    """A row breaks the format.

    Attributes:
        file: path of the file as text, "" if none.
        line: line number counted from 1 (the header is line 1), 0 if unknown.
    """

    def __init__(self, message: str, *, file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


class StorageError(KisbtError):
    """A file could not be written; what was there before is untouched."""


class JournalDamaged(StorageError):
    """What the journal says cannot be believed; it is kept as it is."""


class MarketRuleError(KisbtError):
    """An order breaks an exchange rule; it is never sent.

    Attributes:
        rule: short stable name, for example ``tick``, ``price_limit``, ``cash``,
            ``holding``, ``quantity``, ``phase``, ``order_type``.
    """

    def __init__(self, message: str, *, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


class RiskRefused(KisbtError):
    """The risk guard refused an order.

    Attributes:
        rule: the configuration key that refused, for example ``max_order_pct``.
        limit: the limit in force, in the unit of the rule.
        value: what the order would have made it.
    """

    def __init__(self, message: str, *, rule: str, limit: float, value: float) -> None:
        super().__init__(message)
        self.rule = rule
        self.limit = limit
        self.value = value


class SafetyRefused(KisbtError):
    """kisbt will not do this with an account; the message says what would change that.

    A second instance, a halt in force, live without arming, a journal that cannot be
    believed: the process ends with exit code 3.
    """


class StrategyError(KisbtError):
    """The user's strategy raised; the original error is in ``__cause__``.

    Attributes:
        bar: END time of the bar on which it happened, as text; "" if none.
        details: anything else worth showing.
    """

    def __init__(self, message: str, *, bar: str = "", **details: Any) -> None:
        super().__init__(message)
        self.bar = bar
        self.details = details


class KisError(KisbtError):
    """A call to KIS did not do what was asked.

    Attributes:
        tr_id: transaction id of the call, "" if it has none.
        environment: ``real`` or ``mock``, "" if not known.
    """

    def __init__(self, message: str, *, tr_id: str = "", environment: str = "") -> None:
        super().__init__(message)
        self.tr_id = tr_id
        self.environment = environment


class NotSent(KisError):
    """The request certainly did not leave; sending it again is safe."""


class OutcomeUnknown(KisError):
    """The request may have been carried out: time-out, dropped socket, bad reply.

    An order is never sent again after this; its fate is asked of KIS.
    """


class ForeignReply(OutcomeUnknown):
    """Something other than KIS answered, or it sends us elsewhere.

    Not even a query is repeated: every call carries the keys.
    """


class KisRefused(KisError):
    """KIS answered no, so nothing happened.

    Attributes:
        code: KIS message code, for example ``APBK0952``; see `kisbt errors`.
        reply: KIS's own words, blanks removed.
        http_status: 0 if it came over the websocket.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reply: str = "",
        http_status: int = 0,
        tr_id: str = "",
        environment: str = "",
    ) -> None:
        super().__init__(message, tr_id=tr_id, environment=environment)
        self.code = code
        self.reply = reply
        self.http_status = http_status


class RateLimited(KisRefused):
    """Too many calls; the same request may be sent again later.

    Attributes:
        retry_after_s: seconds to wait before sending again.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reply: str = "",
        http_status: int = 0,
        tr_id: str = "",
        environment: str = "",
        retry_after_s: float = 1.0,
    ) -> None:
        super().__init__(
            message,
            code=code,
            reply=reply,
            http_status=http_status,
            tr_id=tr_id,
            environment=environment,
        )
        self.retry_after_s = retry_after_s


class AuthError(KisRefused):
    """The token was refused or has expired; renew it once, then give up."""


class WireError(KisError):
    """A reply or frame breaks the format; nothing in it is believed.

    Attributes:
        payload: the offending text, cut short, secrets masked.
    """

    def __init__(
        self,
        message: str,
        *,
        payload: str = "",
        tr_id: str = "",
        environment: str = "",
    ) -> None:
        super().__init__(message, tr_id=tr_id, environment=environment)
        self.payload = payload
