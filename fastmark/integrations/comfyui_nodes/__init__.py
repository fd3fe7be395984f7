"""fastmark's nodes, as ComfyUI loads them: this folder, in custom_nodes, beside an installed fastmark."""

from fastmark.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
