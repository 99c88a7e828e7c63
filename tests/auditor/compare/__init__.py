"""Tests of the comparison of two audits."""
