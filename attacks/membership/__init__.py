"""Membership inference attacks: one file an attack, one score per record, higher is more likely a member."""
