"""The packages of the extra `optimize`, asked for only when they are needed."""

import importlib
from types import ModuleType

from kisbt.errors import InputError
from kisbt.text import _


def require(name: str) -> ModuleType:
    """Import a module of the extra `optimize`.

    Raises:
        InputError: it is not installed; names the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise InputError(
            _(
                "this command needs the package {package}, which is not installed: "
                'python -m pip install "kisbt[optimize]" (in a checkout: '
                'python -m pip install -e ".[optimize]")'
            ).format(package=package)
        ) from error
