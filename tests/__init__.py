"""Tests: one folder a kind, each test marked with the name of its folder."""
