import json
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kisbt.clock import KST, ManualClock
from kisbt.errors import ConfigError, KisRefused, OutcomeUnknown
from kisbt.kis.auth import Authenticator
from kisbt.kis.keys import Secret
from kisbt.kis.servers import kis_server
from kisbt.kis.transport import RequestsTransport
from kisbt.model.account import Environment
from tests.helpers.kis import APP_KEY, APP_SECRET, make_keys, server_of
from tests.helpers.loopback import Behaviour, Loopback, answer, text

START = datetime(2026, 11, 20, 9, 0, tzinfo=KST)
ONCE_A_MINUTE = answer(
    {
        "error_description": "잠시 후 다시 시도하세요(1분당 1회)",
        "error_code": "EGW00133",
    },
    status=403,
)


def token(value: str, *, hours: float = 24, clock: ManualClock) -> Behaviour:
    ends = clock.now() + timedelta(hours=hours)
    return answer(
        {
            "access_token": value,
            "token_type": "Bearer",
            "expires_in": int(hours * 3600),
            "access_token_token_expired": ends.strftime("%Y-%m-%d %H:%M:%S"),
        }
    )


class Rig:
    def __init__(
        self, server: Loopback, folder: Path, clock: ManualClock | None = None
    ) -> None:
        self.clock = clock or ManualClock(START)
        place = server_of(server)
        self.transport = RequestsTransport(place)
        self.auth = Authenticator(
            make_keys(), place, self.transport, folder=folder, clock=self.clock
        )


def test_token_is_asked_for_once_and_shared_by_a_file(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Loopback(script=[token("one", clock=clock)]) as server:
        first, second = Rig(server, tmp_path, clock), Rig(server, tmp_path, clock)
        got = [first.auth.token(), first.auth.token(), second.auth.token()]
        assert got == [Secret("one")] * 3
        assert len(server.requests) == 1


def test_request_says_what_kis_wants(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Loopback(script=[token("one", clock=clock)]) as server:
        Rig(server, tmp_path, clock).auth.token()
        assert server.requests[0].json() == {
            "grant_type": "client_credentials",
            "appkey": APP_KEY,
            "appsecret": APP_SECRET,
        }


def test_token_file_is_private(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Loopback(script=[token("one", clock=clock)]) as server:
        Rig(server, tmp_path, clock).auth.token()
    (path,) = tmp_path.glob("token-*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert APP_KEY not in path.read_text()


def test_token_is_renewed_five_minutes_before_its_end(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Loopback(script=[token("one", clock=clock)]) as server:
        rig = Rig(server, tmp_path, clock)
        rig.auth.token()
        clock.advance(24 * 3600 - 301)
        assert rig.auth.token() == Secret("one")
        clock.advance(2)
        server.script.append(token("two", clock=clock))
        assert rig.auth.token() == Secret("two")


def test_row_28_one_a_minute_is_waited_out(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Loopback(script=[ONCE_A_MINUTE, token("one", clock=clock)]) as server:
        assert Rig(server, tmp_path, clock).auth.token() == Secret("one")
        assert clock.monotonic() >= 60


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"secret": 1}', "\0\0", '{"expires": "yesterday"}'],
)
def test_row_30_broken_file_is_replaced(content: str, tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Loopback(script=[token("one", clock=clock)]) as server:
        rig = Rig(server, tmp_path, clock)
        path = tmp_path / f"token-{make_keys().fingerprint}.json"
        path.write_text(content)
        path.chmod(0o600)
        assert rig.auth.token() == Secret("one")
        assert json.loads(path.read_text())["secret"] == "one"


def test_row_31_token_of_the_other_server_is_not_used(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Loopback(script=[token("mock", clock=clock)]) as server:
        rig = Rig(server, tmp_path, clock)
        other = {
            "environment": "real",
            "fingerprint": make_keys(Environment.REAL).fingerprint,
            "expires": (START + timedelta(hours=20)).isoformat(),
            "secret": "real-token",
        }
        path = tmp_path / f"token-{make_keys().fingerprint}.json"
        path.write_text(json.dumps(other))
        path.chmod(0o600)
        assert rig.auth.token() == Secret("mock")


def test_row_29_dead_token_end_is_given_up(tmp_path: Path) -> None:
    with Loopback(text(b"", status=503)) as server:
        rig = Rig(server, tmp_path)
        with pytest.raises(OutcomeUnknown):
            rig.auth.token()
        assert len(server.requests) == 4


def test_wrong_keys_are_asked_once(tmp_path: Path) -> None:
    wrong = answer(
        {"error_description": "유효하지 않은 AppKey입니다.", "error_code": "EGW00103"},
        status=403,
    )
    with Loopback(wrong) as server:
        with pytest.raises(KisRefused) as caught:
            Rig(server, tmp_path).auth.token()
        assert (caught.value.code, len(server.requests)) == ("EGW00103", 1)


def test_threads_ask_once(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Loopback(script=[token("one", clock=clock)]) as server:
        rig = Rig(server, tmp_path, clock)
        threads = [threading.Thread(target=rig.auth.token) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(server.requests) == 1


def test_row_27_threads_with_the_same_refused_token_renew_once(tmp_path: Path) -> None:
    clock = ManualClock(START)
    script = [token("one", clock=clock), token("two", clock=clock)]
    with Loopback(script=script) as server:
        rig = Rig(server, tmp_path, clock)
        old = rig.auth.token()
        threads = [
            threading.Thread(target=rig.auth.renew, args=(old,)) for _ in "abcdef"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert (rig.auth.token(), len(server.requests)) == (Secret("two"), 2)


def test_same_token_again_is_not_asked_for_in_a_loop(tmp_path: Path) -> None:
    clock = ManualClock(START)
    same = token("one", clock=clock)
    with Loopback(same) as server:
        rig = Rig(server, tmp_path, clock)
        old = rig.auth.token()
        for _ in range(5):
            assert rig.auth.renew(old) == old
        assert len(server.requests) == 2


def test_clock_nine_hours_ahead_does_not_ask_for_ever(tmp_path: Path) -> None:
    ahead = ManualClock(START + timedelta(hours=30))
    real = ManualClock(START)
    with Loopback(token("one", clock=real)) as server:
        rig = Rig(server, tmp_path, ahead)
        for _ in range(3):
            rig.auth.token()
        assert len(server.requests) == 1


def test_approval_key_is_kept_and_replaced_when_refused(tmp_path: Path) -> None:
    script = [answer({"approval_key": "a-1"}), answer({"approval_key": "a-2"})]
    with Loopback(script=script) as server:
        rig = Rig(server, tmp_path)
        first = rig.auth.approval_key()
        again = rig.auth.approval_key()
        second = rig.auth.approval_key(refused=first)
        assert (first, again, second) == (Secret("a-1"), Secret("a-1"), Secret("a-2"))
        assert server.requests[0].json()["secretkey"] == APP_SECRET


def test_revoked_token_is_forgotten(tmp_path: Path) -> None:
    clock = ManualClock(START)
    gone = answer({"code": 200, "message": "접근토큰 폐기에 성공하였습니다"})
    with Loopback(script=[token("one", clock=clock), gone]) as server:
        rig = Rig(server, tmp_path, clock)
        rig.auth.token()
        assert rig.auth.revoke()
        assert server.requests[1].json()["token"] == "one"
        assert not list(tmp_path.glob("token-*.json"))
        assert not rig.auth.revoke()


@pytest.mark.parametrize("environment", list(Environment))
def test_row_113_keys_of_another_server_send_nothing(
    environment: Environment, tmp_path: Path
) -> None:
    other = next(item for item in Environment if item is not environment)
    kis_keys = make_keys(other, app_key="PS" + "x" * 34)
    emulated = make_keys(environment)
    with Loopback() as server:
        transport = RequestsTransport(server_of(server, environment))
        for keys, place in (
            (kis_keys, kis_server(environment)),
            (emulated, kis_server(environment)),
            (kis_keys, server_of(server, environment)),
        ):
            with pytest.raises(ConfigError):
                Authenticator(keys, place, transport, folder=tmp_path)
        assert server.accepted == 0


WORKER = """
import sys
from pathlib import Path
from kisbt.kis.client import open_client
from kisbt.model.account import Environment
from kisbt.kis.servers import emulator_server
from tests.helpers.kis import make_keys
url, folder = sys.argv[1:]
client = open_client(make_keys(), emulator_server(Environment.MOCK, url,
    "ws://127.0.0.1:9"), folder=Path(folder), interval_s=0.0)
print(client.auth.token().reveal())
"""


@pytest.mark.slow
def test_row_28_processes_share_one_token(tmp_path: Path) -> None:
    issue = answer({"access_token": "shared", "expires_in": 86400})
    with Loopback(ONCE_A_MINUTE, script=[issue]) as server:
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, server.url, str(tmp_path)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        got = [run.communicate(timeout=50)[0].strip() for run in runs]
        assert (got, len(server.requests)) == (["shared"] * 3, 1)
