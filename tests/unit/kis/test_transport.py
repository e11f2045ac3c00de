import gzip
import http.client
import json
import logging
import pickle
import traceback
from pathlib import Path

import pytest

from kisbt.errors import ConfigError, KisError, NotSent, OutcomeUnknown
from kisbt.kis.keys import Secret
from kisbt.kis.servers import Server, emulator_server, kis_server
from kisbt.kis.transport import HttpReply, HttpRequest, RequestsTransport
from kisbt.model.account import Environment
from tests.helpers.kis import server_of
from tests.helpers.loopback import Connection, Loopback, answer, close, text

CANARY = "canary-app-secret"


def request(**changes: object) -> HttpRequest:
    values: dict[str, object] = {
        "method": "GET",
        "path": "/uapi/x",
        "headers": {"appsecret": Secret(CANARY), "tr_id": "X"},
        "query": {"CANO": "50112233"},
        "tr_id": "X",
    }
    return HttpRequest(**(values | changes))


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:8000",
        "http://localhost:8000",
        "http://127.0.0.1.evil.com:80",
        "https://127.0.0.1:8000",
        "http://127.0.0.1",
        "http://evil.com@127.0.0.2:80",
        "ftp://127.0.0.1:21",
        "",
    ],
)
def test_emulator_is_on_this_machine_only(url: str) -> None:
    with pytest.raises(ConfigError):
        emulator_server(Environment.MOCK, url, "ws://127.0.0.1:9")


@pytest.mark.parametrize("environment", list(Environment))
def test_kis_is_on_the_list_only(environment: Environment) -> None:
    listed = kis_server(environment)
    assert listed.rest_url.startswith("https://")
    for url in (
        "https://openapi.koreainvestment.com.evil.com:9443",
        "http://openapi.koreainvestment.com:9443",
        "https://openapi.koreainvestment.com",
    ):
        with pytest.raises(ConfigError):
            Server(environment=environment, rest_url=url, ws_url=listed.ws_url)
    other = next(item for item in Environment if item is not environment)
    with pytest.raises(ConfigError):
        Server(environment=other, rest_url=listed.rest_url, ws_url=listed.ws_url)


def test_secret_headers_arrive_and_are_not_shown() -> None:
    with Loopback() as server:
        transport = RequestsTransport(server_of(server))
        sent = request()
        transport.send(sent)
        transport.close()
        assert server.requests[0].headers["appsecret"] == CANARY
        assert CANARY not in repr(sent)


def test_address_of_another_host_is_refused_before_anything_leaves() -> None:
    with Loopback() as other, Loopback() as server:
        transport = RequestsTransport(server_of(server))
        host = other.url.removeprefix("http://127.0.0.1")
        with pytest.raises(KisError):
            # Written after the base address, this names another port.
            transport.send(request(path=f"@127.0.0.1{host}/x"))
        transport.close()
        assert (other.accepted, server.accepted) == (0, 0)


@pytest.mark.parametrize("fresh", [False, True])
def test_netrc_and_proxy_variables_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password thief\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Loopback() as proxy, Loopback() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        transport = RequestsTransport(server_of(server))
        mine = {"authorization": Secret("Bearer mine")}
        transport.send(request(headers=mine, fresh=fresh))
        transport.close()
        assert server.requests[0].headers["authorization"] == "Bearer mine"
        assert proxy.accepted == 0


def test_cookies_are_not_kept() -> None:
    with Loopback(answer({}, headers="Set-Cookie: a=b; Path=/\r\n")) as server:
        transport = RequestsTransport(server_of(server))
        transport.send(request())
        transport.send(request())
        transport.close()
        assert "cookie" not in server.requests[1].headers


def test_queries_keep_their_connection() -> None:
    with Loopback() as server:
        transport = RequestsTransport(server_of(server))
        for _ in range(5):
            transport.send(request())
        transport.close()
        assert server.accepted == 1


def test_an_order_has_a_connection_of_its_own() -> None:
    with Loopback() as server:
        transport = RequestsTransport(server_of(server))
        for _ in range(3):
            transport.send(request(method="POST", body={"PDNO": "005930"}, fresh=True))
        transport.close()
        assert server.accepted == 3
        sent = server.requests[0]
        assert sent.headers["connection"] == "close"
        assert sent.headers["appsecret"] == CANARY
        assert "CANO=50112233" in sent.path
        assert json.loads(sent.body) == {"PDNO": "005930"}


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    "more", ["\nHost: evil", "\r\nHost: evil", "\r\n\r\nGET / HTTP/1.1", "\r", "비밀"]
)
def test_header_that_no_http_can_carry_is_not_sent(fresh: bool, more: str) -> None:
    with Loopback() as server:
        transport = RequestsTransport(server_of(server))
        bad = {"appsecret": Secret(CANARY + more)}
        with pytest.raises(NotSent if fresh else KisError) as caught:
            transport.send(request(headers=bad, fresh=fresh))
        transport.close()
        assert CANARY not in f"{caught.value} {caught.value.__context__}"
        assert not server.requests


@pytest.mark.parametrize("fresh", [False, True])
def test_reply_without_an_end_is_cut(
    monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    monkeypatch.setattr("kisbt.kis.transport._LARGEST", 1000)
    with Loopback(text(b"x" * 10_000)) as server:
        transport = RequestsTransport(server_of(server))
        with pytest.raises(OutcomeUnknown, match="too long"):
            transport.send(request(fresh=fresh))
        transport.close()


@pytest.mark.parametrize("fresh", [False, True])
def test_reply_shorter_than_it_says_is_none(fresh: bool) -> None:
    def cut(connection: Connection) -> None:
        head = b'HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n{"rt_cd": "0"}'
        connection.sock.sendall(head)
        connection.reset()

    def ended(connection: Connection) -> None:
        head = b'HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n{"rt_cd": "0"}'
        connection.sock.sendall(head)
        connection.sock.close()

    for behaviour in (cut, ended):
        with Loopback(behaviour) as server:
            transport = RequestsTransport(server_of(server))
            with pytest.raises(OutcomeUnknown):
                transport.send(request(fresh=fresh))
            transport.close()


@pytest.mark.parametrize("fresh", [False, True])
def test_packed_reply_nobody_asked_for_is_read(fresh: bool) -> None:
    packed = gzip.compress(b'{"rt_cd": "0"}')
    with Loopback(text(packed, headers="Content-Encoding: gzip\r\n")) as server:
        transport = RequestsTransport(server_of(server))
        assert transport.send(request(fresh=fresh)).json() == {"rt_cd": "0"}
        transport.close()


@pytest.mark.parametrize(
    "packed",
    [b"no gzip", gzip.compress(b"x" * 5000), gzip.compress(b'{"rt_cd": "0"}')[:-9]],
    ids=["none", "long", "cut"],
)
def test_packed_reply_that_is_none_or_too_long_is_cut(
    monkeypatch: pytest.MonkeyPatch, packed: bytes
) -> None:
    monkeypatch.setattr("kisbt.kis.transport._LARGEST", 1000)
    with Loopback(text(packed, headers="Content-Encoding: gzip\r\n")) as server:
        transport = RequestsTransport(server_of(server))
        with pytest.raises(OutcomeUnknown):
            transport.send(request(fresh=True))
        transport.close()


@pytest.mark.parametrize("fresh", [False, True])
def test_reply_in_chunks_is_whole(fresh: bool) -> None:
    def chunks(connection: Connection) -> None:
        connection.sock.sendall(
            b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'8\r\n{"rt_cd"\r\n6\r\n: "0"}\r\n0\r\n\r\n'
        )

    with Loopback(chunks) as server:
        transport = RequestsTransport(server_of(server))
        assert transport.send(request(fresh=fresh)).json() == {"rt_cd": "0"}
        transport.close()


def test_failure_shows_nothing_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Loopback(close) as server:
        transport = RequestsTransport(server_of(server))
        try:
            transport.send(request())
        except KisError as error:
            caught = error
        transport.close()
    shown = "".join(
        traceback.TracebackException.from_exception(
            caught, capture_locals=True
        ).format()
    )
    everything = shown + caplog.text + repr(caught) + repr(pickle.dumps(str(caught)))
    assert CANARY not in everything
    assert "50112233" not in everything


def test_body_of_a_reply_is_not_shown() -> None:
    assert "token" not in repr(HttpReply(200, {}, b'{"access_token": "x"}'))


def test_debug_level_of_http_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    with pytest.raises(ConfigError):
        RequestsTransport(kis_server(Environment.REAL))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_reply_that_is_no_object_has_none(body: bytes) -> None:
    assert HttpReply(200, {}, body).json() is None
