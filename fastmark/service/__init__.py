"""A service on HTTP that lets others check images, and keeps none of them; see SERVICE.md.

Nothing here is imported before ``fastmark serve`` and its tools are used: they need the extra ``serve``.
"""
