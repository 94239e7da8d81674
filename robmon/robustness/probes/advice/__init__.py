"""What a model's own operators say of how it takes noise."""
