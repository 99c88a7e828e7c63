"""From records to observations: plan, cache, shards, executor."""
