"""MONAI imported without what it and Ignite import for other uses than inference, a third of a run's start."""

import importlib
import sys
from types import ModuleType

# of MONAI's pictures in notebooks, its check of metadata, its ultrasound and signal transforms; of Ignite's savers
PUT_OFF = (
    "matplotlib",
    "matplotlib.pyplot",
    "jsonschema",
    "jsonschema.exceptions",
    "scipy.signal",
    "torch.distributed.optim",
)


def import_monai() -> None:
    """Import MONAI; what it takes from a module of ``PUT_OFF`` imports that module when it is called."""
    import torch  # noqa: F401  # whole, before anything stands in for a part of it

    later = {name: _Later(name) for name in PUT_OFF if name not in sys.modules}
    sys.modules.update(later)
    try:
        import monai  # noqa: F401
    finally:
        for name in later:
            del sys.modules[name]


class _Taken(type):
    """A class or function taken from a module by name; a class, for Ignite asks what is an instance of it."""

    _module: str

    def __getattr__(cls, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(f"{cls.__name__!r} has no attribute {name!r}")
        return getattr(getattr(importlib.import_module(cls._module), cls.__name__), name)


class _Later(ModuleType):
    """Stands in for a module while its classes and functions are taken by name."""

    def __getattr__(self, name: str) -> "type | _Later":
        module = self.__name__
        if name.startswith("__"):  # what a module may lack
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if f"{module}.{name}" in PUT_OFF:
            return _Later(f"{module}.{name}")

        def called(cls: type, *args: object, **kwargs: object) -> object:
            return getattr(importlib.import_module(module), name)(*args, **kwargs)

        kinds = (Exception,) if name.endswith("Error") else ()  # else nothing could be caught beside it
        return _Taken(name, kinds, {"__new__": called, "_module": module})
