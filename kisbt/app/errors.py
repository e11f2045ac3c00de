"""`kisbt errors`: KIS's message codes, explained."""

from difflib import get_close_matches

from kisbt.errors import InputError
from kisbt.kis.messages import Explanation, explain_code, known_codes
from kisbt.text import _


def explain(code: str) -> Explanation:
    """Return what a code means.

    Raises:
        InputError: the code is not known.
    """
    found = explain_code(code)
    if found is None:
        near = get_close_matches(code.strip().upper(), known_codes(), n=3, cutoff=0.6)
        raise InputError(
            _("code {code!r} is not known; near it: {near}").format(
                code=code, near=", ".join(near)
            )
            if near
            else _("code {code!r} is not known; `kisbt errors` lists all").format(
                code=code
            )
        )
    return found


def explain_all() -> tuple[Explanation, ...]:
    """Return every code, in order."""
    return tuple(found for code in known_codes() if (found := explain_code(code)))
