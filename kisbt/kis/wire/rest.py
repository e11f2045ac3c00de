"""Values to requests and answers to values, and both ways back for a server.

A call is described once, as data: `RestCall` says which attribute of a request or an
answer stands in which field. The client encodes requests and decodes answers with
it, the emulator decodes requests and encodes answers.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast

from kisbt.errors import (
    AuthError,
    KisRefused,
    OutcomeUnknown,
    RateLimited,
    WireError,
)
from kisbt.kis.wire import fields as f
from kisbt.kis.wire.codes import (
    MOCK_QUERY_DONE,
    QUOTATION_DONE,
    REAL_ORDER_DONE,
    REAL_QUERY_DONE,
    RETRY,
    WAIT_S,
    Retry,
)
from kisbt.kis.wire.endpoints import ALL, ENDPOINTS, Area, Endpoint, Method, Paging
from kisbt.kis.wire.requests import FIRST_PAGE, Continuation
from kisbt.kis.wire.texts import TextCodec, sign_code
from kisbt.model.account import Account, Environment
from kisbt.text import _

Req = TypeVar("Req")
Res = TypeVar("Res")

_SHOWN: Final = 60
"""Characters of an offending value that an error may show."""

# Keys a server does without although the tables demand them: old clients do not
# send them (the venue came in 2025), and the first page needs no position.
_FORGIVEN: Final = frozenset(
    {
        "EXCG_ID_DVSN_CD",
        "CTX_AREA_FK100",
        "CTX_AREA_NK100",
        "CTX_AREA_FK",
        "CTX_AREA_NK",
        "ORD_GNO_BRNO",
        "KRX_FWDG_ORD_ORGNO",
    }
)

_CONTINUATION: Final = {
    Paging.KEYS_100: ("ctx_area_fk100", "ctx_area_nk100", 100),
    Paging.KEYS: ("ctx_area_fk", "ctx_area_nk", 20),
}
"""Fields of the position of the next page, and the width they are padded to."""


class _Needed:
    """Marks a parameter that has no default."""


_NEEDED: Final = _Needed()


@dataclass(frozen=True, slots=True)
class Param:
    """One attribute of a request and the key that carries it.

    Attributes:
        default: what a server takes for a blank or missing key; without one the key
            must hold a value.
    """

    attr: str
    key: str
    text: TextCodec
    default: object = _NEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMap:
    """How a request value becomes keys.

    Attributes:
        value: class of the request.
        fixed: keys kisbt always sends with the same text; others blank.
        account: the request has an `account`, sent in two keys.
        variant: attribute that chooses the TR id, "" when there is one.
        variants: value of that attribute by variant.
        omitted: keys left out when blank.
        write, read: in place of `params`, for a call whose keys are numbered.
    """

    value: type
    params: tuple[Param, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    account: bool = False
    variant: str = ""
    variants: Mapping[str, object] = field(default_factory=dict)
    omitted: frozenset[str] = frozenset()
    write: Callable[[Any], Mapping[str, str]] | None = None
    read: Callable[[Mapping[str, str]], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Bind:
    """One attribute of an answer and the field that carries it.

    Attributes:
        aliases: other spellings; the first that is neither blank nor zero counts.
        sign: field whose code tells whether the number is a fall; "" without one.
    """

    attr: str
    name: str
    text: TextCodec
    aliases: tuple[str, ...] = ()
    sign: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockMap:
    """How a block of an answer becomes a value, or a tuple of values.

    Attributes:
        value: class of one row, or ``dict``.
        attr: of the whole answer; "" when this block is the answer.
        constants: texts a server writes into fields no attribute stands for.
        single: the block is a list of which the only row counts.
        skip_without: a row without this field is no row (KIS pads short lists with
            empty objects).
        other_names: names under which other sources show the block.
    """

    value: Callable[..., Any]
    binds: tuple[Bind, ...]
    attr: str = ""
    constants: Mapping[str, str] = field(default_factory=dict)
    single: bool = False
    skip_without: str = ""
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)  # slots and a subscripted class do not mix
class RestCall(Generic[Req, Res]):
    """A call as data.

    Attributes:
        name: of its endpoint.
        blocks: in the order of the endpoint's tables.
        result: class of the answer when it has several blocks, or what joins them;
            None for one block.
        split: answer to the values of its blocks by name; None where those are its
            attributes.
    """

    name: str
    request: RequestMap
    blocks: tuple[BlockMap, ...]
    result: Callable[..., Any] | None = None
    split: Callable[[Any], Mapping[str, Any]] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where it goes."""
        return ENDPOINTS[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """A request without keys and token: those are the transport's.

    Attributes:
        body: None for a GET.
    """

    method: Method
    path: str
    tr_id: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(repr=False)
    body: Mapping[str, str] | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Generic[Res]):
    """An answer of success.

    Attributes:
        more: another page follows, from `position` on.
        code, text: KIS's message, blanks removed.
        unknown: names of fields that are in no table, sorted.
    """

    value: Res
    more: bool
    position: Continuation
    code: str
    text: str
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireReply:
    """An answer as a server sends it."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]


# --- the client's side ---------------------------------------------------------


def encode_request(
    call: RestCall[Req, Res],
    request: Req,
    *,
    environment: Environment,
    position: Continuation | None = None,
) -> WireRequest:
    """Return `request` as it is sent.

    Args:
        position: of the page wanted; None for the first.

    Raises:
        KisRefused: `environment` does not offer the call (code ``OPSQ0002``).
    """
    endpoint = call.endpoint
    tr_id = endpoint.tr_ids(environment).get(_variant_of(call, request), "")
    if not tr_id:
        raise KisRefused(
            _("{call} is not offered by the {environment} server").format(
                call=call.name, environment=environment
            ),
            code="OPSQ0002",
            environment=str(environment),
        )
    texts = request_texts(call, request)
    where = position or FIRST_PAGE
    search, key, _width = _CONTINUATION.get(endpoint.paging, ("", "", 0))
    if search:
        texts |= {search.upper(): where.search, key.upper(): where.key}
    is_post = endpoint.method is Method.POST
    return WireRequest(
        method=endpoint.method,
        path=endpoint.path,
        tr_id=tr_id,
        headers={
            f.H_TR_ID: tr_id,
            f.H_TR_CONT: f.NEXT_PAGE if position is not None else "",
            f.H_CUSTOMER: f.PERSON,
        },
        query={} if is_post else texts,
        body=texts if is_post else None,
    )


def _variant_of(call: RestCall[Req, Res], request: Req) -> str:
    mapping = call.request
    if not mapping.variant:
        return ALL
    wanted = getattr(request, mapping.variant)
    return next(name for name, value in mapping.variants.items() if value == wanted)


def request_texts(call: RestCall[Req, Res], request: Req) -> dict[str, str]:
    """Return the keys of `request` in the order of the tables, all of them."""
    mapping = call.request
    if mapping.write is not None:
        return dict(mapping.write(request))
    found = dict(mapping.fixed)
    for param in mapping.params:
        value = getattr(request, param.attr)
        if value is not None:
            found[param.key] = param.text.format(value)
    if mapping.account:
        account = cast("Any", request).account
        found[f.ACCOUNT_NUMBER] = account.number
        found[f.ACCOUNT_PRODUCT] = account.product
    names = [key.name for key in call.endpoint.fields.request]
    return {
        name: found.get(name, "")
        for name in names
        if found.get(name) or name not in mapping.omitted
    }


def decode_reply(
    call: RestCall[Req, Res],
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes | str,
    environment: Environment,
    tr_id: str = "",
) -> Reply[Res]:
    """Return the value of an answer.

    Raises:
        RateLimited: too many calls; nothing happened.
        AuthError: the token is refused; nothing happened.
        KisRefused: KIS said no; nothing happened.
        OutcomeUnknown: no KIS answer at all; or, for an order, an answer from which
            its fate cannot be told (unknown code, success without a number).
        WireError: a query's answer breaks the format.
    """
    where = {"tr_id": tr_id, "environment": str(environment)}
    content = parse_body(body, status=status, **where)
    is_order = call.endpoint.area is Area.ORDER
    raise_refusal(content, status=status, is_order=is_order, **where)
    lower = {name.lower(): value for name, value in content.items()}
    if f.RESULT_CODE not in lower or not 200 <= status < 300:
        raise OutcomeUnknown(
            _("HTTP {status} without an answer of KIS; its fate is not known").format(
                status=status
            ),
            **where,
        )
    unknown: set[str] = set()
    try:
        value = _decode_value(call, lower, unknown)
    except ValueError as error:
        text = _("answer of {call} breaks the format: {error}").format(
            call=call.name, error=error
        )
        if is_order:
            raise OutcomeUnknown(text, **where) from error
        raise WireError(text, payload=str(error), **where) from error
    search, key, _width = _CONTINUATION.get(call.endpoint.paging, ("", "", 0))
    marks = {name.lower(): value for name, value in headers.items()}
    return Reply(
        value=value,
        more=bool(search) and marks.get(f.H_TR_CONT, "").strip() in f.MORE_PAGES,
        position=Continuation(_raw(lower.get(search)), _raw(lower.get(key))),
        code=_raw(lower.get(f.MESSAGE_CODE)).strip(),
        text=_raw(lower.get(f.MESSAGE_TEXT)).strip(),
        unknown=tuple(sorted(unknown)),
    )


def parse_body(
    body: bytes | str, *, status: int, tr_id: str = "", environment: str = ""
) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        OutcomeUnknown: it is none, as when a proxy answers instead of KIS.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OutcomeUnknown(
            _(
                "HTTP {status}: the reply is not one of KIS (no JSON); its fate is not "
                "known"
            ).format(status=status),
            tr_id=tr_id,
            environment=environment,
        ) from error
    if not isinstance(content, dict):
        raise OutcomeUnknown(
            _("HTTP {status}: the reply is no JSON object").format(status=status),
            tr_id=tr_id,
            environment=environment,
        )
    return content


def raise_refusal(
    content: Mapping[str, Any],
    *,
    status: int,
    is_order: bool,
    tr_id: str = "",
    environment: str = "",
) -> None:
    """Raise the error an answer stands for; return if it is no refusal.

    A refused order whose code is not known, or is known to leave its fate open,
    counts as unknown: it is never sent again.

    Raises:
        RateLimited: too many calls.
        AuthError: the token is refused.
        KisRefused: any other refusal.
        OutcomeUnknown: an order whose fate the code leaves open.
    """
    lower = {name.lower(): value for name, value in content.items()}
    code = _raw(lower.get(f.MESSAGE_CODE)).strip()
    text = _raw(lower.get(f.MESSAGE_TEXT)).strip()
    if f.RESULT_CODE in lower:
        if _raw(lower[f.RESULT_CODE]).strip() == f.SUCCESS:
            return
    elif f.TOKEN_ERROR_CODE in lower:
        code = _raw(lower[f.TOKEN_ERROR_CODE]).strip()
        text = _raw(lower.get(f.TOKEN_ERROR_TEXT)).strip()
    else:
        return
    message = _("KIS refused: {code} {text}").format(code=code, text=text[:200])
    retry = RETRY.get(code)
    if is_order and retry in {None, Retry.QUERY_FIRST, Retry.DONE}:
        raise OutcomeUnknown(
            _("{message} (the fate of the order is not known)").format(message=message),
            tr_id=tr_id,
            environment=environment,
        )
    common = {
        "code": code,
        "reply": text,
        "http_status": status,
        "tr_id": tr_id,
        "environment": environment,
    }
    if retry is Retry.THROTTLED:
        raise RateLimited(message, retry_after_s=WAIT_S.get(code, 1.0), **common)  # type: ignore[arg-type]
    if retry is Retry.RENEW:
        raise AuthError(message, **common)  # type: ignore[arg-type]
    raise KisRefused(message, **common)  # type: ignore[arg-type]


def _raw(value: object) -> str:
    """Return the text of a JSON value; KIS writes numbers as text, but not always."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) else ""


def _decode_value(
    call: RestCall[Req, Res], content: Mapping[str, Any], unknown: set[str]
) -> Res:
    specs = call.endpoint.fields.response
    parts = {}
    for mapping, spec in zip(call.blocks, specs, strict=True):
        names = (spec.name, *mapping.other_names)
        raw = next((content[name] for name in names if name in content), None)
        parts[mapping.attr] = _decode_block(mapping, spec, raw, unknown)
    value = parts[""] if call.result is None else call.result(**parts)
    return cast("Res", value)


def _decode_block(
    mapping: BlockMap, spec: f.Block, raw: object, unknown: set[str]
) -> Any:
    if isinstance(raw, dict) and (mapping.single or not spec.is_list):
        return _decode_row(mapping, spec, raw, unknown)
    if not isinstance(raw, list):
        expected = "list" if spec.is_list else "object"
        raise ValueError(f"{spec.name}: expected an {expected}, not {_shown(raw)}")
    rows = [_checked_row(spec, row) for row in raw]
    if mapping.skip_without:
        rows = [row for row in rows if _filled(row, mapping.skip_without)]
    if spec.is_list and not mapping.single:
        return tuple(_decode_row(mapping, spec, row, unknown) for row in rows)
    if len(rows) != 1:
        raise ValueError(f"{spec.name}: expected one row, not {len(rows)}")
    return _decode_row(mapping, spec, rows[0], unknown)


def _checked_row(spec: f.Block, row: object) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{spec.name}: expected an object, not {_shown(row)}")
    return row


def _filled(row: Mapping[str, Any], name: str) -> bool:
    return any(
        key.lower() == name.lower() and _raw(value).strip()
        for key, value in row.items()
    )


def _decode_row(
    mapping: BlockMap, spec: f.Block, row: Mapping[str, Any], unknown: set[str]
) -> Any:
    texts = {}
    for name, value in row.items():
        if isinstance(value, dict | list):
            raise ValueError(f"{spec.name}.{name}: expected text, not {_shown(value)}")
        texts[name.lower()] = _raw(value).strip()
    known = _known_names(mapping, spec)
    unknown.update(texts.keys() - known)
    return mapping.value(
        **{bind.attr: _read(bind, spec, texts) for bind in mapping.binds}
    )


def _known_names(mapping: BlockMap, spec: f.Block) -> frozenset[str]:
    names = {item.name.lower() for item in spec.fields}
    for bind in mapping.binds:
        names.update(bind.aliases)
    return frozenset(names)


def _read(bind: Bind, spec: f.Block, texts: Mapping[str, str]) -> Any:
    text = texts.get(bind.name.lower(), "")
    for alias in bind.aliases:
        if text.strip("0.") == "":
            text = texts.get(alias, "") or text
    try:
        value = bind.text.parse(text)
    except ValueError as error:
        raise ValueError(f"{spec.name}.{bind.name} {_shown(text)}: {error}") from None
    if bind.sign and texts.get(bind.sign) in f.FALLING_SIGNS:
        return -abs(value)
    return value


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN]


# --- the server's side -----------------------------------------------------------


def decode_request(
    call: RestCall[Req, Res],
    texts: Mapping[str, Any],
    *,
    variant: str = ALL,
    strict: bool = True,
) -> Req:
    """Return the request a client sent.

    Args:
        texts: of the query or the body; names in any case.
        variant: as `find_route` told it from the TR id.
        strict: refuse a request that lacks a key the tables demand, as KIS does.

    Raises:
        WireError: a key is missing or its text makes no sense.
    """
    upper = {name.upper(): value for name, value in texts.items()}
    mapping = call.request
    values: dict[str, Any] = {}
    try:
        if strict:
            _check_keys(call, upper)
        if mapping.read is not None:
            values |= mapping.read({name: _text_of(upper, name) for name in upper})
        for param in mapping.params:
            values[param.attr] = _read_param(param, upper)
        if mapping.account:
            values["account"] = Account(
                _text_of(upper, f.ACCOUNT_NUMBER), _text_of(upper, f.ACCOUNT_PRODUCT)
            )
    except ValueError as error:
        raise WireError(
            _("request {call}: {error}").format(call=call.name, error=error),
            payload=str(error),
        ) from error
    if mapping.variant:
        values[mapping.variant] = mapping.variants[variant]
    return cast("Req", mapping.value(**values))


def decode_position(call: RestCall[Req, Res], texts: Mapping[str, Any]) -> Continuation:
    """Return the page a client asks for; blank for the first."""
    search, key, _width = _CONTINUATION.get(call.endpoint.paging, ("", "", 0))
    lower = {name.lower(): value for name, value in texts.items()}
    return Continuation(_raw(lower.get(search)).strip(), _raw(lower.get(key)).strip())


def _check_keys(call: RestCall[Req, Res], upper: Mapping[str, Any]) -> None:
    for key in call.endpoint.fields.request:
        name = key.name.upper()
        if key.required and name not in upper and name not in _FORGIVEN:
            raise ValueError(f"{key.name} is missing")


def _text_of(upper: Mapping[str, Any], name: str) -> str:
    value = upper.get(name, "")
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError(f"{name} {_shown(value)}: expected text")
    return str(value).strip()


def _read_param(param: Param, upper: Mapping[str, Any]) -> Any:
    text = _text_of(upper, param.key.upper())
    if not text and param.default is not _NEEDED:
        return param.default
    try:
        return param.text.parse(text)
    except ValueError as error:
        raise ValueError(f"{param.key} {_shown(text)}: {error}") from None


@dataclass(frozen=True, slots=True)
class NextPage:
    """Another page follows.

    Attributes:
        position: where it starts. first: the page before it is the first one.
    """

    position: Continuation
    first: bool = True


def encode_reply(
    call: RestCall[Req, Res],
    value: Res,
    *,
    environment: Environment,
    tr_id: str,
    message: tuple[str, str] | None = None,
    next_page: NextPage | None = None,
) -> WireReply:
    """Return the answer of success that carries `value`.

    Args:
        message: code and text; None for those usual for the call.
    """
    endpoint = call.endpoint
    code, text = message or _usual_message(endpoint, environment)
    content: dict[str, Any] = {}
    search, key, width = _CONTINUATION.get(endpoint.paging, ("", "", 0))
    mark = ""
    if search:
        position = next_page.position if next_page else FIRST_PAGE
        content[search] = position.search.ljust(width)
        content[key] = position.key.ljust(width)
        mark = _page_mark(next_page)
    for mapping, spec in zip(call.blocks, endpoint.fields.response, strict=True):
        content[spec.name] = _encode_block(mapping, spec, _part(call, mapping, value))
    pad = f.MESSAGE_WIDTH if endpoint.area is Area.ACCOUNT else 0
    content[f.RESULT_CODE] = f.SUCCESS
    content[f.MESSAGE_CODE] = code
    content[f.MESSAGE_TEXT] = text.ljust(pad)
    return WireReply(status=200, headers=_reply_headers(tr_id, mark), body=content)


def _part(call: RestCall[Req, Res], mapping: BlockMap, value: Any) -> Any:
    if call.result is None:
        return value
    if call.split is not None:
        return call.split(value)[mapping.attr]
    return getattr(value, mapping.attr)


def encode_refusal(
    code: str, text: str, *, tr_id: str = "", status: int = 200, result: str = f.REFUSED
) -> WireReply:
    """Return the answer of a refusal.

    Args:
        status: 500 for what the gateway refuses, 200 for what the order desk does.
        result: ``"1"``, or ``"7"`` as real accounts answer refused orders.
    """
    return WireReply(
        status=status,
        headers=_reply_headers(tr_id, ""),
        body={f.RESULT_CODE: result, f.MESSAGE_CODE: code, f.MESSAGE_TEXT: text},
    )


def _page_mark(next_page: NextPage | None) -> str:
    # A blank on the last page breaks one client: KIS itself closes with D.
    if next_page is None:
        return f.LAST_PAGE
    return f.FIRST_OF_MANY if next_page.first else f.MORE_PAGE


def _reply_headers(tr_id: str, mark: str) -> dict[str, str]:
    return {"Content-Type": f.FORM, f.H_TR_ID: tr_id, f.H_TR_CONT: mark}


def _usual_message(endpoint: Endpoint, environment: Environment) -> tuple[str, str]:
    if endpoint.area is Area.QUOTATION:
        return QUOTATION_DONE
    if endpoint.area is Area.ORDER and environment is Environment.REAL:
        return REAL_ORDER_DONE
    return REAL_QUERY_DONE if environment is Environment.REAL else MOCK_QUERY_DONE


def _encode_block(mapping: BlockMap, spec: f.Block, value: Any) -> Any:
    if not spec.is_list:
        return encode_row(mapping, spec, value)
    rows = (value,) if mapping.single else value
    return [encode_row(mapping, spec, row) for row in rows]


def encode_row(mapping: BlockMap, spec: f.Block, value: Any) -> dict[str, str]:
    """Return one row with every field of the tables, in their order.

    Fields no attribute stands for are 0 if they are numbers, else blank.
    """
    found = dict(mapping.constants)
    for bind in mapping.binds:
        content = (
            value[bind.attr] if isinstance(value, dict) else getattr(value, bind.attr)
        )
        found[bind.name] = bind.text.format(content)
        if bind.sign:
            # The change comes before its percentage, which may round to zero.
            found.setdefault(_spelt(spec, bind.sign), sign_code(content))
    return {
        item.name: found.get(item.name, "0" if item.kind in f.NUMBERS else "")
        for item in spec.fields
    }


def _spelt(spec: f.Block, name: str) -> str:
    return next(item.name for item in spec.fields if item.name.lower() == name)
