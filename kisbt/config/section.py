"""What the blocks of a configuration share: strictness and number types."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from kisbt.text import _


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(_("expected a number, found true or false"))
    return value


Int = Annotated[int, BeforeValidator(_refuse_bool)]
Float = Annotated[float, BeforeValidator(_refuse_bool)]


class Section(BaseModel):
    """A block of the file: immutable, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
        populate_by_name=True,
        str_strip_whitespace=True,
        use_attribute_docstrings=True,
    )
