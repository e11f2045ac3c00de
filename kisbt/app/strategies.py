"""Find, load, check and create strategy classes."""

import ast
import importlib
import inspect
import keyword
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import backtrader as bt

from kisbt.config.words import nearest
from kisbt.errors import (
    ConfigError,
    InputError,
    KisbtError,
    StorageError,
    StrategyError,
)
from kisbt.text import _

FOLDER = "strategies"
"""Where a project keeps its strategies, and the package they import as."""

KEY = "strategy.class"

_OURS = Path(__file__).resolve().parent.parent


def load_strategy_class(reference: str, root: Path) -> type[Any]:
    """Return the class written as ``module:Class``.

    The project's folder, then the working directory, come first on `sys.path`
    and stay there, so that the strategy's own imports work later, too.

    Args:
        reference: such as ``strategies.ma_cross:MaCross``.
        root: the project's folder (`Config.root`).

    Raises:
        ConfigError: no such module or class, or it is no `bt.Strategy`.
        StrategyError: the user's file raised while it was imported.
    """
    module_name, _colon, class_name = reference.partition(":")
    module = import_strategy_module(module_name, root)
    found = getattr(module, class_name, None)
    if found is None:
        raise ConfigError(
            _("{key}: {file} has no class {name}; {hint}").format(
                key=KEY,
                file=module.__file__,
                name=class_name,
                hint=_hint(class_name, (item.__name__ for item in classes_of(module))),
            ),
            path=KEY,
        )
    if not (isinstance(found, type) and issubclass(found, bt.Strategy)):
        raise ConfigError(
            _(
                "{key}: {name} in {file} is no strategy; derive it from bt.Strategy"
            ).format(key=KEY, name=class_name, file=module.__file__),
            path=KEY,
        )
    return found


def import_strategy_module(name: str, root: Path) -> ModuleType:
    """Import a module of the project; see `load_strategy_class`."""
    put_on_path(root)
    _forget_other_projects(name.partition(".")[0], root)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_failed(name, error) from error
        raise ConfigError(
            _("{key}: no module {name} in {folder}; {hint}").format(
                key=KEY,
                name=name,
                folder=root,
                hint=_module_hint(name, root),
            ),
            path=KEY,
        ) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error


def put_on_path(root: Path) -> None:
    """Put the project's folder, then the working directory, first on `sys.path`."""
    for folder in (str(Path.cwd()), str(root)):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)


def _forget_other_projects(top: str, root: Path) -> None:
    """Drop a package imported from another folder when this project has its own."""
    loaded = sys.modules.get(top)
    if loaded is None or not ((root / top).is_dir() or (root / f"{top}.py").is_file()):
        return
    places = [*getattr(loaded, "__path__", ()), getattr(loaded, "__file__", None) or ""]
    if any(Path(place).resolve().is_relative_to(root.resolve()) for place in places):
        return
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{top}.")]:
        del sys.modules[name]


def _hint(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    found = nearest(word, names)
    if found:
        return found
    if names:
        return _("known: {names}").format(names=", ".join(names[:8]))
    return _("make one: kisbt strategy new NAME")


def _module_hint(name: str, root: Path) -> str:
    # The last part alone: the common "strategies." would make all look alike.
    short = [known.rpartition(".")[2] for known in known_modules(root)]
    found = nearest(name.rpartition(".")[2], short, prefix=f"{FOLDER}.")
    return found or _hint("", known_modules(root))


def known_modules(root: Path) -> list[str]:
    """Return the dotted names of the modules in the project's `strategies`."""
    return sorted(
        f"{FOLDER}.{item.name}" for item in pkgutil.iter_modules([str(root / FOLDER)])
    )


def classes_of(module: ModuleType) -> list[type[Any]]:
    """Return the strategy classes a module itself defines, in its order."""
    return [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, bt.Strategy)
        and item.__module__ == module.__name__
    ]


def _import_failed(name: str, error: BaseException) -> StrategyError:
    file, line = error_place(error)
    return StrategyError(
        _("{file}, line {line}: {kind}: {error}; the file cannot be imported").format(
            file=file or name, line=line, kind=type(error).__name__, error=error
        )
    )


def error_place(error: BaseException) -> tuple[str, int]:
    """Return file and line of the user's code that raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
        and "site-packages" not in frame.filename
        and not Path(frame.filename).is_relative_to(_OURS)
        and Path(frame.filename).name != "__init__.py"
    ]
    if not frames:
        return "", 0
    return frames[-1].filename, frames[-1].lineno or 0


def strategy_params(strategy: type[Any]) -> dict[str, Any]:
    """Return the parameters of a class and their defaults, in its order."""
    # backtrader has no public way to list them.
    return dict(strategy.params._getitems())  # noqa: SLF001


def check_params(strategy: type[Any], params: Mapping[str, Any]) -> None:
    """Refuse parameters the class does not have.

    Raises:
        ConfigError: names the parameter and the nearest known one.
    """
    known = strategy_params(strategy)
    for name in params:
        if name not in known:
            path = f"strategy.params.{name}"
            raise ConfigError(
                _("{key}: {name} has no such parameter; {hint}").format(
                    key=path, name=strategy.__name__, hint=_params_hint(name, known)
                ),
                path=path,
            )


def _params_hint(name: str, known: Mapping[str, Any]) -> str:
    if not known:
        return _("it has none")
    return nearest(name, known) or _("known: {names}").format(names=", ".join(known))


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyInfo:
    """A strategy class of a project, or a file that cannot be imported.

    Attributes:
        reference: ``module:Class``, as `strategy.class` takes it.
        about: first line of its docstring.
        problem: why the file cannot be imported, else "".
    """

    reference: str
    about: str
    params: Mapping[str, Any]
    problem: str = ""


def list_strategies(root: Path) -> list[StrategyInfo]:
    """Return the strategies in the project's `strategies` folder.

    Classes that others there derive from are left out; files that cannot be
    imported come last.

    Raises:
        InputError: there is no such folder.
    """
    if not (root / FOLDER).is_dir():
        raise InputError(
            _(
                "{folder} does not exist; go to a project's folder, or: kisbt init DIR"
            ).format(folder=root / FOLDER)
        )
    classes: list[type[Any]] = []
    broken: list[StrategyInfo] = []
    for name in known_modules(root):
        try:
            classes += classes_of(import_strategy_module(name, root))
        except KisbtError as error:
            broken.append(
                StrategyInfo(reference=name, about="", params={}, problem=str(error))
            )
    bases = {base for item in classes for base in item.__mro__[1:]}
    return [_info(item) for item in classes if item not in bases] + broken


def _info(strategy: type[Any]) -> StrategyInfo:
    return StrategyInfo(
        reference=f"{strategy.__module__}:{strategy.__name__}",
        about=(inspect.getdoc(strategy) or "").partition("\n")[0],
        params=strategy_params(strategy),
    )


PRICE_LINES = frozenset({"open", "high", "low", "close", "volume", "datetime"})


def strategy_warnings(strategy: type[Any]) -> list[str]:
    """Return what in the source would make a backtest lie or differ from live.

    Looks for future bars (``close[1]``), the wall clock and sleeping. It reads
    the file, so it sees only what is written plainly.
    """
    file = inspect.getsourcefile(strategy)
    if file is None:
        return []
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return [
        _("{file}, line {line}: {text}").format(file=file, line=line, text=text)
        for line, text in sorted(_findings(tree))
    ]


def _findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_future_bar(node):
            yield node.lineno, _("a positive index is a future bar; use 0 or below")
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if re.search(r"\b(datetime|date)\.(now|utcnow|today)$|^time\.time$", name):
                yield (
                    node.lineno,
                    _("{name}() is the wall clock; take the bar's time").format(
                        name=name
                    ),
                )
            elif name in {"time.sleep", "sleep"}:
                yield node.lineno, _("sleeping stops the whole run; count bars instead")


def _is_future_bar(node: ast.Subscript) -> bool:
    index = node.slice
    return (
        isinstance(node.value, ast.Attribute)
        and node.value.attr in PRICE_LINES
        and isinstance(index, ast.Constant)
        and isinstance(index.value, int)
        and not isinstance(index.value, bool)
        and index.value > 0
    )


def create_strategy(name: str, root: Path) -> list[Path]:
    """Write a new strategy and its configuration; return both files.

    Args:
        name: such as ``my_idea``: the module's name; the class is ``MyIdea``.

    Raises:
        InputError: no usable name, or a file of that name is there already.
        StorageError: a file could not be written.
    """
    module = re.sub(r"[\s-]+", "_", name.strip()).lower()
    if not module.isidentifier() or keyword.iskeyword(module):
        raise InputError(
            _("name {found!r}: expected letters, digits and _ such as my_idea").format(
                found=name
            )
        )
    class_name = "".join(part.capitalize() for part in module.split("_"))
    files = {
        root / FOLDER / "__init__.py": '"""Strategies of this project."""\n',
        root / FOLDER / f"{module}.py": _STRATEGY.replace("MyIdea", class_name),
        root / "configs" / f"{module}.yaml": _CONFIG.replace(
            "my_idea:MyIdea", f"{module}:{class_name}"
        ),
    }
    written = []
    for path, text in files.items():
        if path.name == "__init__.py" and path.exists():
            continue
        if path.exists():
            raise InputError(
                _("{path} is there already; choose another name").format(path=path)
            )
        written.append((path, text))
    for path, text in written:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageError(
                _("{path} cannot be written: {error}").format(
                    path=path, error=error.strerror
                )
            ) from error
    return [path for path, _text in written if path.name != "__init__.py"]


_STRATEGY = '''"""My idea: buy strength, sell weakness."""

from typing import Any

import backtrader as bt


class MyIdea(bt.Strategy):
    """Buy a close above its moving average; sell one below it."""

    params: Any = (("period", 20), ("max_position", 5), ("position_size", 0.2))

    def __init__(self) -> None:
        self.averages = {
            data: bt.ind.SMA(data.close, period=self.p.period) for data in self.datas
        }
        self.pending: dict[Any, Any] = {}

    def notify_order(self, order: Any) -> None:
        if not order.alive():
            self.pending.pop(order.data, None)

    def prenext(self) -> None:
        # Also while some symbols have too few bars: the others trade already.
        self.next()

    def next(self) -> None:
        ready = [
            data
            for data in self.datas
            if len(data) > self.p.period and data not in self.pending
        ]
        for data in ready:
            held = self.getposition(data).size
            if held and data.close[0] < self.averages[data][0]:
                self.pending[data] = self.sell(data, size=held, reason="below average")
        slots = self.p.max_position - sum(
            1
            for data in self.datas
            if self.getposition(data).size or data in self.pending
        )
        for data in ready:
            if slots <= 0:
                break
            if self.getposition(data).size or data in self.pending:
                continue
            if data.close[0] > self.averages[data][0]:
                budget = self.broker.getvalue() * self.p.position_size
                size = int(budget / data.close[0])
                if size > 0:
                    self.pending[data] = self.buy(
                        data, size=size, reason="above average"
                    )
                    slots -= 1
'''

_CONFIG = """\
# yaml-language-server: $schema=schema.json
mode: backtest
strategy:
  class: strategies.my_idea:MyIdea
  params: {period: 20, max_position: 5, position_size: 0.2}
universe: {symbols: ["990001", "990002", "990003", "990004", "990005"]}
bars: {interval: 1d}
data: {path: data, warmup: 250}
capital: 10000000
report: {benchmark: "990100"}
"""
