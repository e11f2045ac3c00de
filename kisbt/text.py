"""User-facing words: one gettext catalogue, Korean and English.

Message ids are the English texts. Write ``_("Found {found}").format(found=x)``,
never an f-string inside ``_``, so that the catalogue can be extracted.
"""

import gettext
import locale
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.resources import files

LANGUAGES = ("ko", "en")
_language: ContextVar[str] = ContextVar("kisbt_language", default="en")


@lru_cache(maxsize=len(LANGUAGES))
def _catalogue(language: str) -> gettext.NullTranslations:
    path = files("kisbt") / "locale" / language / "LC_MESSAGES" / "kisbt.mo"
    if not path.is_file():
        return gettext.NullTranslations()
    with path.open("rb") as stream:
        return gettext.GNUTranslations(stream)


def _(message: str) -> str:
    """Return `message` in the language in force; English if not translated."""
    return _catalogue(_language.get()).gettext(message) if message else ""


def current_language() -> str:
    """Return the language in force: ``ko`` or ``en``."""
    return _language.get()


def set_language(language: str) -> None:
    """Make `language` (``ko`` or ``en``) the one in force for this context."""
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}: expected one of {LANGUAGES}")
    _language.set(language)


@contextmanager
def use_language(language: str) -> Iterator[None]:
    """Use `language` inside a ``with`` block."""
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}: expected one of {LANGUAGES}")
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def default_language() -> str:
    """Guess the user's language: ``KISBT_LANG``, else the locale, else English."""
    for name in ("KISBT_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "ko" if value.lower().startswith("ko") else "en"
    return "ko" if (locale.getlocale()[0] or "").lower().startswith("ko") else "en"
