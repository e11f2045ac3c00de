"""A file of candles as people have it: bytes → named text columns, with line numbers.

Encoding, delimiter and header are found out here and reported; nothing is changed
in the cells.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kisbt.candles.columns import Flags
from kisbt.errors import BadCandle, InputError, StorageError
from kisbt.text import _

# Headers as they are written by brokers' HTS exports, the exchange's data shop,
# FinanceDataReader, pykrx, Yahoo and stooq; compared after `_plain_name`.
ALIASES: Mapping[str, tuple[str, ...]] = {
    field: tuple(words.split())
    for field, words in {
        "date": "일자 날짜 거래일 거래일자 영업일자 기준일 기준일자 체결일자 "
        "date day tradedate yyyymmdd",
        "time": "시간 시각 체결시간 체결시각 거래시간 time hhmmss hhmm",
        "datetime": "일시 날짜시간 일자시간 거래일시 체결일시 "
        "datetime timestamp date/time dateandtime",
        "open": "시가 시작가 open openprice openingprice",
        "high": "고가 high highprice highestprice",
        "low": "저가 low lowprice lowestprice",
        "close": "종가 현재가 close closeprice closingprice last",
        "volume": "거래량 체결량 volume vol tradingvolume",
        "symbol": "종목코드 단축코드 종목번호 코드 symbol code ticker",
        "name": "종목명 종목이름 name",
        "market": "시장구분 시장 market",
    }.items()
}
_FIELDS = {alias: field for field, names in ALIASES.items() for alias in names}
_REQUIRED = ("open", "high", "low", "close")
_DELIMITERS = (",", "\t", ";", "|")
_HEADER_WITHIN = 20  # exports may begin with a few lines of titles

_MAGIC = (
    (b"PK\x03\x04", "Excel (xlsx)"),
    (b"\xd0\xcf\x11\xe0", "Excel (xls)"),
    (b"\x1f\x8b", "gzip"),
    (b"\x89HDF", "HDF5"),
    (b"SQLite", "SQLite"),
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DATE_START = re.compile(r"\s*\d{4}\D?\d{1,2}\D?\d{1,2}")
_TOO_MANY = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceRows:
    """The rows of a file, cells as found.

    Attributes:
        path: the file.
        frame: columns named by field (`ALIASES`), text in a text file; its index
            plus `first_line` is the line in the file.
        unit: ``line`` in a text file, ``row`` in Parquet.
        encoding, delimiter: as found; "" in Parquet.
        used: field → header cell it was read from.
        ignored: header cells nothing was read from.
    """

    path: Path
    frame: pd.DataFrame
    first_line: int
    unit: str
    encoding: str
    delimiter: str
    used: Mapping[str, str]
    ignored: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frame)

    def line(self, position: int) -> int:
        """Return the line of the file, from 1, of the row at `position`."""
        return int(self.frame.index[position]) + self.first_line

    def place(self, position: int) -> str:
        """Return the line of the row at `position` for people."""
        text = _("line {line}") if self.unit == "line" else _("row {line}")
        return text.format(line=self.line(position))

    def bad(self, position: int, problem: str) -> BadCandle:
        """Return the error that names the row at `position`."""
        return BadCandle(
            f"{self.path}, {self.place(position)}: {problem}",
            file=str(self.path),
            line=self.line(position),
        )

    def pick(self, keep: Flags) -> "SourceRows":
        """Return the rows for which `keep` is true."""
        return SourceRows(
            path=self.path,
            frame=self.frame[keep],
            first_line=self.first_line,
            unit=self.unit,
            encoding=self.encoding,
            delimiter=self.delimiter,
            used=self.used,
            ignored=self.ignored,
        )


def read_source(path: Path, *, volume_required: bool = True) -> SourceRows:
    """Read a CSV or Parquet file of candles.

    Args:
        path: the file.
        volume_required: False for an index, which may have no volume.

    Raises:
        InputError: not a file that can be read (binary, missing, no pyarrow).
        BadCandle: a column is missing or a row has too many cells.
        StorageError: it cannot be opened.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            _("{path} does not exist; check the path").format(path=path)
        ) from error
    except OSError as error:
        raise StorageError(
            _("{path}: cannot be read: {why}").format(path=path, why=error.strerror)
        ) from error
    required = (*_REQUIRED, "volume") if volume_required else _REQUIRED
    if content[:4] == b"PAR1":
        return _read_parquet(path, required)
    text, encoding = _decode(path, content)
    return _read_text(path, text, encoding, required)


def _decode(path: Path, content: bytes) -> tuple[str, str]:
    _refuse_binary(path, content)
    if not content.strip():
        raise BadCandle(
            _("{path} is empty; expected a header and candles").format(path=path),
            file=str(path),
        )
    candidates: tuple[tuple[str, str], ...]
    if content.startswith(_UTF16):
        candidates = (("utf-16", "UTF-16"),)
    elif content.startswith(b"\xef\xbb\xbf"):
        candidates = (("utf-8-sig", _("UTF-8 with BOM")),)
    elif content.isascii():
        candidates = (("ascii", "ASCII"),)
    else:
        # Korean text in CP949 is never valid UTF-8 but for freak pairs of bytes.
        candidates = (("utf-8", "UTF-8"), ("cp949", "CP949"))
    at = 0
    for codec, name in candidates:
        try:
            return content.decode(codec), name
        except UnicodeDecodeError as error:
            at = max(at, error.start)
    line = content.count(b"\n", 0, at) + 1
    raise BadCandle(
        _(
            "{path}, line {line}: the text is neither UTF-8 nor CP949; save the file as "
            "UTF-8 CSV"
        ).format(path=path, line=line),
        file=str(path),
        line=line,
    )


def _refuse_binary(path: Path, content: bytes) -> None:
    for magic, kind in _MAGIC:
        if content.startswith(magic):
            raise InputError(
                _("{path} is a {kind} file; save it as CSV first").format(
                    path=path, kind=kind
                )
            )
    if b"\0" in content and not content.startswith(_UTF16):
        raise InputError(
            _("{path} is a binary file; expected a CSV text file").format(path=path)
        )


def _read_text(
    path: Path, text: str, encoding: str, required: tuple[str, ...]
) -> SourceRows:
    lines = text.splitlines()[:_HEADER_WITHIN]
    at, delimiter, cells = _find_header(path, lines)
    columns = _map_header(path, at + 1, cells, lines[at + 1 : at + 2], delimiter)
    _require(path, at + 1, cells, columns, required)
    body = io.StringIO(text)
    for _line in range(at + 1):
        body.readline()
    try:
        frame = pd.read_csv(
            body,
            sep=delimiter,
            header=None,
            names=list(range(len(cells))),
            dtype=str,
            engine="c",
            na_filter=False,
            skip_blank_lines=False,
            skipinitialspace=True,
        )
    except pd.errors.ParserError as error:
        raise _parser_error(path, at + 1, str(error)) from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise BadCandle(
            _(
                "{path}, line {line}: more cells than the header has; put numbers with "
                "thousands separators in quotes"
            ).format(path=path, line=at + 2),
            file=str(path),
            line=at + 2,
        )
    frame = _named(frame.fillna(""), columns)
    blank = np.ones(len(frame), dtype=bool)
    for field in frame.columns:
        blank &= (frame[field] == "").to_numpy(dtype=bool)
    used = {field: cells[number] for field, number in columns.items()}
    return SourceRows(
        path=path,
        frame=frame[~blank],
        first_line=at + 2,
        unit="line",
        encoding=encoding,
        delimiter=delimiter,
        used=used,
        ignored=tuple(
            cell or _("(no name)")
            for number, cell in enumerate(cells)
            if number not in columns.values()
        ),
    )


def _read_parquet(path: Path, required: tuple[str, ...]) -> SourceRows:
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise InputError(
            _(
                "{path} is a Parquet file, which needs pyarrow: "
                "pip install 'kisbt[parquet]'"
            ).format(path=path)
        ) from error
    except (OSError, ValueError) as error:
        raise BadCandle(
            _("{path}: broken Parquet file: {why}").format(path=path, why=error),
            file=str(path),
        ) from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    cells = [str(name) for name in frame.columns]
    columns = _map_header(path, 0, cells, [], "")
    _require(path, 0, cells, columns, required)
    frame.columns = pd.RangeIndex(len(cells))
    return SourceRows(
        path=path,
        frame=_named(frame, columns).reset_index(drop=True),
        first_line=1,
        unit="row",
        encoding="",
        delimiter="",
        used={field: cells[number] for field, number in columns.items()},
        ignored=tuple(
            cell for number, cell in enumerate(cells) if number not in columns.values()
        ),
    )


def _named(frame: pd.DataFrame, columns: Mapping[str, int]) -> pd.DataFrame:
    picked = frame[list(columns.values())]
    picked.columns = pd.Index(list(columns))
    return picked


def _find_header(path: Path, lines: list[str]) -> tuple[int, str, list[str]]:
    """Return the position, the delimiter and the cells of the header line."""
    best: tuple[int, int, str, list[str]] = (0, 0, ",", [])
    for at, line in enumerate(lines):
        for delimiter in _DELIMITERS:
            cells = [
                cell.strip()
                for cell in next(csv.reader([line], delimiter=delimiter), [])
            ]
            score = len({_FIELDS.get(_plain_name(cell)) for cell in cells} - {None})
            if score > best[0]:
                best = (score, at, delimiter, cells)
    score, at, delimiter, cells = best
    if score < 2:
        raise _no_header(path, lines)
    return at, delimiter, cells


def _no_header(path: Path, lines: list[str]) -> BadCandle:
    first = next((line for line in lines if line.strip()), "")
    line = lines.index(first) + 1
    if _misread(first):
        problem = _(
            "the header {found!r} is Korean text in CP949 that was read as something "
            "else and saved again; export the file once more"
        )
    else:
        problem = _(
            "{found!r} is no header I know; expected names such as "
            "date,open,high,low,close,volume or 일자,시가,고가,저가,종가,거래량"
        )
    where = _("{path}, line {line}").format(path=path, line=line)
    return BadCandle(
        f"{where}: {problem.format(found=first[:80])}", file=str(path), line=line
    )


def _misread(header: str) -> bool:
    """Whether `header` is CP949 bytes shown as Latin-1, or full of lost letters."""
    if "\ufffd" in header:
        return True
    try:
        again = header.encode("latin-1").decode("cp949")
    except UnicodeError:
        return False
    return again != header and any(
        _plain_name(cell) in _FIELDS for cell in re.split(r"[,\t;|]", again)
    )


def _map_header(
    path: Path, line: int, cells: list[str], below: list[str], delimiter: str
) -> dict[str, int]:
    """Return field → column number."""
    columns: dict[str, int] = {}
    for number, cell in enumerate(cells):
        field = _FIELDS.get(_plain_name(cell))
        if field is None:
            continue
        if field in columns:
            raise BadCandle(
                _(
                    "{path}, line {line}: both {first!r} and {second!r} could be the "
                    "{field}; remove or rename one"
                ).format(
                    path=path,
                    line=line,
                    first=cells[columns[field]],
                    second=cell,
                    field=field,
                ),
                file=str(path),
                line=line,
            )
        columns[field] = number
    if "date" in columns and "datetime" in columns:
        raise BadCandle(
            _(
                "{path}, line {line}: both {first!r} and {second!r} could be the time; "
                "remove or rename one"
            ).format(
                path=path,
                line=line,
                first=cells[columns["date"]],
                second=cells[columns["datetime"]],
            ),
            file=str(path),
            line=line,
        )
    if not {"date", "datetime"} & columns.keys() and below and cells[0] == "":
        # A table saved with its index: the dates have no header.
        first = next(csv.reader(below, delimiter=delimiter), [""])[0]
        if _DATE_START.match(first):
            columns["date"] = 0
    return columns


def _require(
    path: Path,
    line: int,
    cells: list[str],
    columns: Mapping[str, int],
    required: tuple[str, ...],
) -> None:
    missing = [field for field in required if field not in columns]
    if not {"date", "datetime"} & columns.keys():
        missing.insert(0, "date")
    if missing:
        field = missing[0]
        where = _("{path}, line {line}").format(path=path, line=line) if line else path
        raise BadCandle(
            _(
                "{where}: no column for the {field}; found {found}; expected one of "
                "{known}"
            ).format(
                where=where,
                field=field,
                found=", ".join(cells),
                known=", ".join(ALIASES[field]),
            ),
            file=str(path),
            line=line,
        )


def _plain_name(cell: str) -> str:
    """Return a header cell without case, blanks, units and brackets."""
    name = cell.strip().strip('"').lower()
    if name.startswith("<") and name.endswith(">"):  # stooq: <OPEN>
        name = name[1:-1]
    name = re.sub(r"[(\[].*?[)\]]", "", name)  # 거래량(주)
    return re.sub(r"[\s_\-]", "", name)


def _parser_error(path: Path, header_line: int, message: str) -> BadCandle:
    found = _TOO_MANY.search(message)
    line = int(found.group(2)) + header_line if found else 0
    problem = (
        _(
            "{saw} cells, the header has {expected}; put numbers with thousands "
            "separators in quotes"
        ).format(saw=found.group(3), expected=found.group(1))
        if found
        else message
    )
    where = _("{path}, line {line}").format(path=path, line=line) if line else path
    return BadCandle(f"{where}: {problem}", file=str(path), line=line)
