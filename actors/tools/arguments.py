"""A model's arguments against a tool's schema: what does not fit is told so that it can mend it."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from jsonschema import SchemaError
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from pydantic_core import from_json
from referencing import Registry
from referencing.exceptions import Unresolvable

from events.errors import BadArguments, ToolError

LONGEST: Final = 1024 * 1024
"""Bytes of arguments that are passed on."""
LONGEST_MESSAGE: Final = 1000
_FAULTS: Final = 3
"""Faults that are told at once."""


def parsed(text: str) -> dict[str, Any]:
    """The arguments that the text holds; `BadArguments` where it is no JSON object."""
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST:
        raise BadArguments(f"the arguments have more than {LONGEST} bytes: pass less at a time")
    if not text.strip():
        return {}
    try:
        arguments = from_json(text, allow_inf_nan=False)  # integers of any size
    except ValueError as error:
        raise BadArguments(f"the arguments are not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise BadArguments("the arguments have to be a JSON object")
    return arguments


class Schema:
    """The schema of a tool's arguments, in the draft that its `$schema` names."""

    def __init__(self, tool: str, schema: dict[str, Any]) -> None:
        self._tool = tool
        self._validator: Validator | None = None
        self._fault = ""
        try:
            kind = validator_for(schema, default=Draft202012Validator)
            kind.check_schema(schema)
            # Nothing is fetched: references lead into the schema itself or nowhere.
            self._validator = kind(schema, registry=Registry())
        except (SchemaError, RecursionError) as error:
            self._fault = str(getattr(error, "message", error))[:LONGEST_MESSAGE]

    def check(self, arguments: Any) -> None:
        """Raise `BadArguments` where they do not fit, `ToolError` where the schema is none."""
        if self._validator is None:
            raise ToolError(f"the schema of {self._tool!r} is not valid: {self._fault}")
        try:
            faults = list(islice(self._validator.iter_errors(arguments), _FAULTS))
        except Unresolvable as error:
            raise ToolError(f"the schema of {self._tool!r} refers to nothing: {error}") from None
        except RecursionError:
            raise BadArguments("the arguments are nested too deeply") from None
        if faults:
            told = "; ".join(_told(fault) for fault in faults)[:LONGEST_MESSAGE]
            raise BadArguments(f"the arguments do not fit the schema of {self._tool!r}: {told}")


def _told(fault: ValidationError) -> str:
    # Of a choice, the fault of what comes nearest.
    nearest = best_match([fault]) or fault
    where = nearest.json_path.removeprefix("$").lstrip(".")
    message = nearest.message[:300]
    return f"{where}: {message}" if where else message
