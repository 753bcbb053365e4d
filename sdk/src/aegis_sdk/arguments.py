"""A guarded function's arguments as its tool's, and what is left of them after redaction as the function's again."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from inspect import BoundArguments, Parameter
from typing import Any, TypeAlias

from aegis_sdk.errors import InvalidRequest
from aegis_sdk.jsonable import encoded

Choice: TypeAlias = Iterable[str] | Mapping[str, str] | Callable[..., Mapping[str, Any]] | None
"""Which of a function's parameters are the tool's arguments: all (None), some by name, some under other names
(`{argument: parameter}`), or what a function makes of them."""

_OWN = ("self", "cls")


class Arguments:
    """How one function's arguments become its tool's."""

    def __init__(self, function: Callable[..., Any], choice: Choice) -> None:
        """Find out which parameters are meant.

        Raises:
            InvalidRequest: the function has no such parameter.
        """
        self._signature = inspect.signature(function)
        self._made_by = choice if callable(choice) else None
        self._kinds = {name: each.kind for name, each in self._signature.parameters.items()}
        if choice is None or self._made_by is not None:
            first = next(iter(self._kinds), None)
            self._chosen = {name: name for name in self._kinds if not (name == first and name in _OWN)}
        elif isinstance(choice, Mapping):
            self._chosen = dict(choice)
        else:
            assert not callable(choice), "that is `made_by`"
            self._chosen = {name: name for name in ([choice] if isinstance(choice, str) else choice)}
        takes_any = Parameter.VAR_KEYWORD in self._kinds.values()
        for parameter in self._chosen.values():
            if parameter not in self._kinds and not takes_any:
                name = getattr(function, "__name__", "the function")
                raise InvalidRequest(f"`{name}` has no parameter `{parameter}`", field="arguments")

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> BoundArguments:
        """A call's arguments by parameter, defaults included.

        Raises:
            TypeError: the function can't be called so.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound

    def of(self, bound: BoundArguments) -> Mapping[str, Any]:
        """The tool's arguments in a call.

        Raises:
            InvalidRequest: two of them have one name, so only one could be decided on.
        """
        if self._made_by is not None:
            return self._made_by(*bound.args, **bound.kwargs)
        found: dict[str, Any] = {}
        for argument, parameter in self._chosen.items():
            holder, key = self._place(bound, parameter)
            if key not in holder:
                continue
            if holder is bound.arguments and self._kinds[key] is Parameter.VAR_KEYWORD:
                if both := found.keys() & holder[key].keys():
                    raise InvalidRequest(f"two arguments are called `{min(both)}`", field="arguments")
                found.update(holder[key])
            else:
                found[argument] = holder[key]
        return found

    def put_back(self, bound: BoundArguments, sent: Mapping[str, Any], left: Mapping[str, Any]) -> None:
        """Put what is left of the arguments into the call. What nobody redacted stays as it was, with its type.

        Raises:
            InvalidRequest: something was redacted that can't be put back.
        """
        as_sent = json.loads(encoded(dict(sent), "arguments"))
        changed = {name for name in {*as_sent, *left} if as_sent.get(name) != left.get(name)}
        if changed and self._made_by is not None:
            raise _stuck(changed, "as `arguments` is a function; name parameters instead")
        for argument in changed:
            holder, key = self._place(bound, self._chosen.get(argument, argument))
            if key not in holder and Parameter.VAR_KEYWORD in self._kinds.values():
                holder, key = bound.arguments[self._rest()], argument
            if key not in holder or argument not in left:
                raise _stuck(changed, "as the function has no such parameter")
            holder[key] = restored(holder[key], left[argument], argument)

    def _place(self, bound: BoundArguments, parameter: str) -> tuple[dict[str, Any], str]:
        """Where an argument stands: among the parameters, or among those that have none of their own."""
        if parameter in self._kinds:
            return bound.arguments, parameter
        return bound.arguments[self._rest()], parameter

    def _rest(self) -> str:
        return next(name for name, kind in self._kinds.items() if kind is Parameter.VAR_KEYWORD)


def restored(before: object, left: Any, argument: str) -> Any:
    """What is left of a value, as a value of its type."""
    kind = type(before)
    if isinstance(before, str | list | dict) and isinstance(left, kind):
        return left
    if kind is tuple and isinstance(left, list):
        return tuple(left)
    try:
        validate = getattr(kind, "model_validate", None)  # pydantic's
        if callable(validate):
            return validate(left)
        if dataclasses.is_dataclass(before) and isinstance(left, dict):
            return kind(**left)
    except Exception as fault:  # whatever the type's own checks raise
        raise _stuck({argument}, f"as it makes no {kind.__name__} any more") from fault
    raise _stuck({argument}, f"as nothing but a {kind.__name__} can stand there")


def _stuck(arguments: Iterable[str], why: str) -> InvalidRequest:
    names = ", ".join(f"`{name}`" for name in sorted(arguments))
    return InvalidRequest(
        f"policies redact {names}, and what is left can't be used, {why}", field="arguments"
    )
