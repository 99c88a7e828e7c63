"""The record of an audit and its renderers."""
