"""Probing a model: which weights react to memorized prompts, and to them alone?"""
