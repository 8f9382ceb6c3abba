"""The modes of `generate`, one per file."""
