"""MEMO: class-incremental learning whose models and exemplars share one byte budget."""
