"""Where joblib finds Ray, so that `joblib.parallel_config(backend="ray")` works without a step of the user's."""

from __future__ import annotations

import joblib

from tlkeras.schema import InputError


def register_ray() -> None:
    """Makes "ray" a backend of joblib; Ray itself is imported when it is first used."""
    joblib.register_parallel_backend("ray", _ray_backend)


def _ray_backend(**arguments):
    try:
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise InputError(
            'backend: "ray" needs the package ray, which is not installed: pip install "tlkeras[ray]". Processes of '
            'this machine need nothing more: backend="loky".'
        ) from error
    return RayBackend(**arguments)
