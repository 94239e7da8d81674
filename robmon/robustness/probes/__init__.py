"""What asks the model more than noise does: which features carry the noise error."""
