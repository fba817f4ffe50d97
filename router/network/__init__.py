"""Neural network: from embeddings to query vectors, and the learned profiles that score them."""
