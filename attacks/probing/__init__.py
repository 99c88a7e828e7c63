"""Probing: where in a diffusion model does its reaction to memorized prompts sit?

A probe has a label; there is one, `wanda`, over the weights of feed-forward layers. What it finds
says where to prune; it never says that pruning there erases anything.
"""
