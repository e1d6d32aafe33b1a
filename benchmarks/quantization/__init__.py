"""Memory, speed and answers of quantized models next to the unquantized model."""
