"""Processes of a room that die at random, under load."""
