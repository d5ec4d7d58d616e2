"""Arguments that can't be used: refused while the program runs, so in every preview, with component, argument, cause and remedy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import pulumi

from parallel_build.errors import ConfigurationError, ParallelBuildError

T = TypeVar("T")
S = TypeVar("S")
P = ParamSpec("P")

MISSING: Any = None
"""The default of an argument that must be given: the component names it, where Python would name a class."""

NOTHING = "nothing has been contacted or changed"


class ArgumentsRefused(ConfigurationError, pulumi.RunError):
    """A component's arguments can't be used. Pulumi shows an error of this kind in its own words, without a traceback."""


class NotDeclared(ParallelBuildError, pulumi.RunError):
    """A component can't be declared, for a reason outside its arguments."""


def in_its_own_words(declare: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Decorator of a component's constructor: Pulumi shows an expected failure as fact, cause and remedy, without a traceback."""

    @functools.wraps(declare)
    def declared(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            declare(self, *args, **kwargs)
        except pulumi.RunError:
            raise
        except ParallelBuildError as error:
            raise NotDeclared(error.fact, error.cause, error.remedy) from error

    return declared


def refused(component: str, name: str, path: str, fact: str, cause: str, remedy: str) -> ArgumentsRefused:
    """The error for one argument.

    Args:
        component: the component's class.
        name: the component's name in the program.
        path: the argument, as it is written: `args.database`.
        fact, cause, remedy: what is wrong with it.
    """
    return ArgumentsRefused(f"{component} {name!r}: {path} {fact}", cause, f"{remedy}; {NOTHING}")


def expected(component: str, name: str, path: str, given: Any, kind: type[T]) -> T:
    """The argument, when it is of its type.

    Raises:
        ArgumentsRefused: it is missing, or of another type.
    """
    if isinstance(given, kind):
        return given
    what = "is missing" if given is None else f"is {_named(given)}"
    raise refused(component, name, path, what, f"it must be {_article(kind.__name__)}", f"give it {_article(kind.__name__)}")


def of_cloud(component: str, name: str, path: str, given: Any, cloud: object) -> None:
    """Rule: components that work together belong to one cloud.

    Raises:
        ArgumentsRefused: `given` belongs to a different one.
    """
    if given.cloud is not cloud:
        raise refused(
            component,
            name,
            path,
            f"belongs to cloud {given.cloud.name!r}, and args.cloud is {getattr(cloud, 'name', '?')!r}",
            "the steps of one window work on the servers of one cloud",
            "give both the same cloud",
        )


def _named(given: Any) -> str:
    return "an Output" if isinstance(given, pulumi.Output) else _article(type(given).__name__)


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
