import copy
import json
import logging
import os
import pickle
import traceback
from pathlib import Path

import pytest

from kisbt.errors import ConfigError, InputError, StorageError
from kisbt.kis.keys import (
    KeyStore,
    KisKeys,
    Place,
    Secret,
    parse_account,
    parse_profile,
    read_devlp,
    usable_keyring,
)
from kisbt.model.account import Account, Environment
from tests.helpers.kis import make_keys

APP_KEY = "PS" + "k" * 34
APP_SECRET = "s" * 180


class FakeKeyring:
    """A keyring in memory."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self.texts.get(name)

    def set(self, name: str, text: str) -> None:
        self.texts[name] = text

    def delete(self, name: str) -> bool:
        return self.texts.pop(name, None) is not None


def test_secret_never_shows_itself() -> None:
    secret = Secret("canary-value")
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>20}",
        f"{secret!r}",
        "%s" % secret,  # noqa: UP031
        repr([secret]),
        repr({"a": secret}),
    ]
    assert not any("canary" in text for text in shown)


def test_secret_is_not_pickled_or_copied_out() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("x"))
    with pytest.raises(TypeError):
        copy.copy(Secret("x"))


def test_secrets_are_equal_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a") != "a"


def test_keys_show_only_the_end_of_the_account() -> None:
    keys = make_keys(app_key=APP_KEY, app_secret=APP_SECRET)
    assert repr(keys) == "KisKeys('default', mock, ****2233-01, ****)"


def test_traceback_with_locals_shows_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keys = make_keys(app_key=APP_KEY, app_secret=APP_SECRET)

    def fail(given: KisKeys) -> None:
        headers = {"appkey": given.app_key, "appsecret": given.app_secret}
        raise ValueError(f"{given} {headers}")

    try:
        fail(keys)
    except ValueError as error:
        text = "".join(
            traceback.TracebackException.from_exception(
                error, capture_locals=True
            ).format()
        )
    assert APP_SECRET not in text
    assert "50112233" not in text


@pytest.mark.parametrize(
    ("app_key", "app_secret"),
    [
        ("", APP_SECRET),
        (APP_SECRET, APP_KEY),
        ("a b" + APP_KEY, APP_SECRET),
        (APP_KEY, APP_SECRET + "\n"),
        (APP_KEY, "앱시크릿" * 50),
    ],
)
def test_impossible_keys_are_refused_unseen(app_key: str, app_secret: str) -> None:
    with pytest.raises(InputError) as caught:
        make_keys(app_key=app_key, app_secret=app_secret)
    assert APP_KEY not in str(caught.value)
    assert APP_SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("12345678-01", Account("12345678", "01")),
        ("1234567822", Account("12345678", "22")),
        (" 12345678 ", Account("12345678", "01")),
    ],
)
def test_account_is_read(text: str, account: Account) -> None:
    assert parse_account(text) == account


@pytest.mark.parametrize("text", ["", "1234567", "12345678-1", "1234567a-01"])
def test_other_accounts_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_account(text)


@pytest.mark.parametrize("text", ["", "../x", "a b", "a/b", "-x", "x" * 33, "C:x"])
def test_profile_is_no_path(text: str) -> None:
    with pytest.raises(InputError):
        parse_profile(text)


def test_account_is_masked() -> None:
    account = Account("12345678", "01")
    assert (account.masked, repr(account)) == ("****5678-01", "Account(****5678-01)")


def test_fingerprint_tells_environments_apart() -> None:
    real = make_keys(Environment.REAL)
    assert real.fingerprint != make_keys(Environment.MOCK).fingerprint


# Where keys are kept.


def test_keys_go_to_the_keyring_first(tmp_path: Path) -> None:
    keyring = FakeKeyring()
    store = KeyStore(tmp_path, keyring=keyring, variables={})
    keys = make_keys()
    assert store.add(keys) is Place.KEYRING
    assert store.load("default", Environment.MOCK) == keys
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert keys.app_key.reveal() not in text


def test_keys_in_a_file_need_no_keyring(tmp_path: Path) -> None:
    class Locked(FakeKeyring):
        def get(self, name: str) -> str | None:
            raise StorageError("locked")

    store = KeyStore(tmp_path, keyring=Locked(), variables={})
    store.add(make_keys(), in_file=True)
    assert store.load("default", Environment.MOCK) == make_keys()


@pytest.mark.parametrize(
    ("module", "usable"),
    [
        ("keyring.backends.SecretService", True),
        ("keyring.backends.macOS", True),
        ("keyring.backends.Windows", True),
        ("keyring.backends.fail", False),
        ("keyring.backends.null", False),
        ("keyrings.alt.file", False),
    ],
)
def test_only_the_systems_own_keyring_is_used(
    module: str, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = type("Keyring", (), {"__module__": module})()
    monkeypatch.setattr("keyring.get_keyring", lambda: backend)
    assert (usable_keyring() is not None) is usable


def test_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = KeyStore(tmp_path / "keys", variables={})
        assert store.add(make_keys()) is Place.FILE
    finally:
        os.umask(old)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
    assert (modes, (tmp_path / "keys").stat().st_mode & 0o777) == ({0o600}, 0o700)


def test_file_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, variables={})
    store.add(make_keys())
    path = tmp_path / "mock-default.json"
    path.chmod(0o644)
    with pytest.raises(StorageError, match="chmod 600"):
        store.load("default", Environment.MOCK)
    path.chmod(0o600)  # the canary search is told by it that the file is private


def test_link_is_refused(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "a", variables={})
    store.add(make_keys())
    (tmp_path / "b").mkdir()
    (tmp_path / "b/mock-default.json").symlink_to(tmp_path / "a/mock-default.json")
    with pytest.raises(StorageError):
        KeyStore(tmp_path / "b", variables={}).load("default", Environment.MOCK)


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, variables={})
    store.add(make_keys(Environment.REAL))
    (tmp_path / "real-default.json").rename(tmp_path / "mock-default.json")
    with pytest.raises(StorageError):
        store.load("default", Environment.MOCK)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"app_key": "canary"}', "\0"])
def test_damaged_file_is_told_without_its_content(text: str, tmp_path: Path) -> None:
    store = KeyStore(tmp_path, variables={})
    store.add(make_keys())
    (tmp_path / "mock-default.json").write_text(text)
    with pytest.raises(StorageError) as caught:
        store.load("default", Environment.MOCK)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_missing_keys_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kisbt keys add --environment real"):
        KeyStore(tmp_path, variables={}).load("default", Environment.REAL)


VARIABLES = {
    "KISBT_MOCK_APP_KEY": APP_KEY,
    "KISBT_MOCK_APP_SECRET": APP_SECRET,
    "KISBT_MOCK_ACCOUNT": "12345678-01",
    "KISBT_REAL_APP_KEY": APP_KEY,
    "KISBT_REAL_APP_SECRET": APP_SECRET,
    "KISBT_REAL_ACCOUNT": "12345678-01",
}


def test_variables_serve_mock_keys_and_never_real_ones(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, variables=VARIABLES)
    assert store.load("default", Environment.MOCK).app_key == Secret(APP_KEY)
    assert [item.place for item in store.list()] == [Place.VARIABLES]
    with pytest.raises(ConfigError):
        store.load("default", Environment.REAL)


def test_removed_keys_are_gone(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, keyring=FakeKeyring(), variables={})
    store.add(make_keys())
    store.add(make_keys(profile="other"), in_file=True)
    assert [item.profile for item in store.list()] == ["default", "other"]
    assert store.remove("default", Environment.MOCK)
    assert not store.remove("default", Environment.MOCK)
    assert [item.profile for item in store.list()] == ["other"]


# The broker's own file.

DEVLP = f"""
my_app: "{APP_KEY}"
my_sec: "{APP_SECRET}"
paper_app: "모의투자 앱키"
paper_sec: "모의투자 앱키 시크릿"
my_htsid: "canaryhts"
my_acct_stock: "01234567"
my_paper_stock: "모의투자 증권계좌 8자리"
my_prod: "01"
prod: "https://openapi.koreainvestment.com:9443"
"""


def test_devlp_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kis_devlp.yaml"
    path.write_text(DEVLP, encoding="utf-8")
    (keys,) = read_devlp(path)
    assert keys.environment is Environment.REAL
    assert keys.account == Account("01234567", "01")
    assert keys.hts_id == Secret("canaryhts")


def test_devlp_with_both_servers(tmp_path: Path) -> None:
    path = tmp_path / "kis_devlp.yaml"
    both = {
        "my_app": APP_KEY,
        "my_sec": APP_SECRET,
        "my_acct_stock": "12345678",
        "paper_app": APP_KEY,
        "paper_sec": APP_SECRET,
        "my_paper_stock": "5012345601",
        "my_prod": "01",
    }
    path.write_text(json.dumps(both))
    assert [keys.environment for keys in read_devlp(path)] == ["real", "mock"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "my_app: [",
        "my_app: !!python/object/apply:os.system ['true']",
        f"my_app: {APP_KEY}",
        f"my_app: {APP_KEY}\nmy_sec: {APP_SECRET}\nmy_acct_stock: 123",
        "a: " + "x" * 100_000,
    ],
)
def test_other_files_are_refused_unseen(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kis_devlp.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_devlp(path)
    assert APP_SECRET not in "".join(traceback.format_exception(caught.value))
