"""Files: GGUF, safetensors, Hugging Face checkpoint directories and importance matrices."""
