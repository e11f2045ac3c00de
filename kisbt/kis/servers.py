"""Where each kind of key may be sent; in code, so that no file can change it."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from kisbt.errors import ConfigError
from kisbt.kis.keys import KisKeys
from kisbt.kis.wire.endpoints import SERVERS
from kisbt.model.account import Environment
from kisbt.text import _

_LOOPBACK = frozenset({"127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server: addresses, and what it is.

    Attributes:
        rest_url: without a path, for example ``https://host:9443``.
        ws_url: without a path.
        is_emulator: the local one, without money or a network.
    """

    environment: Environment
    rest_url: str
    ws_url: str
    is_emulator: bool = False

    def __post_init__(self) -> None:
        """Refuse an address that is not on the list.

        Raises:
            ConfigError: the address could not be meant.
        """
        if self.is_emulator:
            _require_loopback(self.rest_url, "http")
            _require_loopback(self.ws_url, "ws")
        elif not _is_kis(self):
            raise ConfigError(
                _(
                    "{url} is not the {environment} server of KIS; kisbt sends keys "
                    "nowhere else"
                ).format(url=self.rest_url, environment=self.environment),
                path="kis",
            )

    @property
    def name(self) -> str:
        """What people call it."""
        if self.is_emulator:
            return _("emulator ({environment})").format(environment=self.environment)
        return f"KIS ({self.environment})"

    def allows(self, url: str) -> bool:
        """Whether `url` is on this very server, over REST."""
        return _origin(url) == _origin(self.rest_url)


def kis_server(environment: Environment) -> Server:
    """Return the broker's own server of an environment."""
    listed = SERVERS[environment]
    return Server(
        environment=environment, rest_url=listed.rest_url, ws_url=listed.ws_url
    )


def emulator_server(environment: Environment, rest_url: str, ws_url: str) -> Server:
    """Return the local emulator listening at two addresses.

    Raises:
        ConfigError: an address is not on this machine.
    """
    return Server(
        environment=environment,
        rest_url=rest_url.rstrip("/"),
        ws_url=ws_url.rstrip("/"),
        is_emulator=True,
    )


def require_own_keys(server: Server, keys: KisKeys) -> None:
    """Refuse keys that do not belong to a server, before anything is sent.

    Raises:
        ConfigError: keys of the other environment; the broker's keys for the
            emulator; the emulator's keys for the broker.
    """
    if keys.is_emulator != server.is_emulator:
        message = (
            _(
                "the keys named {profile} are KIS's own, and {server} is on this "
                "machine; use the keys the emulator hands out. Nothing was sent."
            )
            if server.is_emulator
            else _(
                "the keys named {profile} are the emulator's; {server} would refuse "
                "them. Add your own: kisbt keys add. Nothing was sent."
            )
        )
    elif keys.environment is not server.environment:
        message = _(
            "the keys named {profile} are {found} keys, and {server} takes {wanted} "
            "keys. Nothing was sent."
        )
    else:
        return
    raise ConfigError(
        message.format(
            profile=keys.profile,
            server=server.name,
            found=keys.environment,
            wanted=server.environment,
        ),
        path="kis.profile",
    )


def _is_kis(server: Server) -> bool:
    listed = SERVERS[server.environment]
    return (server.rest_url, server.ws_url) == (listed.rest_url, listed.ws_url)


def _require_loopback(url: str, scheme: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != scheme or parts.hostname not in _LOOPBACK or not parts.port:
        raise ConfigError(
            _(
                "{url} is no address of a local emulator; expected {scheme}://"
                "127.0.0.1:PORT"
            ).format(url=url, scheme=scheme),
            path="kis",
        )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname, port
