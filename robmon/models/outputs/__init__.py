"""What a model returns, whatever container it returns it in, as arrays of numbers or of text."""
