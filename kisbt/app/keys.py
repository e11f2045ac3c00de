"""Keys of the user: bring in, list, forget."""

from dataclasses import dataclass
from pathlib import Path

from kisbt.app.connect import Access, key_store
from kisbt.app.state import server_folder
from kisbt.errors import KisError
from kisbt.kis.keys import (
    KisKeys,
    Place,
    Secret,
    StoredKeys,
    parse_account,
    parse_profile,
    read_devlp,
)
from kisbt.kis.servers import kis_server
from kisbt.model.account import Environment


@dataclass(frozen=True, slots=True)
class Added:
    """A set of keys that was kept, and what the server said to it.

    Attributes:
        problem: why the server did not give a token; "" if it did or was not asked.
    """

    profile: str
    environment: Environment
    place: Place
    problem: str = ""


def make_keys(
    profile: str,
    environment: Environment,
    *,
    app_key: Secret,
    app_secret: Secret,
    account: Secret,
    hts_id: Secret,
) -> KisKeys:
    """Return a set of keys out of what the user typed.

    Raises:
        InputError: something cannot be right; nothing secret is repeated.
    """
    return KisKeys(
        profile=parse_profile(profile),
        environment=environment,
        app_key=app_key,
        app_secret=app_secret,
        account=parse_account(account.reveal()),
        hts_id=hts_id,
    )


def import_devlp(path: Path, profile: str) -> tuple[KisKeys, ...]:
    """Return the sets of keys in the broker's own ``kis_devlp.yaml``.

    Raises:
        InputError: there is no complete set in it.
    """
    return read_devlp(path, profile=parse_profile(profile))


def add_keys(keys: KisKeys, *, in_file: bool = False, test: bool = True) -> Added:
    """Keep a set of keys, and ask the server for a token with them.

    They are kept whatever the server says: it may be closed for maintenance.

    Raises:
        StorageError: they could not be kept.
    """
    place = key_store().add(keys, in_file=in_file)
    problem = try_keys(keys) if test else ""
    return Added(keys.profile, keys.environment, place, problem)


def try_keys(keys: KisKeys) -> str:
    """Return why the server does not accept the keys; "" if it does."""
    client = Access(keys, kis_server(keys.environment)).open(read_only=True)
    try:
        client.auth.token()
    except KisError as error:
        return str(error)
    finally:
        client.close()
    return ""


def list_keys() -> tuple[StoredKeys, ...]:
    """Return the sets of keys there are; nothing secret in them."""
    return key_store().list()


def remove_keys(profile: str, environment: Environment, *, revoke: bool = True) -> bool:
    """Forget a set of keys; return whether there was one.

    Args:
        profile: its name.
        environment: its server.
        revoke: also give its token back, if one is in use.

    Raises:
        StorageError: it is still there.
    """
    store = key_store()
    known = {(item.profile, item.environment) for item in store.list()}
    if (profile, environment) in known and revoke:
        _forget_token(store.load(profile, environment))
    return store.remove(profile, environment)


def _forget_token(keys: KisKeys) -> None:
    server = kis_server(keys.environment)
    files = tuple(server_folder(server).glob(f"*-{keys.fingerprint}.json*"))
    if any(path.name.startswith("token-") for path in files):
        client = Access(keys, server).open(read_only=True)
        try:
            client.auth.revoke()
        except KisError:
            pass  # it dies within a day, and the key can be withdrawn at the portal
        finally:
            client.close()
    for path in files:
        path.unlink(missing_ok=True)
