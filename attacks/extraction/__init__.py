"""Extraction: distances between pictures, copies among generations, replication of a training set.

Pictures are read, embedded and generated elsewhere.
"""
