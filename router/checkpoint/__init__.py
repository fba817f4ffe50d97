"""Checkpoints of trained routers: contents, storage as a verified folder, added models, and look-up of pools."""
