"""Report of a comparison: its Markdown, figures and W&B runs, all from the tidy table alone."""
