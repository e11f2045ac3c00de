"""Read, merge and check a configuration; resolve its universe."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kisbt.config.schema import Config, Place
from kisbt.config.words import dotted, explain_errors, nearest
from kisbt.config.yamlfile import Document, Path_, parse_yaml, read_text_file, read_yaml
from kisbt.errors import ConfigError, InputError
from kisbt.model.instrument import Instrument, Product, parse_symbol
from kisbt.text import _

CONFIGS_FOLDER = "configs"
"""A file in a folder of this name belongs to the project one level up."""

OVERRIDES_FILE = "krx_overrides.yaml"
"""Holidays, hours and tax rows a user adds without a release."""

Notice = Callable[[str], None]


def load_config(
    source: str | Path | Mapping[str, Any],
    *,
    overrides: Mapping[str, object] | None = None,
    root: Path | None = None,
) -> Config:
    """Return the checked configuration.

    Args:
        source: path of a YAML file, or the same content as a mapping.
        overrides: values by dotted key, such as ``{"data.from": "2020-01-01"}``,
            that win over the file: what a command line option sets. Relative
            paths among them are looked for like those of the file.
        root: project's folder of a mapping, with its krx_overrides.yaml; the working
            directory, without, if None.

    Raises:
        ConfigError: the message is the first problem; `problems` has all.
    """
    if isinstance(source, Mapping):
        document = Document(copy.deepcopy(dict(source)), {})
        path, name = None, _("configuration")
        extra = {} if root is None else _read_overrides_in(root)
        root = root or Path.cwd()
    else:
        path = Path(source).expanduser().absolute()
        name = str(source)
        document = _read_config_file(path, name)
        root, extra = project_root(path), read_krx_overrides(path)
    values = document.values
    for key, value in (overrides or {}).items():
        _set(values, key, value)
    place = Place(path, root, extra)
    try:
        config = Config.model_validate(values, context=place)
    except ValidationError as error:
        raise _config_error(error, name, document.lines) from error
    return _merge_params_file(config)


def project_root(config_file: Path) -> Path:
    """Return the folder a configuration belongs to.

    It is the file's own folder, or the one above when that is named `configs`.
    """
    folder = config_file.absolute().parent
    return folder.parent if folder.name == CONFIGS_FOLDER else folder


def _read_config_file(path: Path, name: str) -> Document:
    if not path.exists():
        raise ConfigError(
            _(
                "{path} does not exist; name a configuration, or make a folder with "
                "one: kisbt init DIR"
            ).format(path=name)
        )
    document = parse_yaml(read_text_file(path), name=name, keep_text=_is_symbol)
    if document.values is None:
        raise ConfigError(
            _("{path} is empty; start from an example: kisbt init DIR").format(
                path=name
            )
        )
    if not isinstance(document.values, dict):
        raise ConfigError(
            _("{path}: expected keys such as `mode: backtest`, found {found}").format(
                path=name, found=type(document.values).__name__
            )
        )
    return document


def _is_symbol(path: Path_) -> bool:
    """Whether a scalar is a code: 000660 is text, not a number."""
    return (
        path[:2] in {("universe", "symbols"), ("live", "adopt")}
        and not (path[0] == "live" and len(path) > 2)  # a quantity
    ) or path == ("report", "benchmark")


def parse_setting(text: str) -> tuple[str, object]:
    """Return dotted key and value of ``capital=5000000``.

    The value is read as it would be in the file: codes stay text.

    Raises:
        ConfigError: there is no ``=``, or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(
            _("{found!r}: expected KEY=VALUE, such as capital=5000000").format(
                found=text
            )
        )
    place = tuple(key.split("."))

    def is_symbol(path: Path_) -> bool:
        return _is_symbol((*place, *path))

    return key, parse_yaml(value, name=key, keep_text=is_symbol).values


def _set(values: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.get(parent)
        inner = dict(inner) if isinstance(inner, Mapping) else {}
        values[parent] = inner
        values = inner
    values[last] = value


def _config_error(
    error: ValidationError, name: str, lines: Mapping[Path_, int]
) -> ConfigError:
    problems, first = [], ""
    for path, text in explain_errors(error, Config):
        first = first or dotted(path)
        line = _line(path, lines)
        where = _("{path}, line {line}").format(path=name, line=line) if line else name
        key = dotted(path)
        problems.append(f"{where}: {key}: {text}" if key else f"{where}: {text}")
    message = problems[0]
    if len(problems) > 1:
        message = _("{message} ({count} more: kisbt config check)").format(
            message=message, count=len(problems) - 1
        )
    return ConfigError(message, path=first, problems=tuple(problems))


def _line(path: Path_, lines: Mapping[Path_, int]) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0) if path else 0


def _merge_params_file(config: Config) -> Config:
    """Put the parameters of `strategy.params_file` under those of the file."""
    if config.strategy.params_file is None:
        return config
    path = config.resolve(config.strategy.params_file)
    document = read_yaml(path, keep_text=_nothing)
    values = document.values
    if not isinstance(values, dict) or not isinstance(values.get("strategy"), dict):
        raise ConfigError(
            _(
                "{path}: expected one block `strategy:` with a parameter a line, such "
                "as `ma_short: 5`"
            ).format(path=path),
            path="strategy.params_file",
        )
    for key in values:
        if key != "strategy":
            raise ConfigError(
                _(
                    "{path}, line {line}: {key}: unknown key; a params_file has only "
                    "`strategy:`; other settings belong in the configuration"
                ).format(path=path, line=document.lines.get((key,), 1), key=key),
                path="strategy.params_file",
            )
    params = {**values["strategy"], **config.strategy.params}
    strategy = config.strategy.model_copy(update={"params": params})
    return config.model_copy(update={"strategy": strategy})


def read_krx_overrides(config_file: Path) -> dict[str, Any]:
    """Return the content of the `krx_overrides.yaml` of a configuration.

    It lies beside the file or in the project's folder; empty when there is none.

    Raises:
        ConfigError: it is no block of keys.
    """
    for folder in (config_file.parent, project_root(config_file)):
        if (folder / OVERRIDES_FILE).is_file():
            return _read_overrides_in(folder)
    return {}


def _read_overrides_in(folder: Path) -> dict[str, Any]:
    path = folder / OVERRIDES_FILE
    if not path.is_file():
        return {}
    values = read_yaml(path, keep_text=_nothing).values
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            _("{path}: expected keys such as `holidays:`").format(path=path)
        )
    return values


def _nothing(_path: Path_) -> bool:
    return False


def read_universe_file(path: Path) -> list[str]:
    """Return the codes or names of a list: one a line, ``# comments`` dropped.

    UTF-8 with or without a byte order mark, or CP949; any line ends.

    Raises:
        ConfigError: missing, unreadable, or without a single symbol.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(
            _("universe.file {path} does not exist; check the path").format(path=path),
            path="universe.file",
        ) from error
    except OSError as error:
        raise ConfigError(
            _("universe.file {path} cannot be read: {error}").format(
                path=path, error=error.strerror
            ),
            path="universe.file",
        ) from error
    found = []
    for line in _decode_list(raw, path).splitlines():
        word = line.partition("#")[0].strip().rstrip(",").strip().strip("'\"")
        if word:
            found.append(word)
    if not found:
        raise ConfigError(
            _("universe.file {path} names no symbol; write one code a line").format(
                path=path
            ),
            path="universe.file",
        )
    return found


def _decode_list(raw: bytes, path: Path) -> str:
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError(
        _("universe.file {path} is neither UTF-8 nor CP949; save it as UTF-8").format(
            path=path
        ),
        path="universe.file",
    )


def resolve_universe(
    config: Config,
    instruments: Mapping[str, Instrument],
    *,
    notice: Notice | None = None,
) -> list[Instrument]:
    """Return what the configuration trades, in its order.

    Args:
        config: its `universe` names codes or listed names.
        instruments: what the store's symbols.csv knows, by code.
        notice: told of a symbol named twice and of a code symbols.csv lacks.

    Raises:
        ConfigError: neither a code nor a listed name, a name two symbols share,
            or an index, which cannot be traded.
    """
    tell = notice or (lambda _text: None)
    words = [(word, "universe.symbols") for word in config.universe.symbols]
    if config.universe.file is not None:
        path = config.resolve(config.universe.file)
        words += [(word, "universe.file") for word in read_universe_file(path)]
    by_name: dict[str, list[Instrument]] = {}
    for instrument in instruments.values():
        if instrument.name:
            by_name.setdefault(_fold(instrument.name), []).append(instrument)
    found: dict[str, Instrument] = {}
    for word, key in words:
        instrument = _find(word, key, instruments, by_name, tell)
        if instrument.product is Product.INDEX:
            raise ConfigError(
                _(
                    "{key}: {label} is an index, which cannot be traded; remove it"
                ).format(key=key, label=instrument.label),
                path=key,
            )
        if instrument.symbol in found:
            tell(
                _("{key}: {label} is named twice; it counts once").format(
                    key=key, label=instrument.label
                )
            )
        found.setdefault(instrument.symbol, instrument)
    return list(found.values())


def _fold(name: str) -> str:
    return "".join(name.split()).casefold()


def _find(
    word: str,
    key: str,
    instruments: Mapping[str, Instrument],
    by_name: Mapping[str, list[Instrument]],
    tell: Notice,
) -> Instrument:
    named = by_name.get(_fold(word), [])
    if len(named) > 1:
        raise ConfigError(
            _("{key}: {word} is the name of {codes}; write the code").format(
                key=key, word=word, codes=", ".join(item.symbol for item in named)
            ),
            path=key,
        )
    if named:
        return named[0]
    if word in instruments:
        return instruments[word]
    try:
        code = parse_symbol(word)
    except InputError as error:
        raise ConfigError(_not_found(word, key, instruments), path=key) from error
    if code in instruments:
        return instruments[code]
    tell(
        _(
            "{key}: {code} is not in symbols.csv; taken as a KOSPI stock (market and "
            "product decide tax and ticks)"
        ).format(key=key, code=code)
    )
    return Instrument(symbol=code)


def _not_found(word: str, key: str, instruments: Mapping[str, Instrument]) -> str:
    text = _(
        "{key}: {word!r} is neither a six-character code nor a name in symbols.csv"
    )
    text = text.format(key=key, word=word)
    digits = word.removeprefix("A")
    if digits.isdecimal() and len(digits) < 6:
        hint = _("did you mean {word}?").format(word=digits.zfill(6))
    else:
        hint = nearest(word, [item.name for item in instruments.values() if item.name])
    return f"{text}; {hint or _('write the code')}"
