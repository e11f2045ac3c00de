"""Candle files of whole numbers, read column-wise from their bytes.

Nearly every file of a store is one: times in one fixed form and prices and volumes
without decimals. Anything else is left to the parser that knows more forms.
"""

import numpy as np
import numpy.typing as npt

from kisbt.candles.columns import VALUES, Floats, Times

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]

_HEADER = f"datetime,{','.join(VALUES)}\n".encode()
_CELLS = 1 + len(VALUES)
_ZERO, _COMMA, _NEWLINE = b"0,\n"
# More digits may not fit into a double.
_MOST_DIGITS = 15
_POWERS = 10.0 ** np.arange(_MOST_DIGITS - 1, -1, -1)
# Rows at a time: few enough for the caches of a processor.
_BLOCK = 1 << 14

_STAMP = b"0000-00-00 00:00:00"
_DIGITS = np.flatnonzero(np.frombuffer(_STAMP, np.uint8) == _ZERO)
_MARKS = np.flatnonzero(np.frombuffer(_STAMP, np.uint8) != _ZERO)
_MARKS_EXPECTED = np.frombuffer(_STAMP, np.uint8)[_MARKS]


def read_digits(raw: bytes) -> tuple[Times, list[Floats]] | None:
    """Return END labels and columns of a candle file; None if it has another form.

    Args:
        raw: the content of the file.

    Returns:
        datetime64[s], shape (n,), and one float64 column, shape (n,), per entry of
        `VALUES`, equal to what `float` makes of the cells.
    """
    if not raw.startswith(_HEADER) or raw[-1:] != b"\n" or len(raw) == len(_HEADER):
        return None
    body = np.frombuffer(raw, np.uint8, offset=len(_HEADER))
    places = np.flatnonzero((body == _COMMA) | (body == _NEWLINE))
    if places.size % _CELLS:
        return None
    ends = places.reshape(-1, _CELLS)
    digits = int(np.count_nonzero(body - np.uint8(_ZERO) < 10))
    # What is no digit has to be the end of a cell or a mark inside a time.
    if digits != body.size - ends.size - len(_MARKS) * len(ends):
        return None
    line_ends = body[ends] == _NEWLINE
    if line_ends[:, :-1].any() or not line_ends[:, -1].all():
        return None
    blocks = [
        _read_block(body, ends[at : at + _BLOCK]) for at in range(0, len(ends), _BLOCK)
    ]
    known = [block for block in blocks if block is not None]
    if len(known) < len(blocks):
        return None
    times, *columns = (np.concatenate(parts) for parts in zip(*known, strict=True))
    return times, columns


def _read_block(body: Bytes, ends: Places) -> list[npt.NDArray[np.generic]] | None:
    """Read rows whose cells end before `ends`, shape (rows, cells)."""
    widths = np.diff(ends) - 1
    if widths.min() < 1 or widths.max() > _MOST_DIGITS:
        return None
    times = _times(_cells(body, ends[:, 0], len(_STAMP)))
    if times is None:
        return None
    return [
        times,
        *(
            _numbers(body, ends[:, cell], widths[:, cell - 1])
            for cell in range(1, _CELLS)
        ),
    ]


def _cells(body: Bytes, ends: Places, width: int) -> Bytes:
    """Return the `width` bytes before each end, shape (rows, width)."""
    return np.lib.stride_tricks.sliding_window_view(body, width)[ends - width]


def _numbers(body: Bytes, ends: Places, widths: Places) -> Floats:
    most = int(widths.max())
    digits = _cells(body, ends, most) - np.uint8(_ZERO)
    if most != int(widths.min()):
        # What stands before a shorter number belongs to another cell.
        unused = (most - widths).astype(np.uint8)
        digits *= np.arange(most, dtype=np.uint8) >= unused[:, None]
    numbers: Floats = digits @ _POWERS[-most:]
    return numbers


def _times(stamps: Bytes) -> Times | None:
    if (stamps[:, _MARKS] != _MARKS_EXPECTED).any():
        return None
    digits = (stamps[:, _DIGITS] - np.uint8(_ZERO)).astype(np.int64)
    year = digits[:, :4] @ (1000, 100, 10, 1)
    month, day, hour, minute, second = (
        digits[:, at] * 10 + digits[:, at + 1] for at in range(4, 14, 2)
    )
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    sound = (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24)
    sound &= (minute < 60) & (second < 60) & (days.astype("datetime64[M]") == months)
    if not sound.all():
        return None
    seconds = hour * 3600 + minute * 60 + second
    times: Times = days.astype("datetime64[s]") + seconds
    return times
