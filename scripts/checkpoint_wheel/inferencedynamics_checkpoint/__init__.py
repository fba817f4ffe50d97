"""A router checkpoint, in the folder `checkpoint`: what `router.Router.from_pretrained()` loads where none is named."""
