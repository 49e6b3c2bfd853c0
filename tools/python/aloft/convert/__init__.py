"""Checkpoints in other formats become a folder that aloft and Hugging Face read: model.safetensors, config.json."""

from .run import convert_checkpoint

__all__ = ["convert_checkpoint"]
