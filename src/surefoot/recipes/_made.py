"""How recipes are made: a setting that there is not is answered with those that there are."""

import inspect
from abc import ABCMeta
from typing import Any

from surefoot.recipes._reader import check_settings


class Made(ABCMeta):
    """The type of recipes; settings of other names, as other libraries have, raise with advice."""

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        try:
            return super().__call__(*args, **settings)
        except TypeError:
            check_settings(cls, list(args), settings)
            raise

    @property
    def __signature__(cls) -> inspect.Signature:
        # Else a signature would be that of the call above.
        own = inspect.signature(cls.__init__)  # type: ignore[misc]
        return own.replace(parameters=list(own.parameters.values())[1:])
