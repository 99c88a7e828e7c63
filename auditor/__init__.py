"""auditor: what does a model remember about its training records, and can you prove it?"""

__version__ = "0.1.0"
