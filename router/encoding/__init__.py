"""Text encoder: from query texts to embeddings, by torch or onnxruntime, of a sentence-transformers folder."""
