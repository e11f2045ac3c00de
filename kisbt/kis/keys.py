"""App keys: a type that never shows itself, and where the keys are kept.

The operating system's keyring first; without one, a file only its owner may read;
for mock keys, environment variables as well. Never the command line, never the
configuration.
"""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn, Protocol

import yaml

from kisbt.errors import ConfigError, InputError, StorageError
from kisbt.kis.private import read_private, remove_private, write_private
from kisbt.model.account import Account, Environment
from kisbt.text import _

MASK = "****"
EMULATOR_PREFIX = "KISBTEMULATOR"
"""How the invented keys of the local emulator begin; no KIS key does."""

_SERVICE = "kisbt"
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_ACCOUNT = re.compile(r"([0-9]{8})-?([0-9]{2})?")
_LARGEST_YAML = 64 * 1024


class Secret:
    """A text that must not be seen: masked wherever it is printed.

    Only `reveal` returns it. It cannot be pickled, so that it never lands in a
    file or another process by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself, to be sent and forgotten."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class KisKeys:
    """What one app key of KIS consists of.

    Attributes:
        profile: the user's name for this set of keys.
        environment: the server they belong to; they work on no other.
        app_key, app_secret: 36 and 180 characters at KIS.
        account: whose orders they send.
        hts_id: the user's id at the broker, for notices of orders; may be empty.
    """

    profile: str
    environment: Environment
    app_key: Secret
    app_secret: Secret
    account: Account
    hts_id: Secret

    def __post_init__(self) -> None:
        """Check what can be checked without asking KIS.

        Raises:
            InputError: something cannot be a key; never repeats it.
        """
        parse_profile(self.profile)
        for name, secret in (
            (_("app key"), self.app_key),
            (_("app secret"), self.app_secret),
        ):
            if not _may_be_key(secret):
                raise InputError(
                    _(
                        "{name}: {count} characters, with blanks or other signs among "
                        "them; copy it again from the KIS Developers page"
                    ).format(name=name, count=len(secret.reveal()))
                )
        if len(self.app_key.reveal()) >= len(self.app_secret.reveal()):
            raise InputError(
                _(
                    "the app key has {key} characters and the app secret {secret}; "
                    "KIS gives 36 and 180. Are they swapped?"
                ).format(
                    key=len(self.app_key.reveal()), secret=len(self.app_secret.reveal())
                )
            )

    def __repr__(self) -> str:
        return (
            f"KisKeys({self.profile!r}, {self.environment}, "
            f"{self.account.masked}, {MASK})"
        )

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that tell this key and server from others."""
        text = f"{self.environment}:{self.app_key.reveal()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def is_emulator(self) -> bool:
        """Whether the local emulator handed them out."""
        return self.app_key.reveal().startswith(EMULATOR_PREFIX)


def parse_profile(text: str) -> str:
    """Return the name of a set of keys.

    Raises:
        InputError: it cannot be part of a file name.
    """
    if not _PROFILE.fullmatch(text):
        raise InputError(
            _(
                "profile {found!r}: expected letters, digits, - and _, at most 32"
            ).format(found=text)
        )
    return text


def _may_be_key(secret: Secret) -> bool:
    text = secret.reveal()
    return bool(text) and text.isascii() and not any(c.isspace() for c in text)


def parse_account(text: str) -> Account:
    """Return the account written as ``12345678-01``, ``1234567801`` or ``12345678``.

    Raises:
        InputError: anything else; it is not repeated.
    """
    found = _ACCOUNT.fullmatch(text.strip())
    if found is None:
        raise InputError(
            _(
                "account: found {count} characters, expected eight digits, or ten as "
                "12345678-01"
            ).format(count=len(text.strip()))
        )
    return Account(found[1], found[2] or "01")


class Backend(Protocol):
    """Somewhere to keep one text by name."""

    def get(self, name: str) -> str | None:
        """Return the text; None if there is none."""
        ...

    def set(self, name: str, text: str) -> None:
        """Keep a text, in place of any other of that name."""
        ...

    def delete(self, name: str) -> bool:
        """Forget a text; return whether there was one."""
        ...


class FileBackend:
    """One file a set of keys, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> str | None:
        """Return the text; None if there is none.

        Raises:
            StorageError: others may read the file.
        """
        return read_private(self._path(name))

    def set(self, name: str, text: str) -> None:
        """Write the file.

        Raises:
            StorageError: nothing was changed.
        """
        write_private(self._path(name), text)

    def delete(self, name: str) -> bool:
        """Remove the file; return whether there was one."""
        return remove_private(self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


class KeyringBackend:
    """The operating system's own store of secrets."""

    def get(self, name: str) -> str | None:
        """Return the text; None if there is none or the keyring is locked."""
        import keyring
        from keyring.errors import KeyringError

        try:
            return keyring.get_password(_SERVICE, name)
        except KeyringError as error:
            raise StorageError(_keyring_failed(error)) from None

    def set(self, name: str, text: str) -> None:
        """Keep a text.

        Raises:
            StorageError: the keyring refused.
        """
        import keyring
        from keyring.errors import KeyringError

        try:
            keyring.set_password(_SERVICE, name, text)
        except KeyringError as error:
            raise StorageError(_keyring_failed(error)) from None

    def delete(self, name: str) -> bool:
        """Forget a text; return whether there was one."""
        import keyring
        from keyring.errors import KeyringError, PasswordDeleteError

        try:
            keyring.delete_password(_SERVICE, name)
        except PasswordDeleteError:
            return False
        except KeyringError as error:
            raise StorageError(_keyring_failed(error)) from None
        return True


def _keyring_failed(error: Exception) -> str:
    return _(
        "the keyring does not answer ({kind}); unlock it, or keep the keys in a file: "
        "kisbt keys add --file"
    ).format(kind=type(error).__name__)


# Backends of keyring that keep secrets in the operating system's own store. Others
# write them as plain text, or forget them.
_TRUSTED_KEYRINGS = (
    "keyring.backends.SecretService",
    "keyring.backends.libsecret",
    "keyring.backends.kwallet",
    "keyring.backends.macOS",
    "keyring.backends.Windows",
)


def usable_keyring() -> KeyringBackend | None:
    """Return the operating system's keyring; None where there is none to trust."""
    import keyring
    from keyring.errors import KeyringError

    try:
        backend = keyring.get_keyring()
        chosen = [backend, *getattr(backend, "backends", ())]
    except (KeyringError, RuntimeError):
        return None
    first = next(
        (item for item in chosen if "chainer" not in type(item).__module__), None
    )
    if first is None or not type(first).__module__.startswith(_TRUSTED_KEYRINGS):
        return None
    return KeyringBackend()


class Place(StrEnum):
    """Where a set of keys is kept."""

    KEYRING = "keyring"
    FILE = "file"
    VARIABLES = "environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKeys:
    """A set of keys that can be loaded; nothing secret in it.

    Attributes:
        account: masked.
    """

    profile: str
    environment: Environment
    account: str
    place: Place


class KeyStore:
    """Keeps sets of keys by profile and environment."""

    def __init__(
        self,
        folder: Path,
        *,
        keyring: Backend | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Use a folder and perhaps a keyring.

        Args:
            folder: of files and of the index, which names what is kept where.
            keyring: from `usable_keyring`; None keeps keys in files.
            variables: environment variables, for mock keys; the process's own
                by default.
        """
        self._folder = folder
        self._files = FileBackend(folder)
        self._keyring = keyring
        self._variables = os.environ if variables is None else variables

    @property
    def has_keyring(self) -> bool:
        """Whether keys go to a keyring unless a file is asked for."""
        return self._keyring is not None

    def add(self, keys: KisKeys, *, in_file: bool = False) -> Place:
        """Keep a set of keys in place of any of that profile and environment.

        Raises:
            StorageError: nothing was kept.
        """
        name = _entry(keys.profile, keys.environment)
        place = Place.FILE if in_file or self._keyring is None else Place.KEYRING
        if place is Place.KEYRING and self._keyring is not None:
            self._keyring.set(name, _dump(keys))
            self._files.delete(name)
        else:
            self._files.set(name, _dump(keys))
        index = self._read_index()
        index[name] = StoredKeys(
            profile=keys.profile,
            environment=keys.environment,
            account=keys.account.masked,
            place=place,
        )
        self._write_index(index)
        return place

    def load(self, profile: str, environment: Environment) -> KisKeys:
        """Return a set of keys.

        Raises:
            ConfigError: there is none; the message says how to add it.
            StorageError: it is there, but must not or cannot be read.
        """
        name = _entry(parse_profile(profile), environment)
        stored = self._stored(name)
        if stored is not None:
            return _parse(stored, profile, environment)
        if environment is Environment.MOCK:
            found = _from_variables(self._variables, profile)
            if found is not None:
                return found
        raise ConfigError(
            _(
                "no {environment} keys named {profile}; add them with: kisbt keys add "
                "--environment {environment} --profile {profile}"
            ).format(environment=environment, profile=profile),
            path="kis.profile",
        )

    def _stored(self, name: str) -> Secret | None:
        text = self._files.get(name)  # a keyring may be locked, or gone
        if text is None and self._keyring is not None:
            text = self._keyring.get(name)
        return None if text is None else Secret(text)

    def remove(self, profile: str, environment: Environment) -> bool:
        """Forget a set of keys; return whether there was one.

        Raises:
            StorageError: it is still there.
        """
        name = _entry(parse_profile(profile), environment)
        index = self._read_index()
        known = index.pop(name, None) is not None
        gone = self._keyring.delete(name) if self._keyring is not None else False
        gone = self._files.delete(name) or gone
        if known:
            self._write_index(index)
        return gone or known

    def list(self) -> tuple[StoredKeys, ...]:
        """Return what can be loaded, by profile and environment."""
        found = list(self._read_index().values())
        keys = _from_variables(self._variables, "default")
        if keys is not None and _entry("default", Environment.MOCK) not in {
            _entry(item.profile, item.environment) for item in found
        }:
            found.append(
                StoredKeys(
                    profile=keys.profile,
                    environment=keys.environment,
                    account=keys.account.masked,
                    place=Place.VARIABLES,
                )
            )
        return tuple(sorted(found, key=lambda item: (item.profile, item.environment)))

    def _read_index(self) -> dict[str, StoredKeys]:
        text = read_private(self._folder / "index.json")
        if text is None:
            return {}
        try:
            return {
                _entry(row["profile"], Environment(row["environment"])): StoredKeys(
                    profile=row["profile"],
                    environment=Environment(row["environment"]),
                    account=row["account"],
                    place=Place(row["place"]),
                )
                for row in json.loads(text)
            }
        except (ValueError, TypeError, KeyError):
            return {}  # the keys themselves are untouched; `keys add` writes it anew

    def _write_index(self, index: Mapping[str, StoredKeys]) -> None:
        rows = [
            {
                "profile": item.profile,
                "environment": item.environment.value,
                "account": item.account,
                "place": item.place.value,
            }
            for item in index.values()
        ]
        write_private(self._folder / "index.json", json.dumps(rows))


def _entry(profile: str, environment: Environment) -> str:
    return f"{environment}-{profile}"


def _dump(keys: KisKeys) -> str:
    return json.dumps(
        {
            "profile": keys.profile,
            "environment": keys.environment.value,
            "app_key": keys.app_key.reveal(),
            "app_secret": keys.app_secret.reveal(),
            "account": str(keys.account),
            "hts_id": keys.hts_id.reveal(),
        }
    )


def _read(stored: Secret) -> KisKeys | None:
    """Return the keys written by `_dump`; None if they are damaged."""
    try:
        row = json.loads(stored.reveal())
        return KisKeys(
            profile=str(row["profile"]),
            environment=Environment(row["environment"]),
            app_key=Secret(str(row["app_key"])),
            app_secret=Secret(str(row["app_secret"])),
            account=parse_account(str(row["account"])),
            hts_id=Secret(str(row.get("hts_id", ""))),
        )
    except (ValueError, TypeError, KeyError, InputError):
        return None


def _parse(stored: Secret, profile: str, environment: Environment) -> KisKeys:
    # A traceback may show the variables here: none of them holds a plain key.
    keys = _read(stored)
    if keys is None:
        raise StorageError(
            _(
                "the stored {environment} keys named {profile} are damaged; add them "
                "again with: kisbt keys add"
            ).format(environment=environment, profile=profile)
        )
    if keys.environment is not environment or keys.profile != profile:
        raise StorageError(
            _(
                "the keys stored as {environment} keys named {profile} are "
                "{found} keys named {name}; add them again with: kisbt keys add"
            ).format(
                environment=environment,
                profile=profile,
                found=keys.environment,
                name=keys.profile,
            )
        )
    return keys


def _from_variables(variables: Mapping[str, str], profile: str) -> KisKeys | None:
    """Return the mock keys in KISBT_MOCK_APP_KEY and its kin; None without."""
    app_key = variables.get("KISBT_MOCK_APP_KEY", "")
    app_secret = variables.get("KISBT_MOCK_APP_SECRET", "")
    account = variables.get("KISBT_MOCK_ACCOUNT", "")
    if not (app_key and app_secret and account):
        return None
    return KisKeys(
        profile=profile,
        environment=Environment.MOCK,
        app_key=Secret(app_key.strip()),
        app_secret=Secret(app_secret.strip()),
        account=parse_account(account),
        hts_id=Secret(variables.get("KISBT_MOCK_HTS_ID", "").strip()),
    )


# Names in the broker's own kis_devlp.yaml: key, secret and stock account of each
# environment. Source: koreainvestment/open-trading-api kis_devlp.yaml, 2026-07-09.
_DEVLP = {
    Environment.REAL: ("my_app", "my_sec", "my_acct_stock"),
    Environment.MOCK: ("paper_app", "paper_sec", "my_paper_stock"),
}


def read_devlp(path: Path, *, profile: str = "default") -> tuple[KisKeys, ...]:
    """Return the sets of keys in the broker's ``kis_devlp.yaml``, real first.

    A set the file leaves blank, or with the template's own words in it, is left out.

    Raises:
        InputError: not such a file, or no set in it is complete. No value of the
            file is repeated.
    """
    values = _read_yaml(path)
    if values is None:
        raise InputError(
            _("{path}: not a kis_devlp.yaml of the broker").format(path=path)
        )
    blank = Secret("")
    found: list[KisKeys] = []
    problems: list[str] = []
    for environment, names in _DEVLP.items():
        app_key, app_secret, account = (values.get(name, blank) for name in names)
        if not (app_key and app_secret):
            continue
        try:
            keys = KisKeys(
                profile=profile,
                environment=environment,
                app_key=app_key,
                app_secret=app_secret,
                account=_devlp_account(account, values.get("my_prod", blank)),
                hts_id=values.get("my_htsid", blank),
            )
        except InputError as error:
            problems.append(f"{environment}: {error}")
        else:
            found.append(keys)
    if problems or not found:
        raise InputError(
            _("{path}: no complete set of keys. {problems}").format(
                path=path,
                problems="; ".join(problems)
                or _(
                    "Expected my_app, my_sec, my_acct_stock or paper_app, paper_sec, "
                    "my_paper_stock"
                ),
            )
        )
    return tuple(found)


def _devlp_account(number: Secret, product: Secret) -> Account:
    text = number.reveal()
    return parse_account(
        text if len(text) != 8 else f"{text}-{product.reveal() or '01'}"
    )


def _read_yaml(path: Path) -> Mapping[str, Secret] | None:
    """Return the words of a file by name; None if it is no mapping."""
    content = path.read_bytes()
    if len(content) > _LARGEST_YAML:
        return None
    try:
        # BaseLoader keeps every scalar as written: account 01234567 is no number.
        values: object = yaml.load(content, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError):
        return None  # its message would quote the file
    if not isinstance(values, Mapping):
        return None
    return {
        str(name): Secret(_word(text))
        for name, text in values.items()
        if isinstance(text, str)
    }


def _word(text: str) -> str:
    # The template has Korean words where the user is to write.
    return text.strip() if text.isascii() else ""
