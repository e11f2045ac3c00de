"""Trials and where they are kept: a table of a database, so that a search resumes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from kisbt.errors import InputError, StorageError
from kisbt.model.result import Floats
from kisbt.optimize.needs import require
from kisbt.text import _

STORED = np.dtype("<f4")
"""How session returns are stored: seven digits are plenty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One combination and what came of it.

    Attributes:
        number: from 0, in the order in which they were proposed.
        metrics: numbers of the summary; None when the run failed.
        returns: session returns, little-endian float32 as bytes.
        error: why it failed, else "".
    """

    number: int
    params: Mapping[str, Any]
    metrics: Mapping[str, Any] | None
    returns: bytes = b""
    error: str = ""

    @property
    def session_returns(self) -> Floats:
        """Session returns, float64, shape (sessions,)."""
        return np.frombuffer(self.returns, dtype=STORED).astype(np.float64)


class TrialTable:
    """The trials of one study in a database; every row is written whole or not at all.

    Use it as a context, so that the connection is closed.
    """

    def __init__(self, url: str, study: str) -> None:
        """Open or create the table.

        Args:
            url: of the database as SQLAlchemy writes it, ``sqlite:///FILE`` or
                ``sqlite://`` for memory.
            study: name of the study within it.

        Raises:
            InputError: the address is none, or a driver is missing.
            StorageError: the database does not answer.
        """
        sql = require("sqlalchemy")
        self._sql, self._study = sql, study
        meta = sql.MetaData()
        self._table = sql.Table(
            "kisbt_trials",
            meta,
            sql.Column("study", sql.String(120), primary_key=True),
            sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
            sql.Column("params", sql.Text, nullable=False),
            sql.Column("metrics", sql.Text),
            sql.Column("returns", sql.LargeBinary),
            sql.Column("error", sql.Text, nullable=False),
        )
        try:
            options = (
                {"poolclass": require("sqlalchemy.pool").StaticPool}
                if url == "sqlite://"
                else {}
            )
            self._engine = sql.create_engine(url, **options)
        except (sql.exc.ArgumentError, ImportError) as error:
            raise InputError(
                _(
                    "optimize.storage: {error}; expected an address such as "
                    "sqlite:///trials.db, with its driver installed"
                ).format(error=error)
            ) from error
        self._guarded(lambda: meta.create_all(self._engine))

    def read(self) -> dict[int, Trial]:
        """Return the trials by number."""
        table = self._table

        def fetch() -> Sequence[Any]:
            with self._engine.connect() as connection:
                query = self._sql.select(table).where(table.c.study == self._study)
                rows: Sequence[Any] = connection.execute(query).all()
                return rows

        return {
            row.number: Trial(
                number=row.number,
                params=json.loads(row.params),
                metrics=None if row.metrics is None else json.loads(row.metrics),
                returns=row.returns or b"",
                error=row.error,
            )
            for row in self._guarded(fetch)
        }

    def add(self, trials: Iterable[Trial]) -> None:
        """Append trials, all or none.

        Raises:
            StorageError: the database refused; one of them may be there already.
        """
        rows = [
            {
                "study": self._study,
                "number": trial.number,
                "params": json.dumps(trial.params, ensure_ascii=False),
                "metrics": None
                if trial.metrics is None
                else json.dumps(trial.metrics, allow_nan=False),
                "returns": trial.returns,
                "error": trial.error,
            }
            for trial in trials
        ]
        if not rows:
            return

        def write() -> None:
            with self._engine.begin() as connection:
                connection.execute(self._table.insert(), rows)

        self._guarded(write)

    def _guarded(self, work: Any) -> Any:
        try:
            return work()
        except self._sql.exc.SQLAlchemyError as error:
            # Without the address: it may hold a password.
            raise StorageError(
                _(
                    "the database of the trials refused: {error}; check "
                    "optimize.storage and free space"
                ).format(error=getattr(error, "orig", None) or type(error).__name__)
            ) from error

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def __enter__(self) -> "TrialTable":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
