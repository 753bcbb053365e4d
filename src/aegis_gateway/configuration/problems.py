"""Collects what is wrong with a file, and says it in words that begin with where it stands."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aegis_gateway.configuration.references import Known
from aegis_gateway.configuration.words import listed, shown
from aegis_gateway.configuration.yaml_source import Path, YamlSource
from aegis_gateway.domain.errors import Problem
from aegis_gateway.domain.spelling import did_you_mean

_Model = TypeVar("_Model", bound=BaseModel)


class Problems:
    """All that is wrong with one YAML file."""

    def __init__(self, source: YamlSource) -> None:
        """Start with nothing wrong."""
        self._source = source
        self.found: list[Problem] = []

    def add(self, path: Path, words: str, *, at: Path | None = None) -> None:
        """What is at a path is wrong: the words continue the sentence that the path begins.

        `at` is where to point to, if elsewhere.
        """
        line = self._source.line(path if at is None else at)
        subject = ".".join(map(str, path)) or self._source.file
        self.found.append(Problem(file=self._source.file, line=line, message=f"{subject} {words}"))

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it that exists."""
        return self._source.line(path)

    def check(
        self, model: type[_Model], data: object, path: Path, known: Known | None = None
    ) -> _Model | None:
        """Check an entry's data; None if something is wrong with it, which is then told."""
        try:
            return model.model_validate(data, context=known)
        except ValidationError as faults:
            errors = faults.errors(include_url=False)
            guessed = self._add_unknown(model, errors, path)
            for error in errors:
                self._add_error(model, error, path, guessed)
            return None

    def _add_unknown(self, model: type[BaseModel], errors: Sequence[ErrorDetails], path: Path) -> set[Path]:
        """Tell of settings that don't exist; returns the settings that they were probably meant to be."""
        guessed: set[Path] = set()
        for error in errors:
            if error["type"] == "extra_forbidden":
                *parent, name = _path(error)
                settings = _settings(_model_at(model, tuple(parent)))
                close = did_you_mean(name, settings)
                if close is not None:
                    guessed.add((*parent, close))
                advice = f"did you mean `{close}`?" if close else f"it may have {listed(settings)}"
                self.add((*path, *parent), f"has no setting `{name}`; {advice}", at=(*path, *parent, name))
        return guessed

    def add_missing(self, model: type[BaseModel], name: str, path: Path) -> None:
        """Tell that an entry of a model lacks a setting."""
        field = _settings(model)[name]
        example = (field.examples or ["…"])[0]
        self.add(path, f"has no `{name}`; write {field.description}, as in {name}: {example}")

    def _add_error(self, model: type[BaseModel], error: ErrorDetails, path: Path, guessed: set[Path]) -> None:
        inner = _path(error)
        match error["type"]:
            case "unfit":
                self.add((*path, *inner), error["ctx"]["words"])
            case "lacking":
                self.add((*path, *inner[:-1]), error["ctx"]["words"])
            case "extra_forbidden":
                pass  # told already
            case "missing" if inner in guessed:
                pass  # it is there, misspelt
            case "missing":
                self.add_missing(_model_at(model, inner[:-1]), str(inner[-1]), (*path, *inner[:-1]))
            case "tuple_type":
                self.add((*path, *inner), f"is {shown(error['input'])}; write a list of them")
            case "model_type" | "model_attributes_type" | "dict_type":
                self.add(
                    (*path, *inner),
                    f"is {shown(error['input'])}; write its settings below it, each as `name: value`",
                )
            case _:
                self.add((*path, *inner), f"is {shown(error['input'])}, which does not fit here")


def _path(error: ErrorDetails) -> Path:
    """Where an error is. What is wrong with a key stands under a part of its own."""
    return tuple(part for part in error["loc"] if part != "[key]")


def _settings(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel]:
    """The model of the entry at a path inside an entry of a model."""
    parts = list(path)
    while parts:
        annotation = _settings(model)[str(parts.pop(0))].annotation
        found, is_keyed = _model_in(annotation)
        if is_keyed:
            parts.pop(0)
        model = found
    return model


def _model_in(annotation: object) -> tuple[type[BaseModel], bool]:
    """The model that an annotation is about, and whether it stands in a mapping by key, or in a list by place."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _model_in(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _model_in(next(argument for argument in get_args(annotation) if argument is not type(None)))
    if origin is not None and issubclass(origin, Mapping | tuple):
        return _model_in(get_args(annotation)[1 if issubclass(origin, Mapping) else 0])[0], True
    return cast(type[BaseModel], annotation), False
