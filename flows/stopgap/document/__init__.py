"""YAML files as data whose every key and value knows its line and column."""

from stopgap.document.model import Document, KeyPath, Node
from stopgap.document.reading import examine, joined, parse, read

__all__ = ["Document", "KeyPath", "Node", "examine", "joined", "parse", "read"]
