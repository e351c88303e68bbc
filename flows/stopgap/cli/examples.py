"""Examples under a verb's --help: what to type, and what it is for."""

from __future__ import annotations


def lines(*examples: tuple[str, str]) -> str:
    """Return `(command, what for)` pairs as the last paragraph of a --help, in columns and not wrapped."""
    width = max(len(command) for command, _ in examples)
    # \b is click's mark for a paragraph that is not wrapped.
    return "\n".join(["\b", "Examples:", *(f"  {command:<{width}}  {what}" for command, what in examples)])
