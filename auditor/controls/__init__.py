"""Controls: what must hold before a score may support a verdict."""
