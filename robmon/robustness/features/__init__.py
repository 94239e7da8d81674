"""What the columns of inputs are: their scales and names, whole numbers, codes for what is missing, extreme rows."""
