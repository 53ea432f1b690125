"""A task as a bundle of its own: its settings merged into the configs, its weights, metadata and model card."""

from .bundle import export_bundle

__all__ = ["export_bundle"]
