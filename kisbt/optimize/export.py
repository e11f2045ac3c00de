"""A finished search as a study of Optuna, for optuna-dashboard and its plots."""

from typing import Any

from kisbt.errors import StorageError
from kisbt.optimize.needs import require
from kisbt.optimize.sampler import distributions, to_optuna
from kisbt.optimize.search import Found
from kisbt.optimize.space import Space
from kisbt.text import _


def export_to_optuna(url: str, study: str, space: Space, found: Found) -> Any:
    """Write the trials into Optuna's own tables and return the study.

    Trials without a value are there as failed ones. A study of that name is
    replaced.

    Raises:
        StorageError: the database refused.
    """
    optuna = require("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    states, kinds = optuna.trial.TrialState, distributions(space)
    try:
        storage = optuna.storages.RDBStorage(url)
        if study in optuna.study.get_all_study_names(storage):
            optuna.delete_study(study_name=study, storage=storage)
        made = optuna.create_study(
            storage=storage, study_name=study, direction="maximize"
        )
        made.add_trials(
            [
                optuna.trial.create_trial(
                    params=to_optuna(space, trial.params),
                    distributions=kinds,
                    value=value,
                    state=states.FAIL if value is None else states.COMPLETE,
                    user_attrs={"metrics": dict(trial.metrics or {})},
                )
                for trial, value in zip(found.trials, found.values, strict=True)
            ]
        )
    except (
        require("sqlalchemy").exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
    ) as error:
        raise StorageError(
            _("the study could not be written for Optuna: {error}").format(
                error=type(error).__name__
            )
        ) from error
    return made
