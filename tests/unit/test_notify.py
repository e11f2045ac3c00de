import logging
import threading

import pytest

from kisbt.errors import ConfigError
from kisbt.model.ports import Urgency
from kisbt.notify import Messenger, Pinger
from tests.helpers.emulator import until
from tests.helpers.loopback import Behaviour, Connection, Loopback, answer, hang

WAIT_S = 20.0
OK = answer({})
SECRET = "channelsecret0123456789"


def address(server: Loopback) -> str:
    return f"json://127.0.0.1:{server.port}/{SECRET}"


def bodies(server: Loopback) -> list[dict[str, str]]:
    return [item.json() for item in server.requests]


class Gate:
    """Holds back an answer until told."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.open.wait(WAIT_S)
        OK(connection)


def test_message_arrives() -> None:
    with Loopback(OK) as server:
        messenger = Messenger([address(server)])
        messenger.start()
        messenger.notify(Urgency.INFO, "체결", "005930 매수 10주 70,000원")
        assert messenger.close(WAIT_S)
    (body,) = bodies(server)
    assert (body["title"], body["message"], body["type"]) == (
        "체결",
        "005930 매수 10주 70,000원",
        "info",
    )


def test_message_reaches_every_channel_though_one_is_dead() -> None:
    with Loopback(OK) as dead, Loopback(OK) as server:
        gone = address(dead)
        dead.__exit__()
        messenger = Messenger([gone, address(server)], retry_s=())
        messenger.start()
        messenger.notify(Urgency.WARNING, "title", "text")
        assert messenger.close(WAIT_S)
    assert [body["title"] for body in bodies(server)] == ["title"]
    assert messenger.failed == 1


def test_burst_is_sent_as_one_message() -> None:
    gate = Gate()
    with Loopback(OK, script=[gate]) as server:
        messenger = Messenger([address(server)])
        messenger.start()
        messenger.notify(Urgency.INFO, "first", "text")
        until(lambda: len(server.requests) == 1)
        for number in range(5):
            messenger.notify(Urgency.INFO, f"fill {number}", "text")
        gate.open.set()
        assert messenger.close(WAIT_S)
    assert [body["title"] for body in bodies(server)] == ["first", "kisbt: 5 messages"]
    assert "fill 4: text" in bodies(server)[1]["message"]


def test_urgent_message_goes_first_and_is_never_crowded_out() -> None:
    gate = Gate()
    with Loopback(OK, script=[gate]) as server:
        messenger = Messenger([address(server)], size=5)
        messenger.start()
        messenger.notify(Urgency.INFO, "first", "text")
        until(lambda: len(server.requests) == 1)
        messenger.notify(Urgency.CRITICAL, "halted", "text")
        for number in range(50):
            messenger.notify(Urgency.INFO, f"fill {number}", "text")
        gate.open.set()
        assert messenger.close(WAIT_S)
    assert [body["title"] for body in bodies(server)][1] == "halted"
    assert messenger.dropped == 46
    assert "fill 49" in bodies(server)[2]["message"]


def test_lesser_message_does_not_crowd_out_greater_ones() -> None:
    messenger = Messenger(["json://127.0.0.1:1"], size=2)  # not started
    for urgency in (Urgency.CRITICAL, Urgency.WARNING, Urgency.INFO):
        messenger.notify(urgency, str(urgency), "text")
    assert [item.urgency for item in messenger._queue] == [
        Urgency.CRITICAL,
        Urgency.WARNING,
    ]


def test_notify_returns_at_once_while_the_channel_hangs() -> None:
    with Loopback(hang) as server:
        messenger = Messenger([address(server)], size=10, retry_s=())
        messenger.start()
        for number in range(1000):
            messenger.notify(Urgency.INFO, f"fill {number}", "text")
        assert len(messenger._queue) <= 10
        assert not messenger.close(0.05)


def failing(status: int) -> Behaviour:
    return answer({}, status=status)


@pytest.mark.parametrize(
    ("urgency", "tries"), [(Urgency.CRITICAL, 3), (Urgency.WARNING, 1)]
)
def test_only_a_critical_message_is_tried_again(urgency: Urgency, tries: int) -> None:
    with Loopback(failing(503)) as server:
        messenger = Messenger([address(server)], retry_s=(0.01, 0.01))
        messenger.start()
        messenger.notify(urgency, "title", "text")
        assert messenger.wait_idle(WAIT_S)
        messenger.close(WAIT_S)
    assert (len(server.requests), messenger.failed) == (tries, 1)


def test_failure_leaves_no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), Loopback(failing(404)) as server:
        messenger = Messenger([address(server)])
        messenger.start()
        messenger.notify(Urgency.INFO, "title", "text")
        assert messenger.close(WAIT_S)
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("kisbt")]
    assert logged == ["message not delivered: title"]
    told = [r for r in caplog.records if r.name.startswith("apprise")]
    assert not [r for r in told if SECRET in r.getMessage()]


def test_nothing_configured_sends_nothing() -> None:
    messenger = Messenger([])
    messenger.start()
    messenger.notify(Urgency.CRITICAL, "title", "text")
    assert messenger.close(0.0)


@pytest.mark.parametrize("url", ["", "nowhere", f"nosuchscheme://{SECRET}"])
def test_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="number 2") as caught:
        Messenger(["json://127.0.0.1:1", url])
    assert caught.value.path == "notify.urls"
    assert SECRET not in str(caught.value)


def test_pings_only_while_the_loop_turns() -> None:
    with Loopback(OK) as server:
        pinger = Pinger(f"{server.url}/{SECRET}", every_s=0.01)
        pinger.start()
        for count in (1, 2):
            pinger.alive()
            until(lambda count=count: len(server.requests) == count)
        until(lambda: pinger.pings == 2)
        assert not pinger._ended.wait(0.1)
        assert len(server.requests) == 2
        assert pinger.close(WAIT_S)
    assert server.requests[0].path == f"/{SECRET}"


def test_ping_that_fails_is_counted_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def slam(connection: Connection) -> None:
        connection.reset()

    with (
        caplog.at_level(logging.WARNING, "kisbt"),
        Loopback(OK, script=[slam, failing(500)]) as server,
    ):
        pinger = Pinger(f"{server.url}/{SECRET}", every_s=0.01)
        pinger.start()

        def answered() -> bool:
            pinger.alive()
            return pinger.pings > 0

        until(answered)
        assert pinger.close(WAIT_S)
    assert pinger.failed == 2
    told = [r for r in caplog.records if r.name.startswith("apprise")]
    assert not [r for r in told if SECRET in r.getMessage()]


def test_ping_is_not_led_elsewhere() -> None:
    with Loopback(OK) as elsewhere:
        aside = answer({}, status=307, headers=f"Location: {elsewhere.url}/x\r\n")
        with Loopback(aside) as server:
            pinger = Pinger(server.url)
            pinger.start()
            pinger.alive()
            until(lambda: pinger.pings == 1)
            pinger.close(WAIT_S)
    assert not elsewhere.requests


@pytest.mark.parametrize("url", ["", "host/id", "ftp://host", "file:///etc/passwd"])
def test_heartbeat_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pinger(url)
    assert caught.value.path == "notify.heartbeat_url"
