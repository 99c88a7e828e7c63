"""A scan of prompts: does a model emit memorized images for them? No training record is needed."""
