"""A task for one's own data: its masks' values, its fingerprint, the choices that follow, the task file."""

from .plan import plan

__all__ = ["plan"]
