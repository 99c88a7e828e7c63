"""The published JSON Schema of audit.json."""
